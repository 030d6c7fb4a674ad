package server

import (
	"net"
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

// watchPeer lets the kernel find out that the peer of a TCP connection has
// vanished.
func watchPeer(c net.Conn) error {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return nil
	}
	keepAlive := net.KeepAliveConfig{Enable: true, Idle: probeAfter, Interval: probeEvery, Count: probes}
	if err := tcp.SetKeepAliveConfig(keepAlive); err != nil {
		return err
	}
	raw, err := tcp.SyscallConn()
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
