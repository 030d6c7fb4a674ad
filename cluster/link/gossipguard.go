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

// Bounds of gossip by TCP. memberlist itself reads up to 20 MiB of each of any
// number of connections before it decrypts the first octet.
const (
	gossipMembers   = 32 // connections at a time
	gossipStrangers = 8
	gossipTimeout   = 5 * time.Second // for a whole exchange
	headerTimeout   = 2 * time.Second // for its first octets
	// maxExchange is more than the states of maxPeers nodes take: at most 512
	// octets of what a node tells of itself, its name and its address.
	maxExchange = 256 << 10
)

// What memberlist puts before a stream: a label, and then the mark and the
// length of what is encrypted.
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

// gossipGuard is a memberlist.Transport that keeps strangers from costing
// much: it bounds inbound connections, who may have them, how long they last,
// and how many octets are read before a key has proved anything.
type gossipGuard struct {
	memberlist.Transport
	label     string
	encrypted bool
	allowed   []netip.Prefix // none: all
	slots     *slots
	logger    *slog.Logger
	dial      func(ctx context.Context, addr string) (net.Conn, error)
	stop      context.Context // its end ends what this node has dialled

	streams chan net.Conn
	packets chan *memberlist.Packet
	done    chan struct{}
	once    sync.Once
	running sync.WaitGroup
}

// start begins to take what the transport below brings.
func (g *gossipGuard) start() {
	g.streams, g.packets, g.done = make(chan net.Conn), make(chan *memberlist.Packet), make(chan struct{})
	g.running.Go(g.acceptStreams)
	g.running.Go(g.acceptPackets)
}

func (g *gossipGuard) logRefusal(remote net.Addr, err error) {
	logRefusal(g.logger, "connections of gossip are refused", remote, "", err)
}

// StreamCh gives the connections that memberlist is to serve.
func (g *gossipGuard) StreamCh() <-chan net.Conn { return g.streams }

// PacketCh gives the packets of allowed networks.
func (g *gossipGuard) PacketCh() <-chan *memberlist.Packet { return g.packets }

// DialTimeout connects to another node, whose answer is bounded too.
func (g *gossipGuard) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(g.stop, timeout)
	defer cancel()
	c, err := g.dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	x := &exchange{Conn: c, left: maxExchange}
	x.unstop = context.AfterFunc(g.stop, func() { _ = c.Close() })
	return x, nil
}

// Shutdown ends the transport. What arrives until it has ended is closed.
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

// accept gives a connection a slot and has its beginning looked at.
func (g *gossipGuard) accept(c net.Conn) {
	if !g.allows(c.RemoteAddr()) {
		c.Close()
		g.logRefusal(c.RemoteAddr(), errNotAllowed)
		return
	}
	s, evicted := g.slots.take(c)
	if evicted != nil {
		g.logRefusal(evicted.RemoteAddr(), errTooMany)
	}
	g.running.Go(func() {
		x := &exchange{Conn: c, left: maxExchange, slot: s}
		if err := g.inspect(x); err != nil {
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

// inspect reads the first octets of a stream, which memberlist is then given
// again, and refuses what can't be an exchange of this site.
func (g *gossipGuard) inspect(x *exchange) error {
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

// exchange is one connection of gossip, of which so many octets are read.
type exchange struct {
	net.Conn
	head []byte // read already
	left int
	slot *slot // nil: this node has dialled

	unstop func() bool // nil: others have dialled
}

// Read reads the octets that were looked at, and then what follows.
func (x *exchange) Read(b []byte) (int, error) {
	if len(x.head) > 0 {
		n := copy(b, x.head)
		x.head = x.head[n:]
		return n, nil
	}
	if x.left <= 0 {
		return 0, errTooLong
	}
	n, err := x.Conn.Read(b[:min(len(b), x.left)])
	x.left -= n
	return n, err
}

// Close gives the slot back.
func (x *exchange) Close() error {
	if x.unstop != nil {
		x.unstop()
	}
	if x.slot != nil {
		x.slot.release()
	}
	return x.Conn.Close()
}
