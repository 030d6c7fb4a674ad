package link

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// Limits of gossip by TCP. memberlist itself reads up to 20 MiB from each of
// any number of connections before it decrypts the first octet.
const (
	memberGossipSlots = 32              // concurrent connections from addresses of members
	otherGossipSlots  = 8               // and from others
	gossipTimeout     = 5 * time.Second // for a whole exchange
	headerTimeout     = 2 * time.Second // for its first octets
	// maxExchange exceeds the size of the states of maxPeers nodes, each of
	// which has at most 512 octets of metadata, a name and an address.
	maxExchange = 256 << 10
)

// The header that memberlist puts before a stream: a label, and then a mark
// and the length of the encrypted part.
const (
	labelMark     = 244
	encryptedMark = 10
	encryptedHead = 5
)

var (
	errTooLong    = errors.New("it announces more than an exchange of gossip takes")
	errNotAllowed = errors.New("its network is not allowed: see --gossip-allow")
	errNoGossip   = errors.New("it does not begin as an exchange of this site's gossip does")
)

// gossipGuard is a memberlist.Transport that limits the cost of strangers: it
// limits inbound connections, their sources, their duration, and how many
// octets are read before a key has been proved.
type gossipGuard struct {
	memberlist.Transport
	label     string
	encrypted bool
	allowed   []netip.Prefix // empty means all
	slots     *connSlots
	logger    *slog.Logger
	dial      func(ctx context.Context, addr string) (net.Conn, error)
	stop      context.Context // when it ends, connections that this node has dialed are closed

	streams chan net.Conn
	packets chan *memberlist.Packet
	done    chan struct{}
	once    sync.Once
	running sync.WaitGroup
}

// start begins to receive from the underlying transport.
func (g *gossipGuard) start() {
	g.streams, g.packets, g.done = make(chan net.Conn), make(chan *memberlist.Packet), make(chan struct{})
	g.running.Go(g.acceptStreams)
	g.running.Go(g.acceptPackets)
}

func (g *gossipGuard) logRefusal(remote net.Addr, err error) {
	logRefusal(g.logger, "connections of gossip are refused", remote, "", err)
}

// StreamCh returns the connections that memberlist is to serve.
func (g *gossipGuard) StreamCh() <-chan net.Conn { return g.streams }

// PacketCh returns the packets from allowed networks.
func (g *gossipGuard) PacketCh() <-chan *memberlist.Packet { return g.packets }

// DialTimeout connects to another node. What it reads from there is limited
// too.
func (g *gossipGuard) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(g.stop, timeout)
	defer cancel()
	c, err := g.dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	x := &boundedConn{Conn: c, remaining: maxExchange}
	x.unstop = context.AfterFunc(g.stop, func() { _ = c.Close() })
	return x, nil
}

// Shutdown stops the transport. Connections that arrive meanwhile are closed.
func (g *gossipGuard) Shutdown() error {
	err := g.Transport.Shutdown()
	g.once.Do(func() { close(g.done) })
	g.running.Wait()
	return err
}

func (g *gossipGuard) acceptPackets() {
	for {
		select {
		case p := <-g.Transport.PacketCh():
			if !g.allows(p.From) {
				continue
			}
			select {
			case g.packets <- p:
			case <-g.done:
				return
			}
		case <-g.done:
			return
		}
	}
}

func (g *gossipGuard) acceptStreams() {
	for {
		select {
		case c := <-g.Transport.StreamCh():
			g.accept(c)
		case <-g.done:
			return
		}
	}
}

// accept acquires a slot for a connection and checks its header.
func (g *gossipGuard) accept(c net.Conn) {
	if !g.allows(c.RemoteAddr()) {
		c.Close()
		g.logRefusal(c.RemoteAddr(), errNotAllowed)
		return
	}
	s, evicted := g.slots.acquire(c)
	if evicted != nil {
		g.logRefusal(evicted.RemoteAddr(), errTooMany)
	}
	g.running.Go(func() {
		x := &boundedConn{Conn: c, remaining: maxExchange, slot: s}
		if err := g.checkHeader(x); err != nil {
			x.Close()
			g.logRefusal(c.RemoteAddr(), err)
			return
		}
		select {
		case g.streams <- x:
		case <-g.done:
			x.Close()
		}
	})
}

func (g *gossipGuard) allows(a net.Addr) bool {
	if len(g.allowed) == 0 {
		return true
	}
	at, err := netip.ParseAddrPort(a.String())
	return err == nil && slices.ContainsFunc(g.allowed, func(p netip.Prefix) bool { return p.Contains(at.Addr().Unmap()) })
}

// checkHeader reads the first octets of a stream, which memberlist reads
// again afterwards, and returns an error if it can't be an exchange of this
// site.
func (g *gossipGuard) checkHeader(x *boundedConn) error {
	x.Conn.SetDeadline(time.Now().Add(headerTimeout))
	head := make([]byte, 0, 2+len(g.label)+encryptedHead)
	if g.label != "" {
		head = append(head, labelMark, byte(len(g.label)))
		head = append(head, g.label...)
	}
	want := len(head)
	if g.encrypted {
		want += encryptedHead
	}
	got := make([]byte, want)
	if _, err := io.ReadFull(x.Conn, got); err != nil {
		return fmt.Errorf("%w: %w", errNoGossip, err)
	}
	if string(got[:len(head)]) != string(head) {
		return errNoGossip
	}
	if rest := got[len(head):]; g.encrypted {
		if rest[0] != encryptedMark {
			return errNoGossip
		}
		if n := binary.BigEndian.Uint32(rest[1:]); n > maxExchange {
			return fmt.Errorf("%w: %d octets", errTooLong, n)
		}
	}
	x.head = got
	x.SetDeadline(time.Now().Add(gossipTimeout))
	return nil
}

// boundedConn is a gossip connection of which only a limited number of octets
// is read.
type boundedConn struct {
	net.Conn
	head      []byte // already read
	remaining int
	slot      *slot // nil if this node has dialed

	unstop func() bool // nil if the other node has dialed
}

// Read returns the header that was checked, and then what follows it.
func (x *boundedConn) Read(b []byte) (int, error) {
	if len(x.head) > 0 {
		n := copy(b, x.head)
		x.head = x.head[n:]
		return n, nil
	}
	if x.remaining <= 0 {
		return 0, errTooLong
	}
	n, err := x.Conn.Read(b[:min(len(b), x.remaining)])
	x.remaining -= n
	return n, err
}

// Close closes the connection and releases its slot.
func (x *boundedConn) Close() error {
	if x.unstop != nil {
		x.unstop()
	}
	if x.slot != nil {
		x.slot.release()
	}
	return x.Conn.Close()
}
