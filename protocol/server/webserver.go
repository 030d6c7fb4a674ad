package server

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/coder/websocket"

	"simpd/protocol"
	"simpd/protocol/httphost"
	"simpd/protocol/tlsrecord"
)

// maxHeader is how many octets a request of HTTP may have before its body,
// which it must not have.
const maxHeader = 16 << 10

// ServeWebSocket takes WebSockets from l, at the path /simp, until Shutdown.
// With certificates they are under TLS. It closes l.
func (s *Server) ServeWebSocket(l net.Listener) error {
	if !s.addListener(l) {
		return ErrClosed
	}
	defer s.removeListener(l)
	web := &webListener{Listener: l, server: s, ready: make(chan net.Conn), done: make(chan struct{})}
	if s.tls != nil {
		web.tls = s.webTLS()
	}
	var end context.CancelFunc
	web.serving, end = context.WithCancel(context.Background())
	defer end()
	h := s.newHTTPServer()
	defer h.Close()
	failed := make(chan error, 1)
	go func() {
		failed <- web.acceptAll()
		end()
		_ = h.Close()
	}()
	_ = h.Serve(web)
	return <-failed // what ended the accepting ended the rest
}

// newHTTPServer returns a server of HTTP/1.1 that takes one request of each
// connection: an upgrade to a WebSocket, or what it refuses.
func (s *Server) newHTTPServer() *http.Server {
	var only http.Protocols
	only.SetHTTP1(true)
	h := &http.Server{
		Handler: http.HandlerFunc(s.serveHTTP), ConnContext: withWebConn, Protocols: &only,
		ReadHeaderTimeout: handshakeTime, MaxHeaderBytes: maxHeader, DisableGeneralOptionsHandler: true,
		ErrorLog: slog.NewLogLogger(s.config.Logger.Handler(), slog.LevelDebug),
	}
	h.SetKeepAlivesEnabled(false)
	return h
}

// webTLS is TLS as browsers speak it: with HTTP/1.1, and without a
// certificate, which they would ask their user for.
func (s *Server) webTLS() *tls.Config {
	c := s.tls.Clone()
	c.NextProtos = []string{"http/1.1"}
	c.ClientAuth = tls.NoClientCert
	return c
}

// serveHTTP upgrades a request, or refuses it and closes the connection.
func (s *Server) serveHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case !s.hosts.allow(r):
		refuseHTTP(w, http.StatusMisdirectedRequest, httphost.Refusal)
	case r.URL.Path != "/simp":
		refuseHTTP(w, http.StatusNotFound, "there is only /simp here")
	case r.Method != http.MethodGet:
		refuseHTTP(w, http.StatusMethodNotAllowed, "a WebSocket begins with GET")
	case r.ContentLength != 0 || len(r.TransferEncoding) > 0:
		refuseHTTP(w, http.StatusBadRequest, "the request must not have a body")
	default:
		s.upgradeHTTP(w, r)
	}
}

// refuseHTTP answers a request, of which no more is read, and closes.
func refuseHTTP(w http.ResponseWriter, status int, why string) {
	c, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return // it is gone
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(lingerTime))
	allow := ""
	if status == http.StatusMethodNotAllowed {
		allow = "Allow: GET\r\n"
	}
	_, err = fmt.Fprintf(c, "HTTP/1.1 %d %s\r\nConnection: close\r\n%sContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n\r\n%s\n",
		status, http.StatusText(status), allow, len(why)+1, why)
	if half, ok := c.(interface{ CloseWrite() error }); ok && err == nil && half.CloseWrite() == nil {
		_, _ = io.Copy(io.Discard, c) // so that the answer arrives; until the deadline
	}
}

// upgradeHTTP holds the conversation over one WebSocket.
func (s *Server) upgradeHTTP(w http.ResponseWriter, r *http.Request) {
	conn := r.Context().Value(webConnKey{}).(*webConn)
	if status, why := s.identifyForwarded(conn, r.Header); status != 0 {
		refuseHTTP(w, status, why)
		return
	}
	c, err := websocket.Accept(conn.counting(w), r, &websocket.AcceptOptions{
		Subprotocols: []string{"simp"}, OriginPatterns: s.config.Origins,
		CompressionMode: websocket.CompressionDisabled,
	})
	if err != nil {
		return // Accept has said why
	}
	if c.Subprotocol() != "simp" {
		_ = c.Close(websocket.StatusPolicyViolation, "the subprotocol simp is required")
		return
	}
	if conn.upgrade() {
		s.converseWeb(c, conn, r.TLS)
	}
}

func (s *Server) converseWeb(c *websocket.Conn, conn *webConn, state *tls.ConnectionState) {
	wire := newWeb(c)
	defer wire.ending.Wait()
	x := s.newSession(wire, wire, conn.remote, conn.admitted())
	x.vigil.began = conn.began
	x.transport = protocol.WebSocket
	if state != nil {
		x.tls = func() tls.ConnectionState { return *state }
	}
	if s.register(x) {
		x.converse()
	}
}

// webConn is a connection of HTTP's until it becomes a WebSocket's. It is
// closed proveTime after it began, unless it is one by then.
type webConn struct {
	net.Conn
	remote   netip.AddrPort // the client's, or until the request says whose it is its proxy's
	began    time.Time
	overtime *time.Timer
	records  *tlsrecord.Below // what TLS runs on; nil without TLS
	turns    *turnConn        // below it

	mu      sync.Mutex
	counted *admitted // replaced once, before the upgrade, where a proxy says who the client is
	closed  bool
}

func newWebConn(c net.Conn, remote netip.AddrPort, a *admitted, began time.Time, secured bool) *webConn {
	w := &webConn{Conn: c, remote: remote, began: began, counted: a}
	if secured {
		w.turns = &turnConn{Conn: c}
		w.records = tlsrecord.NewBelow(w.turns)
		w.Conn = w.records
	}
	w.overtime = time.AfterFunc(time.Until(began.Add(proveTime)), func() { _ = c.Close() })
	return w
}

// upgrade ends the limit of time; false: it is over.
func (c *webConn) upgrade() bool { return c.overtime.Stop() }

// counting returns w, of which what becomes a WebSocket is read with the limit
// on TLS records.
func (c *webConn) counting(w http.ResponseWriter) http.ResponseWriter {
	if c.records == nil {
		return w
	}
	return &countingWriter{w, c.records}
}

type countingWriter struct {
	http.ResponseWriter
	records *tlsrecord.Below
}

// Hijack takes the connection over.
func (w *countingWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, buffered, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	return w.records.Above(c), buffered, nil
}

// admitted returns how the connection is counted.
func (c *webConn) admitted() *admitted {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.counted
}

// recount counts the connection as a, which is remote's, from now on. It is
// called before the upgrade.
func (c *webConn) recount(a *admitted, remote netip.AddrPort) {
	c.remote = remote
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counted.leave()
	c.counted = a
	if c.closed {
		a.leave()
	}
}

func (c *webConn) Close() error {
	c.overtime.Stop()
	c.mu.Lock()
	c.closed = true
	c.counted.leave()
	c.mu.Unlock()
	return c.Conn.Close()
}

// CloseWrite ends the sending side.
func (c *webConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

type webConnKey struct{}

func withWebConn(ctx context.Context, c net.Conn) context.Context {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	return context.WithValue(ctx, webConnKey{}, c.(*webConn))
}
