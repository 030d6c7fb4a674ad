package server

import (
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// socket is the wire of a plain TCP connection, and its conn. A loop reads for
// it while it has a listener; else whoever reads waits. A write takes what the
// kernel takes at once.
type socket struct {
	fd    int // valid between hold and release
	slot  uint32
	uses  atomic.Int32 // of fd, and closedBit
	loop  *loop
	taken atomic.Uint64

	ear   atomic.Pointer[session] // who is told what comes; nil: whoever reads waits
	over  bool                    // nothing comes after what is there; the loop's
	known atomic.Bool             // the loop knows it

	mu    sync.Mutex
	calls *calls // nil until somebody waits
	late  bool   // whoever waits to read has waited long enough
	timer *time.Timer
	small *[512]byte // what whoever waits reads into
}

// calls wake those who wait; each holds one call.
type calls struct{ readable, writable chan struct{} }

const (
	closedBit = 1 << 28 // nobody may begin to use fd
	freedBit  = 1 << 29 // it is closed
)

// adopt takes the connection over from tcp, which is closed in any case.
func (ls *loops) adopt(tcp *net.TCPConn, g *gather) (*socket, error) {
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

// hold makes fd valid until release; false: it is closed.
func (s *socket) hold() bool {
	if s.uses.Add(1) >= closedBit {
		s.release()
		return false
	}
	return true
}

func (s *socket) release() {
	if s.uses.Add(-1) == closedBit {
		s.free()
	}
}

// free closes fd, which nobody uses any more. It may be called by two at once.
func (s *socket) free() {
	if s.uses.CompareAndSwap(closedBit, freedBit) {
		if s.known.Load() {
			s.loop.remove(s)
		}
		_ = unix.Close(s.fd) // nothing is lost with it any more
	}
}

// Close ends the connection at once. Whoever reads or writes learns of it.
func (s *socket) Close() error {
	for {
		n := s.uses.Load()
		if n >= closedBit {
			return net.ErrClosed
		}
		if s.uses.CompareAndSwap(n, n+closedBit+1) {
			break
		}
	}
	_ = unix.Shutdown(s.fd, unix.SHUT_RDWR) // fails if the peer is gone
	s.release()
	_ = s.SetReadDeadline(longAgo) // it has no other
	s.call(false, true)
	return nil
}

// listen has the loop tell x what comes, and what is there already; nil: it
// only wakes those who wait.
func (s *socket) listen(x *session) error {
	s.ear.Store(x)
	if s.known.Load() {
		s.loop.post(s)
		return nil
	}
	if !s.hold() {
		return net.ErrClosed
	}
	defer s.release()
	s.known.Store(true) // before the loop may tell x something that leads here again
	if err := s.loop.add(s); err != nil {
		s.known.Store(false) // add has removed it
		return err
	}
	if s.uses.Load() >= closedBit { // meanwhile: nobody may have posted it
		return net.ErrClosed
	}
	return nil
}

// deafen leaves reading to whoever waits; false: x was not told any more.
func (s *socket) deafen(x *session) bool { return s.ear.CompareAndSwap(x, nil) }

// happened is for the loop.
func (s *socket) happened(events uint32, buf []byte) (again bool) {
	const over = unix.EPOLLRDHUP | unix.EPOLLHUP | unix.EPOLLERR
	x := s.ear.Load()
	if x == nil || events&(unix.EPOLLOUT|over) != 0 {
		s.call(events&(unix.EPOLLIN|over) != 0, events&(unix.EPOLLOUT|over) != 0)
	}
	if x == nil || events&(unix.EPOLLIN|over) == 0 {
		return false
	}
	s.over = s.over || events&over != 0
	return x.ready(s, buf)
}

// call wakes those who wait to read or to write.
func (s *socket) call(readable, writable bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.calls == nil {
		return
	}
	if readable {
		callOnce(s.calls.readable)
	}
	if writable {
		callOnce(s.calls.writable)
	}
}

func callOnce(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // it is called already
	}
}

// await waits until the socket is ready for what poll names, or has failed.
func (s *socket) await(poll int16) error {
	s.mu.Lock()
	if s.calls == nil {
		s.calls = &calls{make(chan struct{}, 1), make(chan struct{}, 1)}
	}
	c := s.calls.readable
	if poll == unix.POLLOUT {
		c = s.calls.writable
	}
	s.mu.Unlock()
	for {
		if ready, err := s.poll(poll); ready || err != nil {
			return err
		}
		if poll == unix.POLLIN && s.isLate() {
			return os.ErrDeadlineExceeded
		}
		<-c
	}
}

// forgetCalls gives back what waiting took: from now on a loop reads.
func (s *socket) forgetCalls() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = nil
}

func (s *socket) isLate() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.late
}

// poll asks the kernel: what a call said may have changed.
func (s *socket) poll(events int16) (bool, error) {
	if !s.hold() {
		return false, net.ErrClosed
	}
	defer s.release()
	ask := []unix.PollFd{{Fd: int32(s.fd), Events: events}}
	n, err := unix.Poll(ask, 0)
	return err == unix.EINTR || n > 0, nil
}

// readNow reads what has come, without waiting; errAgain: nothing. more tells
// that there may be more.
func (s *socket) readNow(buf []byte) (octets []byte, more bool, err error) {
	if !s.hold() {
		return nil, false, net.ErrClosed
	}
	defer s.release()
	n, err := readFD(s.fd, buf)
	if err == unix.EAGAIN {
		return nil, false, errAgain
	}
	return buf[:max(n, 0)], n == len(buf) || s.over, err
}

func (s *socket) read() ([]byte, bool, error) { return s.readFor(s) }

// readFor waits for what w, which runs on s, has to read.
func (s *socket) readFor(w evented) ([]byte, bool, error) {
	if s.small == nil {
		s.small = new([512]byte)
	}
	for {
		octets, _, err := w.readNow(s.small[:])
		if err != error(errAgain) {
			return octets, false, err
		}
		if err := s.await(unix.POLLIN); err != nil {
			return nil, false, err
		}
	}
}

func (s *socket) write(b []byte) (int, bool, error) {
	if len(b) == 0 {
		return 0, true, nil
	}
	if !s.hold() {
		return 0, false, net.ErrClosed
	}
	defer s.release()
	n, err := writeFD(s.fd, b)
	if err == unix.EAGAIN {
		return 0, false, nil
	}
	n = max(n, 0)
	s.taken.Add(uint64(n))
	return n, n == len(b), err
}

func (s *socket) wait() error  { return s.await(unix.POLLOUT) }
func (s *socket) waits() bool  { return false }
func (s *socket) batch() int   { return 4 * bufferSize }
func (s *socket) sent() uint64 { return s.taken.Load() }

func (s *socket) closeWrite() error {
	if !s.hold() {
		return net.ErrClosed
	}
	defer s.release()
	return unix.Shutdown(s.fd, unix.SHUT_WR)
}

// SetReadDeadline bounds how long read waits. Where a loop reads, a time that
// is past has the session told as if something had come; another does nothing.
func (s *socket) SetReadDeadline(at time.Time) error {
	s.mu.Lock()
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
	left := time.Until(at)
	s.late = !at.IsZero() && left <= 0
	if left > 0 {
		s.timer = time.AfterFunc(left, func() { _ = s.SetReadDeadline(longAgo) })
	}
	late := s.late
	s.mu.Unlock()
	if late {
		s.call(true, false)
		s.loop.post(s)
	}
	return nil
}

// readFD reads without waiting; the end of input is io.EOF. The runtime is not
// told of the call, as it is of one that may wait: that would cost more than a
// short read does, and have another thread woken where this one is preempted.
func readFD(fd int, b []byte) (int, error) {
	for {
		n, _, e := syscall.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd),
			uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), unix.MSG_DONTWAIT, 0, 0)
		switch {
		case e == unix.EINTR:
		case e != 0:
			return 0, e
		case n == 0:
			return 0, io.EOF
		default:
			return int(n), nil
		}
	}
}

// writeFD writes without waiting, as readFD reads.
func writeFD(fd int, b []byte) (int, error) {
	for {
		n, _, e := syscall.RawSyscall6(unix.SYS_SENDTO, uintptr(fd),
			uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
		switch e {
		case 0:
			return int(n), nil
		case unix.EINTR:
		default:
			return 0, e
		}
	}
}
