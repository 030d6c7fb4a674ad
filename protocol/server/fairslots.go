package server

import (
	"net"
	"net/netip"
	"runtime"
	"sync"

	"simpd/protocol/netaddr"
)

// fairSlots let so many goroutines at a time do what takes a processor long. The
// networks of those who wait take turns, so that one that opens very many
// connections at once keeps nobody else waiting for all of them.
type fairSlots struct {
	mu      sync.Mutex
	free    int
	waiting map[netip.Prefix][]chan struct{} // by network, each closed when its turn has come
	order   []netip.Prefix                   // of networks that wait, the next first
}

// newFairSlots returns as many slots as there are processors.
func newFairSlots() *fairSlots {
	return &fairSlots{free: runtime.GOMAXPROCS(0), waiting: make(map[netip.Prefix][]chan struct{})}
}

// acquire takes a slot for a network, in its turn.
func (f *fairSlots) acquire(network netip.Prefix) {
	f.mu.Lock()
	if f.free > 0 {
		f.free--
		f.mu.Unlock()
		return
	}
	turn := make(chan struct{})
	if len(f.waiting[network]) == 0 {
		f.order = append(f.order, network)
	}
	f.waiting[network] = append(f.waiting[network], turn)
	f.mu.Unlock()
	<-turn
}

// release gives a slot up, to the next network that waits.
func (f *fairSlots) release() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.order) == 0 {
		f.free++
		return
	}
	next := f.order[0]
	f.order = f.order[1:]
	close(f.waiting[next][0])
	if f.waiting[next] = f.waiting[next][1:]; len(f.waiting[next]) > 0 {
		f.order = append(f.order, next)
	} else {
		delete(f.waiting, next)
	}
}

// handshakeTurn has the slot of a TLS handshake while that computes, and not
// while it waits for what the client says. A nil handshakeTurn does nothing.
type handshakeTurn struct {
	slots   *fairSlots
	network netip.Prefix
	held    bool
}

func (s *Server) newHandshakeTurn(remote netip.AddrPort) *handshakeTurn {
	return &handshakeTurn{slots: s.slots, network: netaddr.Network(remote.Addr())}
}

// begin waits for a slot: something has come.
func (t *handshakeTurn) begin() {
	if t != nil && !t.held {
		t.slots.acquire(t.network)
		t.held = true
	}
}

// end gives the slot up: more has to come, or the handshake is over.
func (t *handshakeTurn) end() {
	if t != nil && t.held {
		t.slots.release()
		t.held = false
	}
}

// turnConn is what a TLS handshake runs on.
type turnConn struct {
	net.Conn
	turn *handshakeTurn // nil once the handshake is over
}

// Read reads without the slot, and takes it for what it has read.
func (c *turnConn) Read(b []byte) (int, error) {
	c.turn.end()
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.turn.begin()
	}
	return n, err
}

// CloseWrite ends the sending side.
func (c *turnConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// finish ends the turn for good.
func (c *turnConn) finish() {
	c.turn.end()
	c.turn = nil
}
