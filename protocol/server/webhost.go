package server

import (
	"net/http"
	"path"
	"slices"
	"strings"

	"simpd/protocol/httphost"
)

// webHosts decides which Hosts WebSocket requests may use (Config.Hosts).
type webHosts struct {
	names        httphost.Names
	origins      []originPattern
	certificates *Certificates // nil: no TLS
}

// originPattern is one of Config.Origins.
type originPattern struct{ scheme, hostport string } // scheme may be empty

func newWebHosts(c Config) webHosts {
	w := webHosts{names: httphost.New(slices.Concat(c.Domains, c.Hosts)...), certificates: c.Certificates}
	for _, s := range c.Origins {
		scheme, hostport, ok := strings.Cut(strings.ToLower(s), "://")
		if !ok {
			scheme, hostport = "", scheme
		}
		w.origins = append(w.origins, originPattern{scheme, hostport})
	}
	return w
}

// allow reports whether r may be served. A foreign page that got here by DNS
// rebinding (httphost) may not.
func (w *webHosts) allow(r *http.Request) bool {
	if w.names.Allow(r) {
		return true
	}
	host, origin := httphost.Name(r.Host), strings.ToLower(r.Header.Get("Origin"))
	if r.TLS != nil && w.certificates.For(host) != nil {
		return true // the browser has compared that with the page's name
	}
	return slices.ContainsFunc(w.origins, func(p originPattern) bool {
		return matches(httphost.Name(p.hostport), host) || p.matchesOrigin(origin)
	})
}

// matchesOrigin reports whether p matches an Origin header, so that the
// origin decides whatever the Host is: that may be a proxy's, or another
// name.
func (p originPattern) matchesOrigin(origin string) bool {
	scheme, hostport, ok := strings.Cut(origin, "://")
	return ok && (p.scheme == "" || p.scheme == scheme) && matches(p.hostport, hostport)
}

func matches(pattern, s string) bool {
	ok, err := path.Match(pattern, s)
	return ok && err == nil
}
