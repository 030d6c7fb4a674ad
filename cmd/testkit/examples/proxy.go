package main

import (
	"io"
	"net"
	"sync"
)

// proxy passes connections on to an address until they are cut. Its methods may
// be called from any goroutine.
type proxy struct {
	listener net.Listener
	to       string

	mu    sync.Mutex
	conns map[net.Conn]bool
	wg    sync.WaitGroup
}

// newProxy returns a proxy that listens on this machine.
func newProxy(to string) (*proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &proxy{listener: l, to: to, conns: map[net.Conn]bool{}}
	p.wg.Go(p.serve)
	return p, nil
}

func (p *proxy) address() string { return p.listener.Addr().String() }

func (p *proxy) serve() {
	for {
		from, err := p.listener.Accept()
		if err != nil {
			return
		}
		to, err := net.Dial("tcp", p.to)
		if err != nil {
			_ = from.Close()
			continue
		}
		p.pass(from, to)
	}
}

// pass copies in both directions until either ends.
func (p *proxy) pass(a, b net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns[a], p.conns[b] = true, true
	for from, to := range map[net.Conn]net.Conn{a: b, b: a} {
		p.wg.Go(func() {
			_, _ = io.Copy(to, from) // ends with the connection
			p.mu.Lock()
			defer p.mu.Unlock()
			for _, c := range []net.Conn{from, to} {
				_ = c.Close()
				delete(p.conns, c)
			}
		})
	}
}

// cut ends all connections without a word. There may be new ones.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		_ = c.Close()
	}
}

// close ends the proxy.
func (p *proxy) close() {
	_ = p.listener.Close()
	p.cut()
	p.wg.Wait()
}
