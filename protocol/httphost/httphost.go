// Package httphost keeps the pages of others from reading an HTTP listener by
// DNS rebinding: a page whose own name suddenly leads to the listener's address
// counts for the browser as a page of the listener, but its requests still
// carry that name in Host.
package httphost

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// Names are the names by which HTTP requests may call a listener, besides IP
// addresses and localhost, which no page of others can have. The zero Names
// holds none. It is not changed after New, so any goroutine may use it.
type Names struct{ known map[string]bool }

// New returns the names given, each a host name without a port, in any case.
// Empty ones and IP addresses are ignored.
func New(names ...string) Names {
	n := Names{known: map[string]bool{}}
	for _, name := range names {
		if name = canonical(name); name != "" {
			n.known[name] = true
		}
	}
	return n
}

// Allow reports whether r may be answered: whether its Host (RFC 9110, section
// 7.2), with any port, is an IP address, localhost or one of n. A request of
// HTTP/1.0 needs no Host: health checks send none, browsers always do.
func (n Names) Allow(r *http.Request) bool {
	if r.Host == "" {
		return !r.ProtoAtLeast(1, 1)
	}
	host := Name(r.Host)
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	return host == "localhost" || n.known[host]
}

// Refusal is the text of the answer to a request that Allow refuses; its status
// is 421 (RFC 9110, section 15.5.20).
const Refusal = "this server does not answer to that Host: call it by an IP address, or add the name with --http-host"

// Handler returns a handler that answers 421 to what n does not allow, and
// leaves the rest to next.
func (n Names) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !n.Allow(r) {
			http.Error(w, Refusal, http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// Name returns the host of a Host header, in lower case, without a port, the
// brackets of IPv6, or a dot at its end.
func Name(hostport string) string {
	if host, port, err := net.SplitHostPort(hostport); err == nil && strings.Trim(port, "0123456789") == "" {
		return canonical(host)
	}
	return canonical(strings.TrimSuffix(strings.TrimPrefix(hostport, "["), "]"))
}

func canonical(host string) string {
	return strings.ToLower(strings.TrimSuffix(host, "."))
}
