package netio

import (
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// socket is the transport of a plain TCP connection, and its conn. An event
// loop reads for it while it has a handler; otherwise reading blocks. A write
// accepts what the kernel accepts at once.
type socket struct {
	fd      int // valid between acquire and release
	slot    uint32
	refs    atomic.Int32 // of fd, with closedBit and freedBit
	loop    *eventLoop
	written atomic.Uint64

	handler    atomic.Pointer[Conn] // whose handler receives events; nil: reading blocks
	eof        bool                 // nothing follows the available data; used by the event loop only
	registered atomic.Bool          // with the event loop

	mu             sync.Mutex
	waiters        *ioWaiters // nil until somebody waits
	deadlinePassed bool       // the read deadline has passed
	timer          *time.Timer
	readBuf        *[512]byte // for blocking reads
}

// ioWaiters wakes those who wait; each channel holds one token.
type ioWaiters struct{ readable, writable chan struct{} }

const (
	closedBit = 1 << 28 // fd must not be acquired
	freedBit  = 1 << 29 // fd is closed
)

// fromTCPConn takes the connection over from tcp, which it closes in any
// case.
func (ls *eventLoops) fromTCPConn(tcp *net.TCPConn, g *coalescer) (*socket, error) {
	defer tcp.Close()
	l, err := ls.pick(g)
	if err != nil {
		return nil, err
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil, err
	}
	s := &socket{loop: l}
	if control := raw.Control(func(fd uintptr) {
		s.fd, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0)
	}); control != nil {
		err = control
	}
	return s, err
}

// acquire makes fd valid until release. It returns false if it is closed.
func (s *socket) acquire() bool {
	if s.refs.Add(1) >= closedBit {
		s.release()
		return false
	}
	return true
}

func (s *socket) release() {
	if s.refs.Add(-1) == closedBit {
		s.closeFD()
	}
}

// closeFD closes fd, which nobody uses any more. It may be called
// concurrently.
func (s *socket) closeFD() {
	if s.refs.CompareAndSwap(closedBit, freedBit) {
		if s.registered.Load() {
			s.loop.remove(s)
		}
		_ = unix.Close(s.fd) // nothing is lost with it any more
	}
}

// Close closes the connection at once. Pending reads and writes fail.
func (s *socket) Close() error {
	for {
		n := s.refs.Load()
		if n >= closedBit {
			return net.ErrClosed
		}
		if s.refs.CompareAndSwap(n, n+closedBit+1) {
			break
		}
	}
	_ = unix.Shutdown(s.fd, unix.SHUT_RDWR) // fails if the peer is gone
	s.release()
	_ = s.SetReadDeadline(LongAgo) // it has no other
	s.wakeWaiters(false, true)
	return nil
}

// attach makes the event loop call the handler of c for what arrives, and for what has
// already arrived; with nil it only wakes those who wait.
func (s *socket) attach(c *Conn) error {
	s.handler.Store(c)
	if s.registered.Load() {
		s.loop.schedule(s)
		return nil
	}
	if !s.acquire() {
		return net.ErrClosed
	}
	defer s.release()
	s.registered.Store(true) // before the loop may tell c something that leads here again
	if err := s.loop.add(s); err != nil {
		s.registered.Store(false) // add has removed it
		return err
	}
	if s.refs.Load() >= closedBit { // Close came before add, and the loop would not report it
		return net.ErrClosed
	}
	return nil
}

// detach stops the event loop's calls. It returns false if c was not
// attached.
func (s *socket) detach(c *Conn) bool { return s.handler.CompareAndSwap(c, nil) }

// wake lets the loop read soon, as if data had arrived.
func (s *socket) wake() { s.loop.schedule(s) }

// onEvent is called by the event loop.
func (s *socket) onEvent(events uint32, buf []byte) (again bool) {
	const over = unix.EPOLLRDHUP | unix.EPOLLHUP | unix.EPOLLERR
	c := s.handler.Load()
	if c == nil || events&(unix.EPOLLOUT|over) != 0 {
		s.wakeWaiters(events&(unix.EPOLLIN|over) != 0, events&(unix.EPOLLOUT|over) != 0)
	}
	if c == nil || events&(unix.EPOLLIN|over) == 0 {
		return false
	}
	s.eof = s.eof || events&over != 0
	return c.handler.OnReadable(buf)
}

// wakeWaiters wakes those who wait to read or to write.
func (s *socket) wakeWaiters(readable, writable bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiters == nil {
		return
	}
	if readable {
		signal(s.waiters.readable)
	}
	if writable {
		signal(s.waiters.writable)
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // it is called already
	}
}

// awaitReady waits until the socket is ready for what poll names, or has
// failed.
func (s *socket) awaitReady(poll int16) error {
	s.mu.Lock()
	if s.waiters == nil {
		s.waiters = &ioWaiters{make(chan struct{}, 1), make(chan struct{}, 1)}
	}
	c := s.waiters.readable
	if poll == unix.POLLOUT {
		c = s.waiters.writable
	}
	s.mu.Unlock()
	for {
		if ready, err := s.poll(poll); ready || err != nil {
			return err
		}
		if poll == unix.POLLIN && s.isDeadlinePassed() {
			return os.ErrDeadlineExceeded
		}
		<-c
	}
}

// releaseWaiters releases the memory for waiting: from now on an event loop
// reads.
func (s *socket) releaseWaiters() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiters = nil
}

func (s *socket) isDeadlinePassed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.deadlinePassed
}

// poll asks the kernel, because the state may have changed since a wake-up.
func (s *socket) poll(events int16) (bool, error) {
	if !s.acquire() {
		return false, net.ErrClosed
	}
	defer s.release()
	ask := []unix.PollFd{{Fd: int32(s.fd), Events: events}}
	n, err := unix.Poll(ask, 0)
	return err == unix.EINTR || n > 0, nil
}

// readNow reads what has arrived without blocking; errAgain means nothing.
// more reports that there may be more.
func (s *socket) readNow(buf []byte) (octets []byte, more bool, err error) {
	if !s.acquire() {
		return nil, false, net.ErrClosed
	}
	defer s.release()
	n, err := readFD(s.fd, buf)
	if err == unix.EAGAIN {
		return nil, false, errAgain
	}
	return buf[:max(n, 0)], n == len(buf) || s.eof, err
}

func (s *socket) Read() ([]byte, bool, error) { return s.readFor(s) }

// readFor blocks until w, which runs on s, has something to read.
func (s *socket) readFor(w nonBlockingTransport) ([]byte, bool, error) {
	if s.readBuf == nil {
		s.readBuf = new([512]byte)
	}
	for {
		octets, _, err := w.readNow(s.readBuf[:])
		if err != error(errAgain) {
			return octets, false, err
		}
		if err := s.awaitReady(unix.POLLIN); err != nil {
			return nil, false, err
		}
	}
}

func (s *socket) Write(b []byte) (int, bool, error) {
	if len(b) == 0 {
		return 0, true, nil
	}
	if !s.acquire() {
		return 0, false, net.ErrClosed
	}
	defer s.release()
	n, err := writeFD(s.fd, b)
	if err == unix.EAGAIN {
		return 0, false, nil
	}
	n = max(n, 0)
	s.written.Add(uint64(n))
	return n, n == len(b), err
}

func (s *socket) WaitWritable() error { return s.awaitReady(unix.POLLOUT) }
func (s *socket) IsBlocking() bool    { return false }
func (s *socket) BatchSize() int      { return 4 * BufferSize }
func (s *socket) SentOctets() uint64  { return s.written.Load() }

func (s *socket) CloseWrite() error {
	if !s.acquire() {
		return net.ErrClosed
	}
	defer s.release()
	return unix.Shutdown(s.fd, unix.SHUT_WR)
}

// SetReadDeadline limits how long read blocks. If an event loop reads, a time
// in the past makes it call the handler as if something had arrived; other
// times do nothing.
func (s *socket) SetReadDeadline(at time.Time) error {
	s.mu.Lock()
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
	left := time.Until(at)
	s.deadlinePassed = !at.IsZero() && left <= 0
	if left > 0 {
		s.timer = time.AfterFunc(left, func() { _ = s.SetReadDeadline(LongAgo) })
	}
	late := s.deadlinePassed
	s.mu.Unlock()
	if late {
		s.wakeWaiters(true, false)
		s.loop.schedule(s)
	}
	return nil
}
