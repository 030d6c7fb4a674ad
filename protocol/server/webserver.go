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
	"simpd/protocol/fairslots"
	"simpd/protocol/httphost"
	"simpd/protocol/server/internal/netio"
	"simpd/protocol/tlsrecord"
)

// maxHeader limits an HTTP request's header in octets; it must not have a
// body.
const maxHeader = 16 << 10

// ServeWebSocket accepts WebSockets from l, at the path /simp, until
// Shutdown; over TLS if there are certificates. Config.Web serves the other
// paths. It closes l.
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

// newHTTPServer returns an HTTP/1.1 server that handles one request per
// connection: an upgrade to a WebSocket, a page, or a refusal.
func (s *Server) newHTTPServer() *http.Server {
	var only http.Protocols
	only.SetHTTP1(true)
	h := &http.Server{
		Handler: http.HandlerFunc(s.serveHTTP), ConnContext: withWebConn, Protocols: &only,
		ReadHeaderTimeout: handshakeTimeout, MaxHeaderBytes: maxHeader, DisableGeneralOptionsHandler: true,
		ErrorLog: slog.NewLogLogger(s.config.Logger.Handler(), slog.LevelDebug),
	}
	h.SetKeepAlivesEnabled(false)
	return h
}

// webTLS returns a TLS configuration for browsers: with HTTP/1.1, and without
// requesting a certificate, for which they would ask their user.
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
	case r.URL.Path != "/simp" && s.config.Web == nil:
		refuseHTTP(w, http.StatusNotFound, "there is only /simp here")
	case r.URL.Path != "/simp" && (r.Method == http.MethodGet || r.Method == http.MethodHead) && !hasBody(r):
		s.serveWebPage(w, r)
	case r.Method != http.MethodGet:
		refuseHTTP(w, http.StatusMethodNotAllowed, "a WebSocket begins with GET")
	case hasBody(r):
		refuseHTTP(w, http.StatusBadRequest, "the request must not have a body")
	default:
		s.upgradeHTTP(w, r)
	}
}

func hasBody(r *http.Request) bool { return r.ContentLength != 0 || len(r.TransferEncoding) > 0 }

// serveWebPage has Config.Web answer a request. The connection is closed
// afterwards, and counts like any other meanwhile.
func (s *Server) serveWebPage(w http.ResponseWriter, r *http.Request) {
	conn := r.Context().Value(webConnKey{}).(*webConn)
	if status, why := s.identifyForwarded(conn, r.Header); status != 0 {
		refuseHTTP(w, status, why)
		return
	}
	s.config.Web.ServeHTTP(w, r)
}

// refuseHTTP responds to a request, of which no more is read, and closes.
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

// upgradeHTTP runs a session on a WebSocket.
func (s *Server) upgradeHTTP(w http.ResponseWriter, r *http.Request) {
	conn := r.Context().Value(webConnKey{}).(*webConn)
	if status, why := s.identifyForwarded(conn, r.Header); status != 0 {
		refuseHTTP(w, status, why)
		return
	}
	c, err := websocket.Accept(conn.withRecordLimit(w), r, &websocket.AcceptOptions{
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
		s.serveWeb(c, conn, r.TLS)
	}
}

func (s *Server) serveWeb(c *websocket.Conn, conn *webConn, state *tls.ConnectionState) {
	ws := netio.NewWebSocket(c)
	defer ws.Wait()
	x := s.newSession(ws.Stream(), conn.remote, conn.connSlot())
	x.activity.start = conn.began
	x.transport = protocol.WebSocket
	if state != nil {
		x.tls = func() tls.ConnectionState { return *state }
	}
	if s.register(x) {
		x.serve()
	}
}

// webConn is an HTTP connection until it becomes a WebSocket. It is closed
// authTimeout after it began unless it has become one.
type webConn struct {
	net.Conn
	remote  netip.AddrPort // the client's, or that of its proxy until the request names the client
	began   time.Time
	timeout *time.Timer
	records *tlsrecord.Below // what TLS runs on; nil without TLS
	turns   *fairslots.Conn  // below it

	mu     sync.Mutex
	slot   *connSlot // replaced once, before the upgrade, if a proxy names the client
	closed bool
}

func newWebConn(c net.Conn, remote netip.AddrPort, a *connSlot, began time.Time, secured bool) *webConn {
	w := &webConn{Conn: c, remote: remote, began: began, slot: a}
	if secured {
		w.turns = fairslots.NewConn(c)
		w.records = tlsrecord.NewBelow(w.turns)
		w.Conn = w.records
	}
	w.timeout = time.AfterFunc(time.Until(began.Add(authTimeout)), func() { _ = c.Close() })
	return w
}

// upgrade stops the timeout. It returns false if it has passed.
func (c *webConn) upgrade() bool { return c.timeout.Stop() }

// withRecordLimit returns w with the limit on TLS records for the hijacked
// connection.
func (c *webConn) withRecordLimit(w http.ResponseWriter) http.ResponseWriter {
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

// connSlot returns the slot of the connection.
func (c *webConn) connSlot() *connSlot {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.slot
}

// replaceSlot counts the connection for remote from now on. It is called
// before the upgrade.
func (c *webConn) replaceSlot(a *connSlot, remote netip.AddrPort) {
	c.remote = remote
	c.mu.Lock()
	defer c.mu.Unlock()
	c.slot.release()
	c.slot = a
	if c.closed {
		a.release()
	}
}

func (c *webConn) Close() error {
	c.timeout.Stop()
	c.mu.Lock()
	c.closed = true
	c.slot.release()
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
