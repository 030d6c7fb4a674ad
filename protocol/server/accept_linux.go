package server

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"simpd/protocol"
)

// socketListener accepts connections from a TCP listener as sockets for the
// event loop. Making a net.Conn of each would cost about a dozen system calls
// that the event loop repeats anyway. Socket options are set once, on the
// listening socket, and inherited by accepted ones.
type socketListener struct {
	net.Listener
	file *os.File // a duplicate of the listener's descriptor
}

// newSocketListener returns l as a socketListener if possible, and otherwise
// l.
func (s *Server) newSocketListener(l net.Listener) net.Listener {
	tcp, ok := l.(*net.TCPListener)
	if !ok || len(s.config.Balancers) > 0 { // their header is read before the event loop takes over
		return l
	}
	file, err := tcp.File()
	if err != nil {
		return l
	}
	raw, err := file.SyscallConn()
	if err == nil {
		var watch error
		err = errors.Join(raw.Control(func(fd uintptr) { watch = setKeepaliveFD(int(fd)) }), watch)
	}
	if err != nil { // a multipath socket has no such options
		_ = file.Close()
		return l
	}
	return &socketListener{l, file}
}

// Close stops accepting.
func (a *socketListener) Close() error { return errors.Join(a.file.Close(), a.Listener.Close()) }

// acceptLoop accepts connections until the listener is closed.
func (a *socketListener) acceptLoop(s *Server, t protocol.Transport) error {
	raw, err := a.file.SyscallConn()
	if err != nil {
		return net.ErrClosed
	}
	pause := minAcceptBackoff
	early := true // those that wait may have come before the options were said
	for {
		var some int
		var failed error
		err := raw.Read(func(fd uintptr) bool {
			some, failed = s.acceptPending(int(fd), t, early)
			early = early && failed != nil
			return failed != nil
		})
		switch {
		case s.isStopped():
			return ErrClosed
		case err != nil:
			return net.ErrClosed
		case some > 0:
			pause = minAcceptBackoff
		}
		s.backoffAccept(failed, pause)
		pause = min(2*pause, maxAcceptBackoff)
	}
}

// acceptPending accepts the pending connections. Those accepted early may
// lack the listener's options. The error is nil when there are no more.
func (s *Server) acceptPending(listener int, t protocol.Transport, early bool) (some int, err error) {
	for {
		fd, remote, err := acceptFD(listener)
		switch err {
		case nil:
			some++
			if early {
				_ = setKeepaliveFD(fd) // fails where the connection is gone
			}
			s.metrics.Accepted.Add(1)
			s.admitSocket(fd, remote, t)
		case unix.EAGAIN:
			return some, nil
		case unix.EINTR, unix.ECONNABORTED:
		default:
			return some, os.NewSyscallError("accept4", err)
		}
	}
}

// admitSocket starts a session on a socket, or rejects it.
func (s *Server) admitSocket(fd int, remote netip.AddrPort, t protocol.Transport) {
	a, refusal := s.connLimiter.acquire(remote)
	if refusal != "" {
		s.metrics.Rejected.Add(1)
		if t == protocol.PlainTCP {
			_, _ = writeFD(fd, rejectLine(refusal)) // the client may be gone
		}
		_ = unix.Close(fd)
		return
	}
	l, err := s.loops.pick(&s.coalescer)
	if err != nil {
		a.release()
		_ = unix.Close(fd)
		return
	}
	sock := &socket{loop: l, fd: fd}
	s.beginSession(sock, sock, remote, a, t)
}

// acceptFD accepts a connection without blocking; EAGAIN means that there is
// none.
func acceptFD(listener int) (fd int, remote netip.AddrPort, err error) {
	var from unix.RawSockaddrAny
	size := uint32(unix.SizeofSockaddrAny)
	n, _, e := syscall.RawSyscall6(unix.SYS_ACCEPT4, uintptr(listener), uintptr(unsafe.Pointer(&from)),
		uintptr(unsafe.Pointer(&size)), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
	if e != 0 {
		return -1, netip.AddrPort{}, e
	}
	return int(n), parseSockaddr(&from), nil
}

// parseSockaddr converts an IPv4 or IPv6 address of the kernel; any other
// becomes the zero AddrPort.
func parseSockaddr(from *unix.RawSockaddrAny) netip.AddrPort {
	switch from.Addr.Family {
	case unix.AF_INET:
		a := (*unix.RawSockaddrInet4)(unsafe.Pointer(from))
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), ntohs(a.Port))
	case unix.AF_INET6:
		a := (*unix.RawSockaddrInet6)(unsafe.Pointer(from))
		ip := netip.AddrFrom16(a.Addr)
		if a.Scope_id != 0 {
			ip = ip.WithZone(strconv.FormatUint(uint64(a.Scope_id), 10))
		}
		return netip.AddrPortFrom(ip, ntohs(a.Port))
	}
	return netip.AddrPort{}
}

// ntohs converts a number from network byte order.
func ntohs(n uint16) uint16 {
	octets := (*[2]byte)(unsafe.Pointer(&n))
	return uint16(octets[0])<<8 | uint16(octets[1])
}
