package site

import (
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

// Ports are given away in blocks, below the ports that the system itself gives
// away. A process listens on the first port of each of its last blocks, so
// that no other process gives from them.
const (
	firstPort  = 10_000
	lastPort   = 30_000
	blockSize  = 400
	keptBlocks = 8
)

// ports gives to the whole process: a port that is given twice lets a node
// fail to start, so there is one giver.
var ports giver

type giver struct {
	mu     sync.Mutex
	guards []net.Listener // of the blocks, the present one last
	next   int            // in the present block
}

// FreeAddress is an address of 127.0.0.1 where nobody listens, with TCP or UDP,
// and which no other call has returned of late, in this process or another.
// Any goroutine may call it.
func FreeAddress() string { return local(FreePorts(1)) }

// FreePorts is the first of n such ports in a row, n at most 399.
func FreePorts(n int) (first int) {
	ports.mu.Lock()
	defer ports.mu.Unlock()
	for row := 0; row < n; row++ {
		if len(ports.guards) == 0 || ports.next == blockSize {
			ports.claim()
			row = 0
		}
		port := ports.guards[len(ports.guards)-1].Addr().(*net.TCPAddr).Port + ports.next
		ports.next++
		if row == 0 {
			first = port
		}
		if !free(local(port)) {
			row = -1
		}
	}
	return first
}

// claim takes a block that no process has.
func (g *giver) claim() {
	for {
		block := rand.IntN((lastPort - firstPort) / blockSize)
		guard, err := net.Listen("tcp", local(firstPort+block*blockSize))
		if err != nil {
			continue
		}
		g.guards, g.next = append(g.guards, guard), 1
		if len(g.guards) > keptBlocks {
			_ = g.guards[0].Close()
			g.guards = g.guards[1:]
		}
		return
	}
}

func local(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// free reports whether nobody listens there, with TCP or UDP.
func free(address string) bool {
	tcp, err := net.Listen("tcp", address)
	if err != nil {
		return false
	}
	defer tcp.Close()
	udp, err := net.ListenPacket("udp", address)
	if err != nil {
		return false
	}
	_ = udp.Close()
	return true
}
