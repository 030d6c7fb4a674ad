//go:build !linux

package server

import (
	"net"
	"time"
)

// setKeepalive lets the kernel find out that the peer of a TCP connection has
// vanished.
func setKeepalive(c net.Conn) error {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return nil
	}
	return tcp.SetKeepAliveConfig(net.KeepAliveConfig{
		Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 5,
	})
}
