package console

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"simpd/protocol/netaddr"
)

// Limits of the listener. Whoever has not signed in holds a connection for
// seconds only.
const (
	maxConns       = 512 // in all
	maxSourceConns = 64  // from one source
	headerTimeout  = 5 * time.Second
	keepAlive      = time.Minute
	maxHeader      = 16 << 10
	shutdownTime   = 2 * time.Second // for answers that are under way
)

// Server is the listener of a console.
type Server struct {
	http    *http.Server
	console *Console
}

// NewServer returns a server of c. tlsConfig may be nil: the listener is on
// loopback.
func NewServer(c *Console, tlsConfig *tls.Config) *Server {
	if tlsConfig != nil {
		tlsConfig = tlsConfig.Clone()
		tlsConfig.NextProtos = []string{"h2", "http/1.1"}
	}
	return &Server{console: c, http: &http.Server{
		Handler: c, TLSConfig: tlsConfig,
		ReadHeaderTimeout: headerTimeout, IdleTimeout: keepAlive, MaxHeaderBytes: maxHeader,
		DisableGeneralOptionsHandler: true, // it would answer any Host
		ErrorLog:                     slog.NewLogLogger(c.Logger.Handler(), slog.LevelDebug),
	}}
}

// Serve answers requests on l until Shutdown, and then returns nil. It owns l.
func (s *Server) Serve(l net.Listener) error {
	limited := LimitListener(l)
	var err error
	if s.http.TLSConfig != nil {
		err = s.http.ServeTLS(limited, "", "")
	} else {
		err = s.http.Serve(limited)
	}
	if err == http.ErrServerClosed {
		return nil
	}
	return err
}

// Shutdown ends all event streams at once, and gives other answers a moment. It
// returns when nothing runs any more.
func (s *Server) Shutdown() {
	s.console.Close()
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTime)
	defer cancel()
	if s.http.Shutdown(ctx) != nil {
		_ = s.http.Close()
	}
}

// LimitListener returns a listener that closes connections above the limits of the
// console, in all and from one source.
func LimitListener(l net.Listener) net.Listener {
	return &limitedListener{Listener: l, bySource: map[netip.Prefix]int{}}
}

// limitedListener closes connections above the limits.
type limitedListener struct {
	net.Listener
	mu       sync.Mutex
	total    int
	bySource map[netip.Prefix]int
}

// Accept returns the next connection that may stay.
func (l *limitedListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		source := sourceOf(c)
		if l.enter(source) {
			return &limitedConn{Conn: c, leave: sync.OnceFunc(func() { l.leave(source) })}, nil
		}
		_ = c.Close()
	}
}

func (l *limitedListener) enter(source netip.Prefix) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.total >= maxConns || l.bySource[source] >= maxSourceConns {
		return false
	}
	l.total++
	l.bySource[source]++
	return true
}

func (l *limitedListener) leave(source netip.Prefix) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.total--
	if l.bySource[source]--; l.bySource[source] == 0 {
		delete(l.bySource, source)
	}
}

// limitedConn gives its place back when it is closed.
type limitedConn struct {
	net.Conn
	leave func()
}

// Close closes the connection.
func (c *limitedConn) Close() error {
	c.leave()
	return c.Conn.Close()
}

func sourceOf(c net.Conn) netip.Prefix {
	at, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil {
		return netip.Prefix{}
	}
	return netaddr.Source(at.Addr())
}
