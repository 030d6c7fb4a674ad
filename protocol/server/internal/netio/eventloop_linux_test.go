package netio

import (
	"net"
	"testing"
)

// newTestSocket returns a socket of a loop of ls, whose peer is open until the
// test ends.
func newTestSocket(t *testing.T, ls *eventLoops) *socket {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	s, err := ls.fromTCPConn(conn.(*net.TCPConn), new(coalescer))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.attach(nil); err != nil {
		t.Fatal(err)
	}
	return s
}

// What is posted once a loop has ended reaches nobody, least of all whoever
// has the numbers of its files by then.
func TestPostAfterTheEnd(t *testing.T) {
	var ls eventLoops
	s := newTestSocket(t, &ls)
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
	var ls eventLoops
	sock := newTestSocket(t, &ls)
	defer ls.stop()
	if err := sock.Close(); err != nil {
		t.Fatal(err)
	}
	for name, use := range map[string]func() error{
		"write":      func() error { _, _, err := sock.Write([]byte("x")); return err },
		"read":       func() error { _, _, err := sock.readNow(make([]byte, 1)); return err },
		"wait":       sock.WaitWritable,
		"closeWrite": sock.CloseWrite,
		"Close":      sock.Close,
	} {
		if err := use(); err != net.ErrClosed {
			t.Errorf("%s: %v", name, err)
		}
	}
}
