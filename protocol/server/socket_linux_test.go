package server

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A vanished peer is found within 45 s: by keepalive where nothing is sent,
// by the user timeout where something is.
func TestVanishedPeerIsFound(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := watchPeer(c); err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	err = raw.Control(func(fd uintptr) {
		for name, option := range map[string]int{
			"idle": unix.TCP_KEEPIDLE, "every": unix.TCP_KEEPINTVL, "count": unix.TCP_KEEPCNT, "unacked": unix.TCP_USER_TIMEOUT,
		} {
			if got[name], err = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, option); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if silent := got["idle"] + got["every"]*got["count"]; silent > 45 || silent < 20 {
		t.Errorf("silence is noticed after %d s", silent)
	}
	if unacked := got["unacked"]; unacked == 0 || unacked > 45_000 {
		t.Errorf("what is unacknowledged is noticed after %d ms", unacked)
	}
}

// What comes together with the end of the input is answered, over TCP and
// over TLS.
func TestHalfCloseOnSockets(t *testing.T) {
	h := newHarbour(t, func(c *Config) { c.Insecure = true })
	for name, c := range map[string]*client{"TCP": h.dial(), "TLS": h.dialTLS()} {
		c.login("alice")
		c.write(strings.Repeat("1 QUERY ima=bob@example.com\r\n", 100))
		half, ok := c.Conn.(interface{ CloseWrite() error })
		if !ok {
			t.Fatalf("%s can't be half-closed", name)
		}
		if err := half.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
		rest, err := io.ReadAll(c.in)
		if n := strings.Count(string(rest), "1 200 "); n != 100 || err != nil {
			t.Errorf("%s: %d answers, then %v", name, n, err)
		}
	}
}

// A client that stops reading for a while gets all that was meant for it,
// over TCP and over TLS, and nobody waits for it meanwhile.
func TestSlowReaderOnSockets(t *testing.T) {
	h := newHarbour(t, func(c *Config) { c.Insecure = true })
	alice := h.dial()
	alice.login("alice")
	for name, bob := range map[string]*client{"bob": h.dial(), "carol": h.dialTLS()} {
		c := bob.Conn
		if sealed, ok := c.(*tls.Conn); ok {
			c = sealed.NetConn()
		}
		if err := c.(*net.TCPConn).SetReadBuffer(256 << 10); err != nil {
			t.Fatal(err)
		}
		for _, x := range h.server.all() {
			if err := unix.SetsockoptInt(x.conn.(*socket).fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 256<<10); err != nil {
				t.Fatal(err)
			}
		}
		bob.login(name)
		bob.send("l LISTEN")
		bob.expect("l 200 <rest>")
		const messages = 60
		for i := range messages {
			entity := fmt.Sprintf("%03d", i) + strings.Repeat("x", 60_000)
			alice.write(fmt.Sprintf("%d SEND to=%s@example.com {%d}\r\n%s", i, name, len(entity), entity))
		}
		alice.send("p PING")
		alice.expect("p 200") // all of them are taken, and none of them is read
		for i := range messages {
			tag, entity := bob.message()
			if want := fmt.Sprintf("%03d", i); entity[:3] != want || len(entity) != 60_003 {
				t.Fatalf("%s: message %d is %.3s of %d octets", name, i, entity, len(entity))
			}
			bob.send("%s 200", tag)
		}
		for i := range messages {
			alice.expect("%d 200 <rest>", i)
		}
	}
}
