package fairslots

import (
	"context"
	"fmt"
	"net"
	"net/netip"
)

// Turn holds the slot of a TLS handshake while it computes, but not while it
// waits for the other end. A nil Turn does nothing.
type Turn struct {
	ctx     context.Context // of the handshake
	slots   *Slots
	network netip.Prefix
	held    bool
}

// NewTurn returns the turn of a handshake with a network. It is given up when
// ctx ends.
func (s *Slots) NewTurn(ctx context.Context, network netip.Prefix) *Turn {
	return &Turn{ctx: ctx, slots: s, network: network}
}

// Acquire waits for a slot, because something has arrived.
func (t *Turn) Acquire() error {
	if t == nil || t.held {
		return nil
	}
	if err := t.slots.Acquire(t.ctx, t.network); err != nil {
		return fmt.Errorf("waiting for the turn to compute: %w", err)
	}
	t.held = true
	return nil
}

// Release gives the slot up, because more has to arrive or the handshake has
// ended.
func (t *Turn) Release() {
	if t != nil && t.held {
		t.slots.Release()
		t.held = false
	}
}

// Conn is the connection below a TLS handshake.
type Conn struct {
	net.Conn
	turn *Turn // nil before and after the handshake
}

// NewConn returns a Conn on which no handshake has begun.
func NewConn(c net.Conn) *Conn { return &Conn{Conn: c} }

// Begin begins a handshake.
func (c *Conn) Begin(t *Turn) { c.turn = t }

// Finish ends the turn for good.
func (c *Conn) Finish() {
	c.turn.Release()
	c.turn = nil
}

// Read reads without a slot, and acquires one for what it has read.
func (c *Conn) Read(b []byte) (int, error) {
	c.turn.Release()
	n, err := c.Conn.Read(b)
	if n > 0 {
		if err := c.turn.Acquire(); err != nil {
			return 0, err
		}
	}
	return n, err
}

// CloseWrite ends the sending side.
func (c *Conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}
