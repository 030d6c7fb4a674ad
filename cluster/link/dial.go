package link

import (
	"context"
	"errors"
	"syscall"
	"time"
)

// dialStagger is the time after which the next address is tried as well.
const dialStagger = 150 * time.Millisecond

// dialResult is the result of one connection attempt.
type dialResult struct {
	conn *peerConn
	err  error
}

// dial connects to a node at one of the addresses where it may be, or
// otherwise at addr. The handshake proves that the node's keys are there, so
// a wrong address from gossip costs time but does not prevent the connection.
func (l *Link) dial(ctx context.Context, node, addr, protocol string) (*peerConn, error) {
	p := l.peers.get(node)
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

// dialFirst tries addresses in order, each dialStagger after the previous one
// or when that has failed, and returns the first connection.
func (l *Link) dialFirst(ctx context.Context, node string, addrs []string, protocol string) dialResult {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan dialResult, len(addrs))
	next := make(chan struct{}, len(addrs))
	var failed dialResult
	for begun, ended := 0, 0; ; {
		if begun < len(addrs) {
			go func(addr string) {
				conn, err := l.mux.dial(ctx, node, addr, protocol)
				results <- dialResult{conn, err}
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

// closeLate closes the connections that were established after the first.
func closeLate(results <-chan dialResult, n int) {
	for range n {
		if d := <-results; d.err == nil {
			d.conn.Close()
		}
	}
}
