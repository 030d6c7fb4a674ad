package server

import (
	"net/http"
	"net/netip"
	"strings"
)

// isForwarder reports whether an HTTP proxy there is believed whose client it
// passes on, by X-Forwarded-For.
func (s *Server) isForwarder(a netip.Addr) bool { return containsAddr(s.config.ForwardedFrom, a) }

// identifyForwarded takes the client's address from what a proxy says, if
// conn comes from one, and counts the connection as that client's. It returns
// the status to refuse the request with, and why; 0: none.
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
	a, refusal := s.admission.admit(remote)
	if refusal != "" {
		s.metrics.Turned.Add(1)
		return http.StatusServiceUnavailable, refusal
	}
	conn.recount(a, remote)
	return 0, ""
}

// forwardedFor returns the rightmost address of the lists that is no proxy's:
// what stands to the left of it the client itself may have written. If all are
// proxies it is the leftmost; without any it is the zero Addr.
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

// parseForwarded reads an address, which may have a port, as some proxies
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
