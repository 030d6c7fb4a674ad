package server

import (
	"net/http"
	"net/netip"
	"strings"
)

// isForwarder reports whether the HTTP proxy at that address is trusted to
// name its client in X-Forwarded-For.
func (s *Server) isForwarder(a netip.Addr) bool { return containsAddr(s.config.ForwardedFrom, a) }

// identifyForwarded takes the client's address from X-Forwarded-For if conn
// comes from a trusted proxy, and counts the connection for that client. It
// returns the status and reason to refuse the request with, or 0.
func (s *Server) identifyForwarded(conn *webConn, header http.Header) (status int, why string) {
	proxy := conn.remote
	if !s.isForwarder(proxy.Addr()) {
		return 0, ""
	}
	client, ok := s.forwardedFor(header.Values("X-Forwarded-For"))
	if !ok {
		s.config.Logger.Warn("a proxy's request is refused: X-Forwarded-For is malformed", "proxy", proxy.Addr())
		return http.StatusBadRequest, "X-Forwarded-For is malformed"
	}
	remote := netip.AddrPortFrom(client, 0)
	if !client.IsValid() {
		remote = proxy // which speaks for itself
	}
	a, refusal := s.connLimiter.acquire(remote)
	if refusal != "" {
		s.metrics.Rejected.Add(1)
		return http.StatusServiceUnavailable, refusal
	}
	conn.replaceSlot(a, remote)
	return 0, ""
}

// forwardedFor returns the rightmost address of the lists that does not
// belong to a proxy: the client itself may have written those to the left of
// it. If all are proxies it returns the leftmost; without any, the zero Addr.
func (s *Server) forwardedFor(lists []string) (client netip.Addr, ok bool) {
	if len(lists) == 0 {
		return client, true
	}
	all := strings.Split(strings.Join(lists, ","), ",")
	for i := len(all) - 1; i >= 0; i-- {
		if client, ok = parseForwarded(strings.Trim(all[i], " \t")); !ok {
			return client, false
		}
		if !s.isForwarder(client) {
			break
		}
	}
	return client, true
}

// parseForwarded parses an address, which may have a port, as some proxies
// write it.
func parseForwarded(s string) (netip.Addr, bool) {
	if strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]") {
		s += ":0"
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		at, err := netip.ParseAddrPort(s)
		if err != nil {
			return netip.Addr{}, false
		}
		a = at.Addr()
	}
	return a.Unmap(), a.Zone() == "" && !a.IsUnspecified()
}

func containsAddr(networks []netip.Prefix, a netip.Addr) bool {
	for _, p := range networks {
		if p.Contains(a.Unmap()) {
			return true
		}
	}
	return false
}
