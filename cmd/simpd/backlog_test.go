//go:build linux

package main

import (
	"net"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// withSocket calls f with the descriptor of a listener.
func withSocket(t *testing.T, l net.Listener, f func(fd int) error) {
	t.Helper()
	raw, err := l.(*net.TCPListener).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = f(int(fd)) }); err != nil || failed != nil {
		t.Fatal(err, failed)
	}
}

// backlog returns how many connections may wait to be accepted.
func backlog(t *testing.T, l net.Listener) (longest int) {
	t.Helper()
	withSocket(t, l, func(fd int) error {
		info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		if err == nil {
			longest = int(info.Sacked) // which is that of a listening socket
		}
		return err
	})
	return longest
}

// TestBacklog: as many connections may wait as the kernel lets, also where the
// net package can't see how many these are.
func TestBacklog(t *testing.T) {
	limit, err := os.ReadFile("/proc/sys/net/core/somaxconn")
	if err != nil {
		t.Fatal(err)
	}
	want, err := strconv.Atoi(strings.TrimSpace(string(limit)))
	if err != nil {
		t.Fatal(err)
	}
	l, err := listenTCP(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if got := backlog(t, l); got != want {
		t.Errorf("%d connections may wait, and not %d", got, want)
	}
	withSocket(t, l, func(fd int) error { return unix.Listen(fd, 7) })
	if got := backlog(t, l); got != 7 {
		t.Fatalf("%d connections may wait, and not 7: TCP_INFO does not say it", got)
	}
	if err := raiseBacklog(l); err != nil {
		t.Fatal(err)
	}
	if got := backlog(t, l); got != want {
		t.Errorf("once raised, %d connections may wait, and not %d", got, want)
	}
}
