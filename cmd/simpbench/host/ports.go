//go:build linux

package host

import (
	"fmt"
	"net"
	"os"
)

// Ports finds n ports of 127.0.0.1 that are free for TCP and UDP, each with a
// free one after it. They lie below those that the kernel gives to clients.
func Ports(n int) ([]int, error) {
	const low, high = 20000, 32000
	var free []int
	// Where to begin depends on the process, so that two runs differ.
	port := low + os.Getpid()*64%(high-low)
	for range (high - low) / 2 {
		if port += 2; port >= high {
			port = low
		}
		if isFree(port) && isFree(port+1) {
			free = append(free, port)
		}
		if len(free) == n {
			return free, nil
		}
	}
	return nil, fmt.Errorf("%d free ports between %d and %d: only %d found", n, low, high, len(free))
}

func isFree(port int) bool {
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	t, err := net.Listen("tcp4", addr)
	if err != nil {
		return false
	}
	defer t.Close()
	u, err := net.ListenPacket("udp4", addr)
	if err != nil {
		return false
	}
	return u.Close() == nil
}
