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

// acceptor takes connections from a TCP listener as sockets, which is all
// that a loop wants of them: to make a net.Conn of each would cost a dozen
// calls of the kernel that the loop's own repeat. What the kernel is to do for
// a connection is said once, to the listening socket: those that it accepts
// begin with the same options.
type acceptor struct {
	net.Listener
	file *os.File // the listener's, once more
}

// accepting returns l as an acceptor where it can be one, else as it is.
func (s *Server) accepting(l net.Listener) net.Listener {
	tcp, ok := l.(*net.TCPListener)
	if !ok || len(s.config.Balancers) > 0 { // whose header is read before a loop has the connection
		return l
	}
	file, err := tcp.File()
	if err != nil {
		return l
	}
	raw, err := file.SyscallConn()
	if err == nil {
		var watch error
		err = errors.Join(raw.Control(func(fd uintptr) { watch = watchSocket(int(fd)) }), watch)
	}
	if err != nil { // a multipath socket has no such options
		_ = file.Close()
		return l
	}
	return &acceptor{l, file}
}

// Close ends the accepting.
func (a *acceptor) Close() error { return errors.Join(a.file.Close(), a.Listener.Close()) }

// acceptAll takes connections until the listener is closed.
func (a *acceptor) acceptAll(s *Server, t protocol.Transport) error {
	raw, err := a.file.SyscallConn()
	if err != nil {
		return net.ErrClosed
	}
	pause := firstPause
	early := true // those that wait may have come before the options were said
	for {
		var some int
		var failed error
		err := raw.Read(func(fd uintptr) bool {
			some, failed = s.acceptSome(int(fd), t, early)
			early = early && failed != nil
			return failed != nil
		})
		switch {
		case s.isStopped():
			return ErrClosed
		case err != nil:
			return net.ErrClosed
		case some > 0:
			pause = firstPause
		}
		s.pauseAccepting(failed, pause)
		pause = min(2*pause, longestPause)
	}
}

// acceptSome takes the connections that wait; early ones may lack the
// listener's options. The error is nil once there are none.
func (s *Server) acceptSome(listener int, t protocol.Transport, early bool) (some int, err error) {
	for {
		fd, remote, err := acceptFD(listener)
		switch err {
		case nil:
			some++
			if early {
				_ = watchSocket(fd) // fails where the connection is gone
			}
			s.metrics.Accepted.Add(1)
			s.takeSocket(fd, remote, t)
		case unix.EAGAIN:
			return some, nil
		case unix.EINTR, unix.ECONNABORTED:
		default:
			return some, os.NewSyscallError("accept4", err)
		}
	}
}

// takeSocket makes a session of a socket, or turns it away.
func (s *Server) takeSocket(fd int, remote netip.AddrPort, t protocol.Transport) {
	a, refusal := s.admission.admit(remote)
	if refusal != "" {
		s.metrics.Turned.Add(1)
		if t == protocol.PlainTCP {
			_, _ = writeFD(fd, turnedAway(refusal)) // the client may be gone
		}
		_ = unix.Close(fd)
		return
	}
	l, err := s.loops.pick(&s.gather)
	if err != nil {
		a.leave()
		_ = unix.Close(fd)
		return
	}
	sock := &socket{loop: l, fd: fd}
	s.hold(sock, sock, remote, a, t)
}

// acceptFD takes a connection, without waiting; EAGAIN: there is none.
func acceptFD(listener int) (fd int, remote netip.AddrPort, err error) {
	var from unix.RawSockaddrAny
	size := uint32(unix.SizeofSockaddrAny)
	n, _, e := syscall.RawSyscall6(unix.SYS_ACCEPT4, uintptr(listener), uintptr(unsafe.Pointer(&from)),
		uintptr(unsafe.Pointer(&size)), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
	if e != 0 {
		return -1, netip.AddrPort{}, e
	}
	return int(n), addrPortOf(&from), nil
}

// addrPortOf reads an address of IPv4 or IPv6 as the kernel writes it; any other is none.
func addrPortOf(from *unix.RawSockaddrAny) netip.AddrPort {
	switch from.Addr.Family {
	case unix.AF_INET:
		a := (*unix.RawSockaddrInet4)(unsafe.Pointer(from))
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), port(a.Port))
	case unix.AF_INET6:
		a := (*unix.RawSockaddrInet6)(unsafe.Pointer(from))
		ip := netip.AddrFrom16(a.Addr)
		if a.Scope_id != 0 {
			ip = ip.WithZone(strconv.FormatUint(uint64(a.Scope_id), 10))
		}
		return netip.AddrPortFrom(ip, port(a.Port))
	}
	return netip.AddrPort{}
}

// port reads a number in the order of the network.
func port(n uint16) uint16 {
	octets := (*[2]byte)(unsafe.Pointer(&n))
	return uint16(octets[0])<<8 | uint16(octets[1])
}
