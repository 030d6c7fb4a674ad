//go:build !linux

package server

import (
	"net"
	"time"
)

// watchPeer lets the kernel find out that the peer of a TCP connection has
// vanished.
func watchPeer(c net.Conn) error {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return nil
	}
	return tcp.SetKeepAliveConfig(net.KeepAliveConfig{
		Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 5,
	})
}
