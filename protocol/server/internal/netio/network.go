package netio

import (
	"errors"
	"net"
	"net/netip"
	"time"
)

// Network is the event loops of a server, and what its connections share. The
// zero Network is ready; its loops start with the first connection.
type Network struct {
	coalescer coalescer
	loops     eventLoops
}

// Cork delays all writing until as many calls of Uncork. A goroutine that
// reads by itself corks while it handles what it has read, so that what this
// leads to is written once. Event loops do that too.
func (n *Network) Cork() { n.coalescer.cork() }

// Uncork ends a Cork.
func (n *Network) Uncork() { n.coalescer.uncork() }

// IsCorked reports whether writing is delayed.
func (n *Network) IsCorked() bool { return n.coalescer.isCorked() }

// Stop ends the event loops. No connection may be left.
func (n *Network) Stop() { n.loops.stop() }

// Acceptor is told of the connections that a listener accepts. One goroutine
// calls it.
type Acceptor interface {
	// OnAccepted takes c over.
	OnAccepted(c Accepted)
	// OnAcceptFailed is called when accepting fails for a while, as for lack of
	// file descriptors. It sleeps for pause, and returns whether to go on.
	OnAcceptFailed(err error, pause time.Duration) (again bool)
}

// Limits of the pause after a failure to accept, which doubles each time.
const (
	minAcceptBackoff = 5 * time.Millisecond
	maxAcceptBackoff = time.Second
)

// Accept accepts connections from l until it is closed, or OnAcceptFailed
// returns false.
func (n *Network) Accept(l net.Listener, a Acceptor) error {
	if sockets, ok := l.(*socketListener); ok {
		return sockets.acceptAll(n, a)
	}
	for {
		c, err := AcceptRetrying(l, a.OnAcceptFailed)
		if err != nil {
			return err
		}
		a.OnAccepted(n.NewAccepted(c, AddrPort(c.RemoteAddr())))
	}
}

// AcceptRetrying accepts a connection. If that fails for a while, it calls
// failed, like OnAcceptFailed, and tries again.
func AcceptRetrying(l net.Listener, failed func(error, time.Duration) bool) (net.Conn, error) {
	for pause := minAcceptBackoff; ; pause = min(2*pause, maxAcceptBackoff) {
		c, err := l.Accept()
		if err == nil {
			return c, nil
		}
		if errors.Is(err, net.ErrClosed) || !failed(err, pause) {
			return nil, err
		}
	}
}

// Accepted is a connection that was accepted. Either Stream or Reject takes it
// over.
type Accepted struct {
	Remote netip.AddrPort // of the client
	// NetConn is nil if the connection was accepted for an event loop.
	NetConn net.Conn

	network *Network
	fd      int // if NetConn is nil
}

// NewAccepted returns a connection of the client at remote.
func (n *Network) NewAccepted(c net.Conn, remote netip.AddrPort) Accepted {
	return Accepted{Remote: remote, NetConn: c, network: n}
}

// Stream returns the connection for Conn.Init. If it fails, the connection is
// closed.
func (c *Accepted) Stream() (Stream, error) {
	if c.NetConn == nil {
		return c.network.loops.newStream(c.fd, &c.network.coalescer)
	}
	s, err := c.network.newStream(c.NetConn)
	if err != nil {
		_ = c.NetConn.Close() // it is gone already
	}
	return s, err
}

// Reject sends octets, if that costs nothing, and closes.
func (c *Accepted) Reject(octets []byte) {
	if c.NetConn == nil {
		rejectFD(c.fd, octets)
		return
	}
	if len(octets) > 0 {
		_ = c.NetConn.SetWriteDeadline(time.Now().Add(time.Millisecond))
		_, _ = c.NetConn.Write(octets) // the client may be gone
	}
	_ = c.NetConn.Close()
}

// AddrPort converts the address of a TCP connection; any other becomes the
// zero AddrPort.
func AddrPort(a net.Addr) netip.AddrPort {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return tcp.AddrPort()
	}
	return netip.AddrPort{}
}
