package netio

import (
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// A peer that has vanished is found by probes while nothing is sent, and by
// what stays unacknowledged while something is: within 45 s either way.
const (
	probeAfter  = 15 * time.Second
	probeEvery  = 5 * time.Second
	probes      = 4
	unackedTime = 30 * time.Second
)

// SetKeepalive makes the kernel detect that the peer of a TCP connection has
// vanished.
func SetKeepalive(c net.Conn) error {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return err
	}
	var watch error
	if err := raw.Control(func(fd uintptr) { watch = setKeepaliveFD(int(fd)) }); err != nil {
		return err
	}
	return watch
}

// setKeepaliveFD makes the kernel detect that the peer of a TCP connection
// has vanished, and send written data at once.
func setKeepaliveFD(fd int) error {
	for _, o := range []struct{ level, option, value int }{
		{unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
		{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, int(probeAfter / time.Second)},
		{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, int(probeEvery / time.Second)},
		{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, probes},
		{unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(unackedTime / time.Millisecond)},
	} {
		if err := unix.SetsockoptInt(fd, o.level, o.option, o.value); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	return nil
}
