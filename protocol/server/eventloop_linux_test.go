package server

import (
	"net"
	"runtime"
	"testing"
	"time"
)

// A connection at which nothing happens has no goroutine: a loop reads for it,
// over TCP and over TLS.
func TestIdleConnectionsHoldNoGoroutine(t *testing.T) {
	h := newHarbour(t, func(c *Config) { c.Insecure = true })
	h.dial().login("alice") // from here on the loops and the wheel run
	before := runtime.NumGoroutine()
	const each = 20
	var all []*client
	for range each {
		all = append(all, h.dial().login("alice"), h.dialTLS().login("bob"))
	}
	deadline := time.Now().Add(10 * time.Second)
	for runtime.NumGoroutine() > before+each/2 { // a login's own end soon after its answer
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines more for %d connections", runtime.NumGoroutine()-before, len(all))
		}
		runtime.Gosched()
	}
	for i, c := range all {
		c.send("p%d PING", i)
		c.expect("p%d 200", i)
	}
}

// What is posted once a loop has ended reaches nobody, least of all whoever
// has the numbers of its files by then.
func TestPostAfterTheEnd(t *testing.T) {
	var ls eventLoops
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	s, err := ls.fromTCPConn(conn.(*net.TCPConn), new(writeCoalescer))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.attach(nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	ls.stop()
	s.loop.schedule(s)
	if n := len(s.loop.scheduled); n != 0 {
		t.Errorf("%d sockets are posted to a loop that has ended", n)
	}
}

// The number of a closed connection's file is not used again by whoever still
// holds the connection.
func TestClosedSocketIsNotUsed(t *testing.T) {
	h := newHarbour(t, func(c *Config) { c.Insecure = true })
	c := h.dial()
	c.login("alice")
	var sock *socket
	for _, x := range h.server.allSessions() {
		sock = x.conn.(*socket)
	}
	if err := sock.Close(); err != nil {
		t.Fatal(err)
	}
	c.expectEnd()
	for name, use := range map[string]func() error{
		"write":      func() error { _, _, err := sock.write([]byte("x")); return err },
		"read":       func() error { _, _, err := sock.readNow(make([]byte, 1)); return err },
		"wait":       sock.waitWritable,
		"closeWrite": sock.closeWrite,
		"Close":      sock.Close,
	} {
		if err := use(); err != net.ErrClosed {
			t.Errorf("%s: %v", name, err)
		}
	}
}
