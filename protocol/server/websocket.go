package server

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"simpd/protocol"
)

// web is the wire of a WebSocket, and its conn. Each write is a message of
// whole lines. (SIMP.md, section 10.)
type web struct {
	socket  *websocket.Conn
	context context.Context // of the reader
	cancel  context.CancelFunc
	message io.Reader // that is being read
	small   [512]byte
	taken   atomic.Uint64
	ending  sync.WaitGroup
}

func newWeb(c *websocket.Conn) *web {
	ctx, cancel := context.WithCancel(context.Background())
	c.SetReadLimit(-1) // lines and literals have their own
	return &web{socket: c, context: ctx, cancel: cancel}
}

func (w *web) read() (octets []byte, whole bool, err error) {
	if w.message == nil {
		if _, w.message, err = w.socket.Reader(w.context); err != nil {
			return nil, false, err
		}
	}
	n, err := w.message.Read(w.small[:])
	if err == io.EOF {
		w.message = nil
		return w.small[:n], true, nil
	}
	return w.small[:n], false, err
}

func (w *web) write(b []byte) (n int, clear bool, err error) {
	if len(b) == 0 {
		return 0, true, nil
	}
	if err := w.socket.Write(context.Background(), websocket.MessageBinary, b); err != nil {
		return 0, false, err
	}
	w.taken.Add(uint64(len(b)))
	return len(b), true, nil
}

func (w *web) wait() error  { return nil }
func (w *web) waits() bool  { return true }
func (w *web) batch() int   { return 1 }
func (w *web) sent() uint64 { return w.taken.Load() }

// closeWrite begins the closing handshake, which ends the reading too.
func (w *web) closeWrite() error {
	w.ending.Go(func() { _ = w.socket.Close(websocket.StatusNormalClosure, "") })
	return nil
}

// SetReadDeadline ends reading at a time to come. A time that is past has no
// effect: the closing handshake ends reading once the last line is written.
func (w *web) SetReadDeadline(at time.Time) error {
	if d := time.Until(at); d > 0 {
		time.AfterFunc(d, w.cancel)
	}
	return nil
}

// Close ends it at once.
func (w *web) Close() error {
	w.cancel()
	return w.socket.CloseNow()
}

// ServeWebSocket takes WebSockets from l, at the path /simp, until Shutdown.
// With certificates they are under TLS. It closes l.
func (s *Server) ServeWebSocket(l net.Listener) error {
	if !s.addListener(l) {
		return ErrClosed
	}
	defer s.removeListener(l)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /simp", s.serveWeb)
	h := &http.Server{
		Handler: mux, ReadHeaderTimeout: handshakeTime, IdleTimeout: handshakeTime, MaxHeaderBytes: 16 << 10,
		ConnContext: withAdmitted, ErrorLog: slog.NewLogLogger(s.config.Logger.Handler(), slog.LevelDebug),
	}
	defer h.Close()
	return s.serveHTTP(h, &webListener{l, s})
}

func (s *Server) serveHTTP(h *http.Server, l net.Listener) error {
	if s.tls == nil {
		return h.Serve(l)
	}
	h.TLSConfig = s.tls.Clone()
	h.TLSConfig.NextProtos = []string{"http/1.1"}
	h.TLSConfig.ClientAuth = tls.NoClientCert // a browser would ask its user
	return h.ServeTLS(l, "", "")
}

// serveWeb holds the conversation over one WebSocket.
func (s *Server) serveWeb(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		Subprotocols: []string{"simp"}, OriginPatterns: s.config.Origins,
		CompressionMode: websocket.CompressionDisabled,
	})
	if err != nil {
		return // Accept has said why
	}
	if c.Subprotocol() != "simp" {
		_ = c.Close(websocket.StatusPolicyViolation, "the subprotocol simp is wanted")
		return
	}
	a := r.Context().Value(admittedKey{}).(*admitted)
	wire := newWeb(c)
	defer wire.ending.Wait()
	x := s.newSession(wire, wire, a.remote, a)
	x.transport = protocol.WebSocket
	if r.TLS != nil {
		x.tls = func() tls.ConnectionState { return *r.TLS }
	}
	if s.register(x) {
		x.converse()
	}
}

// webListener counts connections as they come, before TLS and HTTP.
type webListener struct {
	net.Listener
	server *Server
}

func (l *webListener) Accept() (net.Conn, error) {
	for {
		c, err := l.server.accept(l.Listener)
		if err != nil {
			return nil, err
		}
		l.server.metrics.Accepted.Add(1)
		a, refusal := l.server.admission.admit(addrPort(c.RemoteAddr()))
		if refusal == "" && watchPeer(c) == nil {
			return &webConn{c, a}, nil
		}
		if refusal != "" {
			l.server.metrics.Turned.Add(1)
		} else {
			a.leave()
		}
		_ = c.Close() // it is gone; or there is no telling it why before HTTP
	}
}

// webConn is a connection of HTTP's until it becomes a WebSocket's.
type webConn struct {
	net.Conn
	*admitted
}

func (c *webConn) Close() error {
	c.leave()
	return c.Conn.Close()
}

type admittedKey struct{}

func withAdmitted(ctx context.Context, c net.Conn) context.Context {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	return context.WithValue(ctx, admittedKey{}, c.(*webConn).admitted)
}
