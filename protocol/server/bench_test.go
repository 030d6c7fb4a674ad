package server

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"simpd/protocol"
)

// benchHarbour is a server on real sockets, for benchmarks.
func benchHarbour(b *testing.B, set func(*Config)) (*Server, string) {
	b.Helper()
	site := newSite(b, "alice", "bob")
	site.most = 1 << 20
	c := Config{
		Backend: site, Domains: []string{"example.com"}, Insecure: true, Logger: silent(),
		perSource: 1 << 20, perSourceUnauthenticated: 1 << 20,
	}
	if set != nil {
		set(&c)
	}
	s, err := New(c)
	if err != nil {
		b.Fatal(err)
	}
	l := listenPlain(b)
	ended := make(chan struct{})
	go func() { defer close(ended); _ = s.Serve(l) }()
	b.Cleanup(func() {
		_ = s.Shutdown(b.Context())
		<-ended
	})
	return s, l.Addr().String()
}

type benchClient struct {
	net.Conn
	in *bufio.Reader
}

func benchLogin(b *testing.B, address, name string, listen bool) *benchClient {
	b.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close() })
	c := &benchClient{conn, bufio.NewReader(conn)}
	say := "h HELLO version=SIMP/1.0\r\na AUTH mech=PLAIN data=" + plainData(name, "secret") + "\r\n"
	lines := 3
	if _, err := io.WriteString(conn, say); err != nil {
		b.Fatal(err)
	}
	c.skip(b, lines)
	if listen {
		if _, err := io.WriteString(conn, "l LISTEN\r\n"); err != nil {
			b.Fatal(err)
		}
		c.skip(b, 1)
	}
	return c
}

func (c *benchClient) skip(b *testing.B, lines int) {
	for range lines {
		if _, err := c.in.ReadSlice('\n'); err != nil {
			b.Error(err)
			return
		}
	}
}

// BenchmarkMessage is a message sent, received, acknowledged and answered,
// one at a time.
func BenchmarkMessage(b *testing.B) {
	_, address := benchHarbour(b, nil)
	alice, bob := benchLogin(b, address, "alice", false), benchLogin(b, address, "bob", true)
	entity := strings.Repeat("x", 100)
	request := []byte("1 SEND to=bob@example.com {100}\r\n" + entity)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := alice.Write(request); err != nil {
			b.Fatal(err)
		}
		line, err := bob.in.ReadSlice('\n')
		if err != nil {
			b.Fatal(err)
		}
		tag, _, _ := strings.Cut(string(line), " ")
		if _, err := bob.in.Discard(100); err != nil {
			b.Fatal(err)
		}
		fmt.Fprintf(bob, "%s 200\r\n", tag)
		alice.skip(b, 1)
	}
}

// BenchmarkMessagePipelined is the same with a window of 64.
func BenchmarkMessagePipelined(b *testing.B) {
	_, address := benchHarbour(b, nil)
	alice, bob := benchLogin(b, address, "alice", false), benchLogin(b, address, "bob", true)
	const window = 64
	request := []byte(strings.Repeat("1 SEND to=bob@example.com {100}\r\n"+strings.Repeat("x", 100), window))
	var answers []byte
	number := uint64(0)
	b.ReportAllocs()
	for n := 0; n < b.N; n += window {
		if _, err := alice.Write(request); err != nil {
			b.Fatal(err)
		}
		answers = answers[:0]
		for range window {
			bob.skip(b, 1)
			if _, err := bob.in.Discard(100); err != nil {
				b.Fatal(err)
			}
			number++
			answers = append(strconv.AppendUint(append(answers, 'm'), number, 10), " 200\r\n"...)
		}
		if _, err := bob.Write(answers); err != nil {
			b.Fatal(err)
		}
		alice.skip(b, window)
	}
}

// BenchmarkNotify is a change of presence shown to one of a thousand watchers.
func BenchmarkNotify(b *testing.B) {
	s, address := benchHarbour(b, nil)
	for range 1000 {
		c := benchLogin(b, address, "alice", false)
		go func() { _, _ = io.Copy(io.Discard, c.Conn) }()
	}
	all := s.allSessions()
	n := &protocol.Notice{Presence: protocol.Presence{
		Address: all[0].client.User, State: protocol.Away, Since: time.Now(), Index: 7,
	}}
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		all[i%len(all)].Notify(n)
	}
}

// BenchmarkIdle tells what an idle session that listens costs in resident
// memory; each iteration is one session.
func BenchmarkIdle(b *testing.B) {
	_, address := benchHarbour(b, nil)
	to := netip.MustParseAddrPort(address)
	const sessions = 8000
	before := resident(b)
	for range sessions {
		rawLogin(b, to)
	}
	for range 4 { // stacks shrink by half at each collection
		runtime.GC()
	}
	debug.FreeOSMemory()
	cost := float64(resident(b)-before) / sessions
	for b.Loop() {
	}
	b.ReportMetric(cost, "B/session")
}

// rawLogin has bob listen on a socket of which this process holds nothing but
// its number.
func rawLogin(b *testing.B, to netip.AddrPort) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = unix.Close(fd) })
	if err := unix.Connect(fd, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}); err != nil {
		b.Fatal(err)
	}
	for _, say := range []string{
		"", "h HELLO version=SIMP/1.0\r\n", "a AUTH mech=PLAIN data=" + plainData("bob", "secret") + "\r\n", "l LISTEN\r\n",
	} {
		if _, err := unix.Write(fd, []byte(say)); err != nil {
			b.Fatal(err)
		}
		var line [512]byte
		if _, err := unix.Read(fd, line[:]); err != nil {
			b.Fatal(err)
		}
	}
}

func resident(b *testing.B) int {
	status, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		b.Fatal(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(status))[1])
	if err != nil {
		b.Fatal(err)
	}
	return pages * os.Getpagesize()
}
