// Package linktest is a network in memory for tests of nodes: listeners,
// connections and packets that work under testing/synctest, and faults: hosts
// cut off from one another, or gone.
//
// Connections behave as TCP's do: what is sent while two hosts are cut apart
// arrives once they are not, in order; a host that is gone refuses and resets.
package linktest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"syscall"

	"simpd/protocol/wait"
)

// Network connects hosts, which are known by their IP addresses. Its methods
// may be called from any goroutine.
type Network struct {
	mu        sync.Mutex
	listeners map[string]*listener // by IP:port
	packets   map[string]*Transport
	conns     map[*conn]struct{}
	cut       map[way]bool
	port      int
	changed   wait.Broadcast // something was cut or healed
	loss      int            // of a hundred packets
	random    *rand.Rand
}

// way is from one host to another.
type way struct{ from, to string }

// New makes a network in which every host reaches every other.
func New() *Network {
	return &Network{
		listeners: map[string]*listener{}, packets: map[string]*Transport{},
		conns: map[*conn]struct{}{}, cut: map[way]bool{}, port: 40000,
		random: rand.New(rand.NewPCG(1, 2)),
	}
}

// Lose loses so many of a hundred packets; connections have none.
func (n *Network) Lose(percent int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.loss = percent
}

// Cut stops all that goes from one host to another, one way: packets are
// lost, octets wait, and a connection can't be made.
func (n *Network) Cut(from, to string) { n.set(true, way{from, to}) }

// Heal ends a Cut.
func (n *Network) Heal(from, to string) { n.set(false, way{from, to}) }

// Isolate cuts a host off from all others that listen, both ways; Rejoin heals it.
func (n *Network) Isolate(host string) { n.set(true, n.waysOf(host)...) }

// Rejoin ends an Isolate.
func (n *Network) Rejoin(host string) { n.set(false, n.waysOf(host)...) }

func (n *Network) waysOf(host string) (ways []way) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for addr := range n.listeners {
		if other := hostOf(addr); other != host {
			ways = append(ways, way{host, other}, way{other, host})
		}
	}
	return ways
}

func (n *Network) set(cut bool, ways ...way) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, w := range ways {
		n.cut[w] = cut
	}
	n.changed.Notify()
}

// state reports whether a way is cut, and gives what is closed when that changes.
func (n *Network) state(w way) (cut bool, change <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.cut[w], n.changed.Changed()
}

// Reset breaks all connections between two hosts, or of one host if the other
// is empty, at once and on both sides.
func (n *Network) Reset(a, b string) {
	n.mu.Lock()
	var broken []*conn
	for c := range n.conns {
		if c.from == a && (b == "" || c.to == b) || c.to == a && (b == "" || c.from == b) {
			broken = append(broken, c)
		}
	}
	n.mu.Unlock()
	for _, c := range broken {
		c.reset()
	}
}

// Kill takes a host away as when its process dies: its listeners are closed
// and its connections reset.
func (n *Network) Kill(host string) {
	n.mu.Lock()
	for addr, l := range n.listeners {
		if hostOf(addr) == host {
			delete(n.listeners, addr)
			l.once.Do(func() { close(l.closed) })
		}
	}
	for addr := range n.packets {
		if hostOf(addr) == host {
			delete(n.packets, addr)
		}
	}
	n.mu.Unlock()
	n.Reset(host, "")
}

// Listen makes a listener at IP:port.
func (n *Network) Listen(addr string) (net.Listener, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.listeners[addr] != nil {
		return nil, fmt.Errorf("listen %s: %w", addr, syscall.EADDRINUSE)
	}
	l := &listener{network: n, addr: addr, waiting: make(chan net.Conn, 128), closed: make(chan struct{})}
	n.listeners[addr] = l
	return l, nil
}

// Dialer gives a host a function that connects it to others.
func (n *Network) Dialer(host string) func(ctx context.Context, addr string) (net.Conn, error) {
	return func(ctx context.Context, addr string) (net.Conn, error) {
		if err := n.reachable(ctx, host, hostOf(addr)); err != nil {
			return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: tcpAddr(addr), Err: err}
		}
		c, err := n.connect(host, addr)
		if err != nil {
			return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: tcpAddr(addr), Err: err}
		}
		return c, nil
	}
}

// reachable waits until neither way between two hosts is cut.
func (n *Network) reachable(ctx context.Context, a, b string) error {
	for {
		there, _ := n.state(way{a, b})
		back, change := n.state(way{b, a})
		if !there && !back {
			return nil
		}
		select {
		case <-change:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (n *Network) connect(host, addr string) (net.Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := n.listeners[addr]
	if l == nil {
		return nil, syscall.ECONNREFUSED
	}
	n.port++
	near, far := newConns(n, net.JoinHostPort(host, strconv.Itoa(n.port)), addr)
	select {
	case l.waiting <- far:
	default:
		return nil, syscall.ECONNREFUSED
	}
	n.conns[near] = struct{}{}
	return near, nil
}

func (n *Network) forget(c *conn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.conns, c)
}

type listener struct {
	network *Network
	addr    string
	waiting chan net.Conn
	closed  chan struct{}
	once    sync.Once
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case <-l.closed:
		return nil, net.ErrClosed
	case c := <-l.waiting:
		return c, nil
	}
}

func (l *listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	l.network.mu.Lock()
	if l.network.listeners[l.addr] == l {
		delete(l.network.listeners, l.addr)
	}
	l.network.mu.Unlock()
	for {
		select {
		case c := <-l.waiting:
			c.(*conn).reset()
		default:
			return nil
		}
	}
}

func (l *listener) Addr() net.Addr { return tcpAddr(l.addr) }

func hostOf(addr string) string {
	host, _, _ := net.SplitHostPort(addr)
	return host
}

func tcpAddr(addr string) net.Addr {
	host, port, _ := net.SplitHostPort(addr)
	p, _ := strconv.Atoi(port)
	return &net.TCPAddr{IP: net.ParseIP(host), Port: p}
}
