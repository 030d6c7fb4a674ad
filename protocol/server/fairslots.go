package server

import (
	"net"
	"net/netip"
	"runtime"
	"sync"

	"simpd/protocol/netaddr"
)

// fairSlots limits concurrent work that needs a processor for long. The
// networks of those who wait take turns, so that one network that opens very
// many connections at once does not make others wait for all of them.
type fairSlots struct {
	mu      sync.Mutex
	free    int
	waiting map[netip.Prefix][]chan struct{} // by network; each channel is closed when its turn has come
	order   []netip.Prefix                   // of the waiting networks, the next first
}

// newFairSlots returns as many slots as there are processors.
func newFairSlots() *fairSlots {
	return &fairSlots{free: runtime.GOMAXPROCS(0), waiting: make(map[netip.Prefix][]chan struct{})}
}

// acquire waits for a slot in the network's turn.
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

// release gives a slot to the next waiting network.
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

// handshakeTurn holds the slot of a TLS handshake while it computes, but not
// while it waits for the client. A nil handshakeTurn does nothing.
type handshakeTurn struct {
	slots   *fairSlots
	network netip.Prefix
	held    bool
}

func (s *Server) newHandshakeTurn(remote netip.AddrPort) *handshakeTurn {
	return &handshakeTurn{slots: s.handshakeSlots, network: netaddr.Network(remote.Addr())}
}

// acquire waits for a slot, because something has arrived.
func (t *handshakeTurn) acquire() {
	if t != nil && !t.held {
		t.slots.acquire(t.network)
		t.held = true
	}
}

// release gives the slot up, because more has to arrive or the handshake has
// ended.
func (t *handshakeTurn) release() {
	if t != nil && t.held {
		t.slots.release()
		t.held = false
	}
}

// turnConn is the connection below a TLS handshake.
type turnConn struct {
	net.Conn
	turn *handshakeTurn // nil after the handshake
}

// Read reads without a slot, and acquires one for what it has read.
func (c *turnConn) Read(b []byte) (int, error) {
	c.turn.release()
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.turn.acquire()
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
	c.turn.release()
	c.turn = nil
}
