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
// by the user timeout where something is; and nothing that is written waits.
// Connections have that from their listener.
func TestVanishedPeerIsFound(t *testing.T) {
	h := newHarbour(t, nil)
	for _, c := range []*client{h.dial(), h.dialTLS()} {
		fd := serverFD(t, c.Conn)
		got := map[string]int{}
		for name, option := range map[string]int{
			"idle": unix.TCP_KEEPIDLE, "every": unix.TCP_KEEPINTVL, "count": unix.TCP_KEEPCNT,
			"unacked": unix.TCP_USER_TIMEOUT, "at once": unix.TCP_NODELAY,
		} {
			got[name] = optionOf(t, fd, unix.IPPROTO_TCP, option)
		}
		if probed := optionOf(t, fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE); probed != 1 {
			t.Error("silence is not noticed")
		}
		if silent := got["idle"] + got["every"]*got["count"]; silent > 45 || silent < 20 {
			t.Errorf("silence is noticed after %d s", silent)
		}
		if unacked := got["unacked"]; unacked == 0 || unacked > 45_000 {
			t.Errorf("what is unacknowledged is noticed after %d ms", unacked)
		}
		if got["at once"] != 1 {
			t.Error("what is written waits for more")
		}
	}
}

// serverFD returns the server's descriptor of the connection of client c. Both
// ends are of this process.
func serverFD(t *testing.T, c net.Conn) int {
	t.Helper()
	if secured, ok := c.(*tls.Conn); ok {
		c = secured.NetConn()
	}
	port := c.LocalAddr().(*net.TCPAddr).Port
	for fd := range 1 << 12 {
		switch peer, err := unix.Getpeername(fd); at := peer.(type) {
		case *unix.SockaddrInet4:
			if err == nil && at.Port == port {
				return fd
			}
		}
	}
	t.Fatalf("no connection of port %d is open", port)
	return -1
}

func optionOf(t *testing.T, fd, level, option int) int {
	t.Helper()
	value, err := unix.GetsockoptInt(fd, level, option)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// Connections of a listener that can't pass its options on are served as well,
// and so are those of IPv6.
func TestOtherListeners(t *testing.T) {
	h := newHarbour(t, func(c *Config) { c.Insecure = true })
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		l, err := net.Listen("tcp", address) // a multipath one, where the kernel has them
		if err != nil {
			t.Logf("%s: %v", address, err) // no IPv6 here
			continue
		}
		c := h.client(net.Dial("tcp", h.serveOn(l, h.server.Serve)))
		c.expect("* HELLO version=SIMP/1.1 domain=example.com")
		c.login("alice")
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
		if err := unix.SetsockoptInt(serverFD(t, bob.Conn), unix.SOL_SOCKET, unix.SO_SNDBUF, 256<<10); err != nil {
			t.Fatal(err)
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
