package relay

import (
	"bufio"
	"errors"
	"net"
	"testing"
)

// client is one end of a connection to the relay, read frame by frame.
type client struct {
	net.Conn
	r *bufio.Reader
	t *testing.T
}

func start(t *testing.T) (dial func(name string) *client) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- New().Serve(l) }()
	t.Cleanup(func() {
		l.Close()
		if err := <-ended; !errors.Is(err, net.ErrClosed) {
			t.Errorf("Serve: %v", err)
		}
	})
	return func(name string) *client { return dialAs(t, l.Addr().String(), name) }
}

func dialAs(t *testing.T, addr, name string) *client {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	d := &client{Conn: c, r: bufio.NewReader(c), t: t}
	d.send(Login, name, "")
	d.want(Login, "", "")
	return d
}

func (c *client) send(k Kind, name, body string) {
	c.t.Helper()
	if _, err := c.Write(Append(nil, k, name, []byte(body))); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) want(k Kind, name, body string) {
	c.t.Helper()
	b, err := readFrame(c.r, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	f, n, err := Scan(b)
	if err != nil || n != len(b) {
		c.t.Fatalf("Scan: %d of %d octets, %v", n, len(b), err)
	}
	if f.Kind != k || string(f.Name) != name || string(f.Body) != body {
		c.t.Fatalf("got %c %q %q, want %c %q %q", f.Kind, f.Name, f.Body, k, name, body)
	}
}

func TestRelayHandsFramesOn(t *testing.T) {
	dial := start(t)
	alice, bob := dial("alice"), dial("bob")
	alice.send(Message, "bob", "hello")
	bob.want(Message, "bob", "hello")
	bob.send(Ack, "alice", "")
	alice.want(Ack, "alice", "")
	alice.send(Message, "carol", "hello")
	alice.want(Unknown, "", "")
}

func TestRelayTellsWatchers(t *testing.T) {
	dial := start(t)
	alice, bob, carol := dial("alice"), dial("bob"), dial("carol")
	for _, c := range []*client{bob, carol} {
		c.send(Watch, "alice", "")
		c.want(Watch, "", "")
	}
	alice.send(Publish, "alice", "away")
	bob.want(Publish, "alice", "away")
	carol.want(Publish, "alice", "away")
	alice.want(Publish, "", "")
}

func TestScan(t *testing.T) {
	whole := Append(nil, Message, "bob", []byte("he"), []byte("llo"))
	for n := range whole {
		if _, got, err := Scan(whole[:n]); got != 0 || err != nil {
			t.Errorf("%d octets: %d, %v", n, got, err)
		}
	}
	f, n, err := Scan(append(whole, 1, 2, 3))
	if n != len(whole) || err != nil || string(f.Body) != "hello" {
		t.Errorf("%q, %d, %v", f.Body, n, err)
	}
	for _, bad := range [][]byte{{0, 0, 0, 1, 'L'}, {0xFF, 0, 0, 0}, {0, 0, 0, 3, 'L', 9, 'x'}} {
		if _, _, err := Scan(bad); !errors.Is(err, ErrFrame) {
			t.Errorf("%v: %v", bad, err)
		}
	}
}
