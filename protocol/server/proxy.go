package server

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"simpd/protocol/server/internal/netio"
)

// isBalancer reports whether connections from that address must begin with a
// PROXY header.
func (s *Server) isBalancer(a netip.Addr) bool { return containsAddr(s.config.Balancers, a) }

// acceptProxied reads the client's address in a goroutine, and then calls
// take. Until then the connection counts for the balancer, which is exempt
// from limits by source. If the header is optional, a connection without one
// is the balancer's own.
func (s *Server) acceptProxied(c net.Conn, optional bool, take func(net.Conn, netip.AddrPort)) {
	a, refusal := s.connLimiter.acquire(netip.AddrPort{})
	if refusal != "" {
		s.metrics.Rejected.Add(1)
		_ = c.Close() // the client is not known
		return
	}
	if !s.goTracked(func() { s.identifyProxied(c, optional, take, a) }) {
		a.release()
		_ = c.Close() // nothing was said yet
	}
}

func (s *Server) identifyProxied(c net.Conn, optional bool, take func(net.Conn, netip.AddrPort), a *connSlot) {
	remote, err := netio.ReadProxy(c)
	a.release()
	var other *netio.NoProxyError
	if optional && errors.As(err, &other) {
		c, remote, err = &netio.PrefixedConn{Conn: c, Head: other.Head}, netio.AddrPort(c.RemoteAddr()), c.SetReadDeadline(time.Time{})
	}
	if err != nil {
		level := slog.LevelWarn
		if errors.Is(err, netio.ErrNothingCame) {
			level = slog.LevelDebug // it looked whether anybody listens
		}
		s.config.Logger.Log(context.Background(), level, "a balancer's connection is refused", "balancer", c.RemoteAddr(), "error", err)
		_ = c.Close()
		return
	}
	take(c, remote)
}
