package server

import (
	"io"
	"net"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// socket is the wire of a plain TCP connection. While nothing is to be read
// its goroutine waits without any buffer, and a write takes what the kernel
// takes at once.
type socket struct {
	tcp *net.TCPConn
	raw syscall.RawConn

	// Of the goroutine that reads.
	got      *buffer
	readErr  error
	readable func(fd uintptr) bool

	// Of the goroutine that writes.
	out      []byte
	wrote    int
	writeErr error
	writable func(fd uintptr) bool

	taken atomic.Uint64
}

func newSocket(tcp *net.TCPConn) (*socket, error) {
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil, err
	}
	s := &socket{tcp: tcp, raw: raw}
	s.readable, s.writable = s.fill, s.drain
	return s, nil
}

func (s *socket) read() ([]byte, bool, error) {
	if s.got != nil {
		s.got.free()
		s.got = nil
	}
	if err := s.raw.Read(s.readable); err != nil {
		return nil, false, err
	}
	if s.readErr != nil {
		return nil, false, s.readErr
	}
	return s.got.octets, false, nil
}

// fill reads into a buffer of the pool, or gives it back and waits.
func (s *socket) fill(fd uintptr) bool {
	b := newBuffer()
	n, err := readFD(fd, b.octets[:cap(b.octets)])
	if err == syscall.EAGAIN {
		b.free()
		return false
	}
	if err != nil {
		b.free()
		s.readErr = err
		return true
	}
	b.octets = b.octets[:n]
	s.got = b
	return true
}

func (s *socket) write(b []byte) (int, bool, error) {
	if len(b) == 0 {
		return 0, true, nil
	}
	s.out, s.wrote, s.writeErr = b, 0, nil
	err := s.raw.Write(s.writable)
	if err == nil {
		err = s.writeErr
	}
	s.out = nil
	s.taken.Add(uint64(s.wrote))
	return s.wrote, s.wrote == len(b), err
}

// drain writes once, and does not wait.
func (s *socket) drain(fd uintptr) bool {
	n, err := writeFD(fd, s.out)
	if err != nil && err != syscall.EAGAIN {
		s.writeErr = err
	}
	s.wrote = max(n, 0)
	return true
}

func (s *socket) wait() error  { return s.raw.Write(isWritable) }
func (s *socket) waits() bool  { return false }
func (s *socket) batch() int   { return 4 * bufferSize }
func (s *socket) sent() uint64 { return s.taken.Load() }

func (s *socket) closeWrite() error { return s.tcp.CloseWrite() }

// readFD reads without waiting; the end of input is io.EOF.
func readFD(fd uintptr, b []byte) (int, error) {
	for {
		n, err := syscall.Read(int(fd), b)
		if err == syscall.EINTR {
			continue
		}
		if n == 0 && err == nil {
			return 0, io.EOF
		}
		return n, err
	}
}

// writeFD writes without waiting.
func writeFD(fd uintptr, b []byte) (int, error) {
	for {
		n, err := syscall.Write(int(fd), b)
		if err != syscall.EINTR {
			return n, err
		}
	}
}

// isWritable tells whether a write would go on, or fail, at once. It asks
// the kernel: readiness that the runtime saw earlier is forgotten when a
// wait begins.
func isWritable(fd uintptr) bool {
	ask := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
	n, err := unix.Poll(ask, 0)
	return err == unix.EINTR || n > 0
}
