package link

import (
	"context"
	"errors"
	"syscall"
	"time"
)

// dialStagger is how long an address is tried before the next one is as well.
const dialStagger = 150 * time.Millisecond

// dialed is what came of one attempt.
type dialed struct {
	conn *peerConn
	err  error
}

// dial connects to a node at one of the addresses where it may be, else at
// addr. Whoever answers there has proved to have the node's keys; so an address
// that gossip has wrong costs time, and keeps nobody from being reached.
func (l *Link) dial(ctx context.Context, node, addr, protocol string) (*peerConn, error) {
	p := l.peers.find(node)
	addrs := []string{addr}
	if p != nil && len(p.addrs()) > 0 {
		addrs = p.addrs()
	}
	if addrs[0] == "" {
		return nil, errNoAddress
	}
	d := l.dialFirst(ctx, node, addrs, protocol)
	return d.conn, d.err
}

// dialFirst tries addresses in their order, each a little after the one before
// or when that has failed, and returns the first connection.
func (l *Link) dialFirst(ctx context.Context, node string, addrs []string, protocol string) dialed {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan dialed, len(addrs))
	next := make(chan struct{}, len(addrs))
	var failed dialed
	for begun, ended := 0, 0; ; {
		if begun < len(addrs) {
			go func(addr string) {
				conn, err := l.mux.dial(ctx, node, addr, protocol)
				results <- dialed{conn, err}
			}(addrs[begun])
			begun++
			if begun < len(addrs) {
				defer time.AfterFunc(dialStagger, func() { next <- struct{}{} }).Stop()
			}
		}
		select {
		case <-next:
		case d := <-results:
			ended++
			if d.err == nil {
				go closeLate(results, begun-ended)
				return d
			}
			if failed.err == nil || !errors.Is(d.err, syscall.ECONNREFUSED) {
				failed = d
			}
			if ended == len(addrs) {
				return failed
			}
		}
	}
}

// closeLate closes the connections that were not the first.
func closeLate(results <-chan dialed, n int) {
	for range n {
		if d := <-results; d.err == nil {
			d.conn.Close()
		}
	}
}
