package netio

import (
	"crypto/tls"
	"net"
	"time"

	"simpd/protocol/fairslots"
	"simpd/protocol/tlsrecord"
)

// Conn is a connection with a queue of output. Its Handler embeds it, and Init
// makes it ready. Any goroutine may send. Whoever reads is either the event
// loop, which calls Handler.OnReadable, or one goroutine, which calls Read.
type Conn struct {
	outbox // first for locality: see outbox
	base   Base
}

// Handler is what a Conn belongs to.
type Handler interface {
	// OnReadable is called by the event loop when there may be something for
	// ReadNow. It must not block. It returns true to be called again, behind
	// the other connections. buf is the loop's, for ReadNow.
	OnReadable(buf []byte) (again bool)

	// The rest is called by whoever sends. None may block or call the Conn,
	// except Close and SetReadDeadline in Abort.

	// OnBehind is called when the client does not take all output at once.
	OnBehind()
	// AddMemory is called when the queue grows by octets, or shrinks.
	AddMemory(octets int)
	// AllowsQueued reports whether so many octets may be queued.
	AllowsQueued(octets int) bool
	// Abort is called when nothing can be written any more, or when more is
	// queued than AllowsQueued allows. It has to close the Conn.
	Abort()
}

// Init makes c the connection s.
func (c *Conn) Init(s Stream, h Handler, n *Network) {
	c.base, c.transport, c.coalescer, c.handler = s.Base, s.Transport, &n.coalescer, h
}

// Read blocks until octets arrive, which are valid until the next Read. It
// must not be called while a loop reads.
func (c *Conn) Read() (octets []byte, whole bool, err error) { return c.transport.Read() }

// ReadNow reads what has arrived into buf without blocking, within OnReadable.
// more reports that there may be more. If there is nothing, IsAgain(err).
func (c *Conn) ReadNow(buf []byte) (octets []byte, more bool, err error) {
	return c.transport.(nonBlockingTransport).readNow(buf)
}

// SetReadDeadline limits how long Read blocks. If an event loop reads, a time
// in the past makes it call the handler.
func (c *Conn) SetReadDeadline(at time.Time) error { return c.base.SetReadDeadline(at) }

// Close closes the connection at once, so that whoever reads or writes fails.
func (c *Conn) Close() error { return c.base.Close() }

// looped is a base for which an event loop can read.
type looped interface {
	attach(c *Conn) error
	detach(c *Conn) bool
	wake()
}

// HasLoop reports whether an event loop can read.
func (c *Conn) HasLoop() bool {
	_, ok := c.base.(looped)
	return ok
}

// Attach makes an event loop call the handler for what arrives, and for what
// has already arrived. c must have a loop. It fails if the connection is
// closed.
func (c *Conn) Attach() error { return c.base.(looped).attach(c) }

// Detach ends the loop's calls of the handler; one may still be running if
// another goroutine calls Detach. It returns false if there were none.
func (c *Conn) Detach() bool {
	l, ok := c.base.(looped)
	return ok && l.detach(c)
}

// Wake makes the event loop call the handler soon.
func (c *Conn) Wake() {
	if l, ok := c.base.(looped); ok {
		l.wake()
	}
}

// StartTLS performs the handshake as the server, within the read deadline. c
// must be frozen, and no loop may call the handler. What is sent after Thaw is
// encrypted. It returns how to ask for the state of TLS.
func (c *Conn) StartTLS(config *tls.Config, turn *fairslots.Turn) (func() tls.ConnectionState, error) {
	w, state, err := newTLSTransport(c.base, config, turn)
	if err != nil {
		return nil, err
	}
	c.replaceTransport(w)
	return state, nil
}

// handshakeWriteTime limits how long writing blocks in a handshake.
const handshakeWriteTime = 15 * time.Second

// newNetTLSTransport returns the transport of TLS over c after the handshake.
func newNetTLSTransport(c net.Conn, config *tls.Config, turn *fairslots.Turn) (Transport, func() tls.ConnectionState, error) {
	if err := c.SetWriteDeadline(time.Now().Add(handshakeWriteTime)); err != nil {
		return nil, nil, err
	}
	turns := fairslots.NewConn(c)
	turns.Begin(turn)
	below := tlsrecord.NewBelow(turns)
	t := tls.Server(below, config)
	err := t.Handshake()
	turns.Finish()
	if err != nil {
		return nil, nil, err
	}
	return newNetTransport(below.Above(t)), t.ConnectionState, c.SetWriteDeadline(time.Time{})
}
