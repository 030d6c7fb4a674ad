package netio

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// syscalls are the system calls with the trick, or without.
type syscalls struct {
	read, write func(fd int, b []byte) (int, error)
	epollWait   func(epoll int, events []unix.EpollEvent) int
	accept      func(listener int) (int, netip.AddrPort, error)
}

var bothSyscalls = map[string]syscalls{
	"raw":   {rawRead, rawWrite, rawEpollWait, rawAccept},
	"plain": {plainRead, plainWrite, plainEpollWait, plainAccept},
}

// descriptor returns a duplicate of a listener's descriptor, non-blocking.
func descriptor(t testing.TB, l net.Listener) int {
	t.Helper()
	file, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	fd := int(file.Fd())
	if err := unix.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
	return fd
}

// acceptedPair returns a client, and the descriptor of the server's end.
func acceptedPair(t testing.TB, calls syscalls) (client *net.TCPConn, fd int) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if fd, _, err = calls.accept(descriptor(t, l)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	return c.(*net.TCPConn), fd
}

// An address is what the kernel wrote.
func TestAddressOfTheKernel(t *testing.T) {
	for name, calls := range bothSyscalls {
		for _, want := range []string{"127.0.0.1:0", "[::1]:0"} {
			l, err := net.Listen("tcp", want)
			if err != nil {
				t.Logf("%s: %v", want, err) // no IPv6 here
				continue
			}
			t.Cleanup(func() { _ = l.Close() })
			c, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = c.Close() })
			listener := descriptor(t, l)
			fd, got, err := calls.accept(listener)
			if err != nil {
				t.Fatal(err)
			}
			_ = unix.Close(fd)
			if got != AddrPort(c.LocalAddr()) {
				t.Errorf("%s: %v became %v", name, c.LocalAddr(), got)
			}
			if _, _, err := calls.accept(listener); err != unix.EAGAIN {
				t.Errorf("%s: without a connection accept returned %v", name, err)
			}
		}
	}
}

// With the trick and without, the calls say the same: what there is, that
// there is nothing, the end of input, and that nobody reads any more.
func TestSyscallsSayTheSame(t *testing.T) {
	for name, calls := range bothSyscalls {
		t.Run(name, func(t *testing.T) {
			client, fd := acceptedPair(t, calls)
			epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(epoll)
			if err := unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET}); err != nil {
				t.Fatal(err)
			}
			events := make([]unix.EpollEvent, 4)
			if n := calls.epollWait(epoll, events); n != 0 {
				t.Errorf("%d events before anything happened", n)
			}
			buf := make([]byte, 10)
			if n, err := calls.read(fd, buf); n != 0 || err != unix.EAGAIN {
				t.Errorf("nothing is %d octets and %v", n, err)
			}
			if _, err := client.Write([]byte("hello")); err != nil {
				t.Fatal(err)
			}
			if n := calls.epollWait(epoll, events); n != 1 || events[0].Events != unix.EPOLLIN {
				t.Errorf("%d events, the first %#x", n, events[0].Events)
			}
			if n, err := calls.read(fd, buf); string(buf[:n]) != "hello" || err != nil {
				t.Errorf("read %q and %v", buf[:n], err)
			}
			checkWrites(t, calls, client, fd)
		})
	}
}

// checkWrites writes until the kernel takes no more, and after the client is
// gone.
func checkWrites(t *testing.T, calls syscalls, client *net.TCPConn, fd int) {
	t.Helper()
	if err := client.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if n, err := calls.read(fd, make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("the end is %d octets and %v", n, err)
	}
	written, big := 0, make([]byte, 1<<20)
	for {
		n, err := calls.write(fd, big)
		if written += n; err == unix.EAGAIN {
			break
		}
		if err != nil || written > 1<<30 {
			t.Fatalf("%d octets were written: %v", written, err)
		}
	}
	if got, err := io.ReadFull(client, make([]byte, written)); err != nil {
		t.Errorf("%d of %d octets arrived: %v", got, written, err)
	}
	if err := unix.Shutdown(fd, unix.SHUT_WR); err != nil {
		t.Fatal(err)
	}
	if _, err := calls.write(fd, big[:1]); !errors.Is(err, os.ErrClosed) && err != unix.EPIPE {
		t.Errorf("after the end: %v", err)
	}
}

// BenchmarkSyscalls compares the calls with the trick and without: reading when
// there is nothing, a short write and its reading, and waiting.
func BenchmarkSyscalls(b *testing.B) {
	for name, calls := range bothSyscalls {
		_, fd := acceptedPair(b, calls)
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _, _ = unix.Close(pair[0]), unix.Close(pair[1]) })
		epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = unix.Close(epoll) })
		buf, events := make([]byte, 512), make([]unix.EpollEvent, 8)
		b.Run("empty read/"+name, func(b *testing.B) {
			for b.Loop() {
				_, _ = calls.read(fd, buf)
			}
		})
		b.Run("write and read/"+name, func(b *testing.B) {
			for b.Loop() {
				_, _ = calls.write(pair[0], buf[:100])
				_, _ = calls.read(pair[1], buf)
			}
		})
		b.Run("wait/"+name, func(b *testing.B) {
			for b.Loop() {
				calls.epollWait(epoll, events)
			}
		})
	}
}
