package api

import (
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"simpd/protocol/netaddr"
)

// Limits on connections. A connection is known once its client certificate, or
// the token of one of its calls, has a role; until then it is anonymous. Known
// connections are bounded by their caller's share of the memory, too.
const (
	maxConns            = 1024 // in all
	maxSourceConns      = 256  // from one source
	maxAnonymous        = 128  // in all
	maxSourceAnonymous  = 16   // from one source
	firstCallTimeout    = 10 * time.Second
	anonymousIdle       = 2 * time.Minute // between calls that anybody may make
	maxRefusals         = 100             // calls refused on an anonymous connection
	anonymousCallsLimit = 4               // calls at once on an anonymous connection
)

// admission bounds the connections. Where anonymous ones are too many, the
// oldest of whoever has the most makes room: a caller that identifies itself
// soon is always let in. Methods may be called from any goroutine.
type admission struct {
	mu        sync.Mutex
	total     int
	bySource  map[netip.Prefix]int
	anonymous []*conn // in the order of their arrival
}

func newAdmission() *admission {
	return &admission{bySource: map[netip.Prefix]int{}}
}

// add admits c, or reports that it may not stay. The connection that has to
// make room for it, if there is one, is closed.
func (a *admission) add(c *conn) bool {
	evicted, ok := a.findPlace(c)
	if evicted != nil {
		evicted.close()
		_ = evicted.raw.Close()
	}
	return ok
}

func (a *admission) findPlace(c *conn) (evicted *conn, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	evicted = a.surplusLocked(c.source)
	if evicted != nil {
		a.dropLocked(evicted)
	}
	if a.total >= maxConns || a.bySource[c.source] >= maxSourceConns {
		return evicted, false
	}
	a.total++
	a.bySource[c.source]++
	c.place = placeAnonymous
	a.anonymous = append(a.anonymous, c)
	return evicted, true
}

// surplusLocked returns the anonymous connection that has to make room for one
// more from source, or nil. a.mu is held.
func (a *admission) surplusLocked(source netip.Prefix) *conn {
	of := map[netip.Prefix]int{}
	most := source
	for _, c := range a.anonymous {
		of[c.source]++
		if of[c.source] > of[most] {
			most = c.source
		}
	}
	switch {
	case of[source] >= maxSourceAnonymous || a.bySource[source] >= maxSourceConns && of[source] > 0:
		most = source
	case len(a.anonymous) < maxAnonymous && (a.total < maxConns || len(a.anonymous) == 0):
		return nil
	}
	i := slices.IndexFunc(a.anonymous, func(c *conn) bool { return c.source == most })
	return a.anonymous[i]
}

// markIdentified takes c out of the anonymous connections.
func (a *admission) markIdentified(c *conn) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c.place == placeAnonymous {
		a.removeAnonymousLocked(c)
		c.place = placeKnown
	}
}

// remove takes c out; it may be called again.
func (a *admission) remove(c *conn) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.dropLocked(c)
}

// dropLocked is drop with a.mu held.
func (a *admission) dropLocked(c *conn) {
	if c.place == placeNone {
		return
	}
	if c.place == placeAnonymous {
		a.removeAnonymousLocked(c)
	}
	c.place = placeNone
	a.total--
	if a.bySource[c.source]--; a.bySource[c.source] == 0 {
		delete(a.bySource, c.source)
	}
}

func (a *admission) removeAnonymousLocked(c *conn) {
	if i := slices.Index(a.anonymous, c); i >= 0 {
		a.anonymous = slices.Delete(a.anonymous, i, i+1)
	}
}

// size returns how many connections there are.
func (a *admission) size() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.total
}

// place names the list that a connection counts in.
type place uint8

const (
	placeNone place = iota
	placeAnonymous
	placeKnown
)

// listener makes a conn of each connection that is admitted, and closes others.
type listener struct {
	net.Listener
	server *connections
}

func (l listener) Accept() (net.Conn, error) {
	for {
		raw, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := l.server.open(raw)
		if c != nil {
			return rawConn{raw, c}, nil
		}
		_ = raw.Close()
	}
}

// rawConn is the connection below TLS. Its end is the end of c.
type rawConn struct {
	net.Conn
	c *conn
}

func (r rawConn) Close() error {
	r.c.releaseAll()
	return r.Conn.Close()
}

// sourceOf returns what counts as the source of an address. Connections within
// the process have the zero Prefix.
func sourceOf(a net.Addr) netip.Prefix {
	at, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.Prefix{}
	}
	return netaddr.Source(at.Addr())
}
