package netio

import (
	"io"
	"net/netip"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// usesRawSyscalls is where the trick of rawsyscall_linux.go is measured and
// tested. Elsewhere the plain functions of this file are used.
const usesRawSyscalls = runtime.GOARCH == "amd64" || runtime.GOARCH == "arm64"

// readFD reads without blocking; the end of input is io.EOF.
func readFD(fd int, b []byte) (int, error) {
	if usesRawSyscalls {
		return rawRead(fd, b)
	}
	return plainRead(fd, b)
}

// writeFD writes without blocking.
func writeFD(fd int, b []byte) (int, error) {
	if usesRawSyscalls {
		return rawWrite(fd, b)
	}
	return plainWrite(fd, b)
}

// epollWait returns the number of pending events without blocking.
func epollWait(epoll int, events []unix.EpollEvent) int {
	if usesRawSyscalls {
		return rawEpollWait(epoll, events)
	}
	return plainEpollWait(epoll, events)
}

// acceptFD accepts a connection without blocking; EAGAIN means that there is
// none.
func acceptFD(listener int) (fd int, remote netip.AddrPort, err error) {
	if usesRawSyscalls {
		return rawAccept(listener)
	}
	return plainAccept(listener)
}

// plainRead is readFD without the trick. fd must be non-blocking.
func plainRead(fd int, b []byte) (int, error) {
	for {
		n, err := unix.Read(fd, b)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return 0, err
		case n == 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

func plainWrite(fd int, b []byte) (int, error) {
	for {
		n, err := unix.SendmsgN(fd, b, nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		switch err {
		case nil:
			return n, nil
		case unix.EINTR:
		default:
			return 0, err
		}
	}
}

func plainEpollWait(epoll int, events []unix.EpollEvent) int {
	n, err := unix.EpollWait(epoll, events, 0)
	if err != nil {
		return 0 // it was interrupted; the runtime's poller still has the news
	}
	return n
}

func plainAccept(listener int) (fd int, remote netip.AddrPort, err error) {
	fd, from, err := unix.Accept4(listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
	if err != nil {
		return -1, netip.AddrPort{}, err
	}
	switch a := from.(type) {
	case *unix.SockaddrInet4:
		remote = netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *unix.SockaddrInet6:
		remote = netip.AddrPortFrom(withZone(netip.AddrFrom16(a.Addr), a.ZoneId), uint16(a.Port))
	}
	return fd, remote, nil
}

// withZone returns an address of IPv6 with its zone, if it has one.
func withZone(a netip.Addr, zone uint32) netip.Addr {
	if zone == 0 {
		return a
	}
	return a.WithZone(strconv.FormatUint(uint64(zone), 10))
}
