package server

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// isWritable tells whether a write would go on, or fail, at once. It asks
// the kernel: readiness that the runtime saw earlier is forgotten when a
// wait begins.
func isWritable(fd uintptr) bool {
	ask := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
	n, err := unix.Poll(ask, 0)
	return err == unix.EINTR || n > 0
}

// A peer that has vanished is found by probes while nothing is sent, and by
// what stays unacknowledged while something is: within 40 s either way.
const (
	probeAfter  = 15 * time.Second
	probeEvery  = 5 * time.Second
	probes      = 5
	unackedTime = 30 * time.Second
)

// watchPeer lets the kernel find out that c's peer has vanished.
func watchPeer(c *net.TCPConn) error {
	keepAlive := net.KeepAliveConfig{Enable: true, Idle: probeAfter, Interval: probeEvery, Count: probes}
	if err := c.SetKeepAliveConfig(keepAlive); err != nil {
		return err
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var set error
	err = raw.Control(func(fd uintptr) {
		set = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(unackedTime/time.Millisecond))
	})
	if err != nil {
		return err
	}
	return set
}
