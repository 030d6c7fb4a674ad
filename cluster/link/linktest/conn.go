package linktest

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"simpd/protocol/wait"
)

// maxBuffered is how much a connection holds one way before writing blocks.
const maxBuffered = 256 << 10

// conn is one end of a connection.
type conn struct {
	network     *Network
	from, to    string // hosts
	local, far  net.Addr
	in, out     *half
	read, write deadline
}

func newConns(n *Network, local, remote string) (near, far *conn) {
	there, back := newHalf(n, way{hostOf(local), hostOf(remote)}), newHalf(n, way{hostOf(remote), hostOf(local)})
	near = &conn{network: n, from: hostOf(local), to: hostOf(remote), local: tcpAddr(local), far: tcpAddr(remote), in: back, out: there}
	far = &conn{network: n, from: hostOf(remote), to: hostOf(local), local: tcpAddr(remote), far: tcpAddr(local), in: there, out: back}
	return near, far
}

func (c *conn) Read(b []byte) (int, error)  { return c.in.read(b, &c.read) }
func (c *conn) Write(b []byte) (int, error) { return c.out.write(b, &c.write) }
func (c *conn) LocalAddr() net.Addr         { return c.local }
func (c *conn) RemoteAddr() net.Addr        { return c.far }

func (c *conn) Close() error {
	c.network.forget(c)
	c.out.finish()
	c.in.abandon()
	return nil
}

// reset ends both ends at once.
func (c *conn) reset() {
	c.network.forget(c)
	c.in.snap()
	c.out.snap()
}

func (c *conn) SetDeadline(t time.Time) error {
	c.read.set(t)
	c.write.set(t)
	return nil
}

func (c *conn) SetReadDeadline(t time.Time) error {
	c.read.set(t)
	return nil
}

func (c *conn) SetWriteDeadline(t time.Time) error {
	c.write.set(t)
	return nil
}

// half is one direction of a connection.
type half struct {
	network *Network
	way     way

	mu        sync.Mutex
	held      []byte
	finished  bool // the writer has closed
	abandoned bool // the reader has closed
	broken    bool
	changed   wait.Broadcast
}

func newHalf(n *Network, w way) *half {
	return &half{network: n, way: w}
}

func (h *half) read(b []byte, d *deadline) (int, error) {
	for {
		cut, healed := h.network.state(h.way)
		h.mu.Lock()
		n, err, ready := h.ready(b, cut)
		change := h.changed.Changed()
		h.mu.Unlock()
		if ready {
			return n, err
		}
		if err := d.wait(change, healed); err != nil {
			return 0, err
		}
	}
}

func (h *half) ready(b []byte, cut bool) (n int, err error, ready bool) {
	switch {
	case h.abandoned:
		return 0, net.ErrClosed, true
	case h.broken:
		return 0, syscall.ECONNRESET, true
	case cut:
		return 0, nil, false
	case len(h.held) > 0:
		n = copy(b, h.held)
		h.held = h.held[n:]
		h.changed.Notify()
		return n, nil, true
	case h.finished:
		return 0, io.EOF, true
	}
	return 0, nil, len(b) == 0
}

func (h *half) write(b []byte, d *deadline) (n int, err error) {
	for {
		unheard, healed := h.network.state(way{h.way.to, h.way.from})
		h.mu.Lock()
		if err := h.writable(unheard); err != nil {
			h.mu.Unlock()
			return n, err
		}
		room := min(maxBuffered-len(h.held), len(b)-n)
		h.held = append(h.held, b[n:n+room]...)
		n += room
		if room > 0 {
			h.changed.Notify()
		}
		change := h.changed.Changed()
		h.mu.Unlock()
		if n == len(b) {
			return n, nil
		}
		if err := d.wait(change, healed); err != nil {
			return n, err
		}
	}
}

// writable returns why nothing can be written, if so. That the reader has
// closed is unheard of by the writer while the way back is cut.
func (h *half) writable(unheard bool) error {
	switch {
	case h.finished:
		return net.ErrClosed
	case h.broken || h.abandoned && !unheard:
		return syscall.EPIPE
	}
	return nil
}

func (h *half) finish() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.finished = true
	h.changed.Notify()
}

func (h *half) abandon() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.abandoned, h.held = true, nil
	h.changed.Notify()
}

func (h *half) snap() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.broken = true
	h.changed.Notify()
}

// deadline ends a read or a write that takes too long.
type deadline struct {
	mu    sync.Mutex
	at    time.Time
	moved chan struct{}
}

func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.at = t
	if d.moved != nil {
		close(d.moved)
		d.moved = nil
	}
}

// wait returns nil when one of the channels is closed or the deadline is moved.
func (d *deadline) wait(a, b <-chan struct{}) error {
	d.mu.Lock()
	if d.moved == nil {
		d.moved = make(chan struct{})
	}
	at, moved := d.at, d.moved
	d.mu.Unlock()
	var over <-chan time.Time
	if !at.IsZero() {
		left := time.Until(at)
		if left <= 0 {
			// Not by a timer: under the race detector a select on one that is
			// due already can crash (golang/go #78156).
			return os.ErrDeadlineExceeded
		}
		t := time.NewTimer(left)
		defer t.Stop()
		over = t.C
	}
	select {
	case <-a:
	case <-b:
	case <-moved:
	case <-over:
		return os.ErrDeadlineExceeded
	}
	return nil
}
