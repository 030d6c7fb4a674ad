package netio

import (
	"errors"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// socketListener accepts connections from a TCP listener as sockets for the
// event loop. Making a net.Conn of each would cost about a dozen system calls
// that the event loop repeats anyway. Socket options are set once, on the
// listening socket, and inherited by accepted ones.
type socketListener struct {
	net.Listener
	file *os.File // a duplicate of the listener's descriptor
}

// NewListener returns a listener whose connections are accepted for the event
// loops, so that they have no NetConn, if that is possible; and otherwise l.
func NewListener(l net.Listener) net.Listener {
	tcp, ok := l.(*net.TCPListener)
	if !ok {
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
func (l *socketListener) Close() error { return errors.Join(l.file.Close(), l.Listener.Close()) }

// acceptAll accepts connections until the listener is closed.
func (l *socketListener) acceptAll(n *Network, a Acceptor) error {
	raw, err := l.file.SyscallConn()
	if err != nil {
		return net.ErrClosed
	}
	pause := minAcceptBackoff
	early := true // those that wait may have come before the options were set
	for {
		var some int
		var failed error
		err := raw.Read(func(fd uintptr) bool {
			some, failed = n.acceptPending(int(fd), a, early)
			early = early && failed != nil
			return failed != nil
		})
		if err != nil {
			return net.ErrClosed
		}
		if some > 0 {
			pause = minAcceptBackoff
		}
		if !a.OnAcceptFailed(failed, pause) {
			return failed
		}
		pause = min(2*pause, maxAcceptBackoff)
	}
}

// acceptPending accepts the pending connections. Those accepted early may
// lack the listener's options. The error is nil when there are no more.
func (n *Network) acceptPending(listener int, a Acceptor, early bool) (some int, err error) {
	for {
		fd, remote, err := acceptFD(listener)
		switch err {
		case nil:
			some++
			if early {
				_ = setKeepaliveFD(fd) // fails where the connection is gone
			}
			a.OnAccepted(Accepted{Remote: remote, network: n, fd: fd})
		case unix.EAGAIN:
			return some, nil
		case unix.EINTR, unix.ECONNABORTED:
		default:
			return some, os.NewSyscallError("accept4", err)
		}
	}
}

// newStream returns the stream of a socket, or closes it.
func (ls *eventLoops) newStream(fd int, g *coalescer) (Stream, error) {
	l, err := ls.pick(g)
	if err != nil {
		_ = unix.Close(fd)
		return Stream{}, err
	}
	sock := &socket{loop: l, fd: fd}
	return Stream{sock, sock}, nil
}

func rejectFD(fd int, octets []byte) {
	if len(octets) > 0 {
		_, _ = writeFD(fd, octets) // the client may be gone
	}
	_ = unix.Close(fd)
}
