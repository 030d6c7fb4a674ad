package client

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// limitUnacknowledged has the kernel give up after 45 s without an
// acknowledgement for what was sent; keepalive alone waits while data is out.
func limitUnacknowledged(_, _ string, c syscall.RawConn) error {
	var failed error
	err := c.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 45_000)
	})
	if err != nil {
		return err
	}
	return failed
}
