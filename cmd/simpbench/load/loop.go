//go:build linux

package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// Reader is told what happens to a connection.
type Reader interface {
	// Octets gets all octets that were read and not used yet, and returns how
	// many it has used. An error closes the connection.
	Octets(b []byte) (used int, err error)
	// Closed says that the connection has ended: io.EOF where the server
	// closed it. It is not called for Conn.Close.
	Closed(err error)
}

// Loop drives connections from one goroutine.
type Loop struct {
	epoll  int
	conns  map[int32]*Conn
	dirty  []*Conn // with octets to write
	timers timers
	events [256]unix.EpollEvent
	in     []byte // what is read, for all connections

	longest time.Duration // that one round of events and timers took
}

// readSize is the most that is read at once, and so the longest line or frame.
const readSize = 128 << 10

// NewLoop returns a loop without connections.
func NewLoop() (*Loop, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	return &Loop{epoll: fd, conns: make(map[int32]*Conn), in: make([]byte, readSize)}, nil
}

// Close closes all connections, telling nobody.
func (l *Loop) Close() {
	for _, c := range l.conns {
		c.Close()
	}
	if l.epoll >= 0 {
		unix.Close(l.epoll)
		l.epoll = -1
	}
}

// Conns returns how many connections are open.
func (l *Loop) Conns() int { return len(l.conns) }

// ErrTimeout is Run's when done did not come true in time.
var ErrTimeout = errors.New("not done in time")

// Run drives the connections until done returns true, which is asked after
// each round of events, or for at most d (then ErrTimeout), or until ctx ends.
func (l *Loop) Run(ctx context.Context, d time.Duration, done func() bool) error {
	now := time.Now()
	end := now.Add(d)
	for {
		l.flush()
		if done() {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if !now.Before(end) {
			return ErrTimeout
		}
		l.timers.fire(now)
		l.flush()
		l.longest = max(l.longest, time.Since(now))
		if err := l.wait(l.timers.until(time.Now(), end), &now); err != nil {
			return err
		}
	}
}

// Longest returns how long the longest round of events took since it was
// asked last: so much of a delay may be the load generator's own.
func (l *Loop) Longest() time.Duration {
	d := l.longest
	l.longest = 0
	return d
}

// RunFor drives the connections for d.
func (l *Loop) RunFor(ctx context.Context, d time.Duration) error {
	err := l.Run(ctx, d, func() bool { return false })
	if errors.Is(err, ErrTimeout) {
		return nil
	}
	return err
}

// After calls f on the loop's goroutine after d.
func (l *Loop) After(d time.Duration, f func()) { l.timers.add(time.Now().Add(d), f) }

// At calls f on the loop's goroutine at t.
func (l *Loop) At(t time.Time, f func()) { l.timers.add(t, f) }

// longestWait bounds how late the end of a context is noticed.
const longestWait = 50 * time.Millisecond

// wait waits for events, at most for d, sets now, and handles them.
func (l *Loop) wait(d time.Duration, now *time.Time) error {
	n, err := epollWait(l.epoll, l.events[:], min(max(d, 0), longestWait))
	*now = time.Now()
	if err != nil && err != unix.EINTR {
		return fmt.Errorf("epoll: %w", err)
	}
	for _, e := range l.events[:max(n, 0)] {
		l.handle(e)
	}
	return nil
}

func (l *Loop) handle(e unix.EpollEvent) {
	c := l.conns[e.Fd]
	if c == nil {
		return // closed by an event before this one
	}
	if e.Events&unix.EPOLLOUT != 0 {
		c.flush()
	}
	if e.Events&^uint32(unix.EPOLLOUT) != 0 {
		c.read()
	}
	l.flush()
}

func (l *Loop) flush() {
	for _, c := range l.dirty {
		c.queued = false
		c.flush()
	}
	l.dirty = l.dirty[:0]
}

// Dial connects to addr from the local address from (zero: any) and returns
// once the connection stands, which the kernel of a loopback decides alone.
func (l *Loop) Dial(addr netip.AddrPort, from netip.Addr, r Reader) (*Conn, error) {
	fd, err := dial(addr, from)
	if err != nil {
		return nil, fmt.Errorf("connect to %v: %w", addr, err)
	}
	c := &Conn{fd: fd, loop: l, reader: r}
	e := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP, Fd: int32(fd)}
	if err := unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, fd, &e); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("epoll: %w", err)
	}
	l.conns[int32(fd)] = c
	return c, nil
}

func dial(addr netip.AddrPort, from netip.Addr) (fd int, err error) {
	fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	if from.IsValid() {
		// Without this a port would be taken for the source alone, and there
		// are fewer of those than of pairs of source and target.
		_ = unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
		err = unix.Bind(fd, &unix.SockaddrInet4{Addr: from.As4()})
	}
	if err == nil {
		err = unix.Connect(fd, &unix.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()})
	}
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err == nil {
		err = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// errUnread is a connection whose reader does not use what fills the buffer.
var errUnread = fmt.Errorf("a line or frame of more than %d octets: %w", readSize, io.ErrShortBuffer)
