//go:build unix

package main

import (
	"net"

	"golang.org/x/sys/unix"
)

// longestBacklog is a backlog that the kernel cuts to its own limit, net.core.somaxconn.
const longestBacklog = 1<<16 - 1

// raiseBacklog has as many connections wait to be accepted as the kernel lets.
// The net package asks /proc for that limit, and takes 128 where it can't see it,
// as in a service of systemd with ProcSubset=pid. The one listener that does not
// come through here is that of gossip, which memberlist opens and keeps to
// itself. 128 are enough for it: each node connects once in 30 s, and when a
// probe by UDP has failed, and memberlist accepts without a wait.
func raiseBacklog(l net.Listener) error {
	tcp, ok := l.(*net.TCPListener)
	if !ok {
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = unix.Listen(int(fd), longestBacklog) }); err != nil {
		return err
	}
	return failed
}
