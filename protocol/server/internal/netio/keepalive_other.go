//go:build !linux

package netio

import (
	"net"
	"time"
)

// SetKeepalive lets the kernel find out that the peer of a TCP connection has
// vanished.
func SetKeepalive(c net.Conn) error {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return nil
	}
	return tcp.SetKeepAliveConfig(net.KeepAliveConfig{
		Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 5,
	})
}
