//go:build linux

package load

import (
	"fmt"
	"io"

	"golang.org/x/sys/unix"
)

// Conn is a connection of a Loop. It keeps buffers only for what could not be
// used or written at once.
type Conn struct {
	fd      int
	loop    *Loop
	reader  Reader
	rest    []byte // read and not used yet
	out     []byte // to be written
	queued  bool   // in loop.dirty
	waiting bool   // for room in the socket
	closed  bool
}

// Write puts octets into the outbox, which the loop writes once it has handled
// the event at hand. After Close it does nothing.
func (c *Conn) Write(b []byte) {
	if c.closed {
		return
	}
	c.out = append(c.out, b...)
	c.touch()
}

// Outbox returns the outbox for appending to; give the result to SetOutbox.
func (c *Conn) Outbox() []byte { return c.out }

// SetOutbox takes the outbox back, longer than it was.
func (c *Conn) SetOutbox(b []byte) {
	if c.closed {
		return
	}
	c.out = b
	c.touch()
}

func (c *Conn) touch() {
	if !c.queued {
		c.queued = true
		c.loop.dirty = append(c.loop.dirty, c)
	}
}

// flush writes what the socket takes.
func (c *Conn) flush() {
	for len(c.out) > 0 && !c.closed {
		n, err := unix.Write(c.fd, c.out)
		switch {
		case err == unix.EAGAIN:
			c.await(true)
			return
		case err == unix.EINTR:
		case err != nil:
			c.fail(fmt.Errorf("write: %w", err))
			return
		default:
			c.out = append(c.out[:0], c.out[n:]...)
		}
	}
	c.await(false)
}

// await asks the kernel to tell when the socket has room, or not any more.
func (c *Conn) await(room bool) {
	if room == c.waiting || c.closed {
		return
	}
	c.waiting = room
	e := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP, Fd: int32(c.fd)}
	if room {
		e.Events |= unix.EPOLLOUT
	}
	if err := unix.EpollCtl(c.loop.epoll, unix.EPOLL_CTL_MOD, c.fd, &e); err != nil {
		c.fail(fmt.Errorf("epoll: %w", err))
	}
}

// read reads once and gives what there is to the reader.
func (c *Conn) read() {
	buf := c.loop.in
	kept := copy(buf, c.rest)
	n, err := unix.Read(c.fd, buf[kept:])
	switch {
	case err == unix.EAGAIN || err == unix.EINTR:
		return
	case err != nil:
		c.fail(fmt.Errorf("read: %w", err))
		return
	case n == 0:
		c.fail(io.EOF)
		return
	}
	c.use(buf[:kept+n])
}

func (c *Conn) use(b []byte) {
	used, err := c.reader.Octets(b)
	if err == nil && len(b)-used == readSize {
		err = errUnread
	}
	if err != nil {
		c.fail(err)
		return
	}
	if used < len(b) {
		c.rest = append(c.rest[:0], b[used:]...)
	} else {
		c.rest = nil
	}
}

func (c *Conn) fail(err error) {
	if !c.closed {
		c.Close()
		c.reader.Closed(err)
	}
}

// Close closes the connection at once. What the outbox holds is lost.
func (c *Conn) Close() {
	if c.closed {
		return
	}
	c.closed = true
	delete(c.loop.conns, int32(c.fd))
	unix.Close(c.fd)
	c.out, c.rest = nil, nil
}
