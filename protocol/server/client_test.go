package server

import (
	"bufio"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"simpd/protocol"
	"simpd/protocol/transcript"
)

// stage is a server over a site in memory, within a synctest bubble.
type stage struct {
	*testing.T
	site     *site
	server   *Server
	listener *memListener
	served   chan error
	source   netip.AddrPort
}

// play runs f on a stage of its own, in virtual time. All that was begun has
// to have ended with it.
func play(t *testing.T, set func(*Config), f func(*stage)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, set)
		defer s.close()
		f(s)
	})
}

func silent() *slog.Logger { return slog.New(slog.DiscardHandler) }

func newStage(t *testing.T, set func(*Config)) *stage {
	s := &stage{
		T: t, site: newSite(t, "alice", "bob", "carol"), listener: newMemListener(),
		served: make(chan error, 1), source: netip.MustParseAddrPort("192.0.2.1:4711"),
	}
	c := Config{
		Backend: s.site, Domains: []string{"example.com", "example.org"}, Insecure: true,
		iterations: protocol.MinScramIterations, Logger: silent(),
	}
	if set != nil {
		set(&c)
	}
	var err error
	if s.server, err = New(c); err != nil {
		t.Fatal(err)
	}
	go func() { s.served <- s.server.Serve(s.listener) }()
	return s
}

func (s *stage) close() {
	s.Helper()
	if err := s.server.Shutdown(context.Background()); err != nil {
		s.Error(err)
	}
	if err := <-s.served; err != ErrClosed {
		s.Errorf("Serve returned %v", err)
	}
	if held := s.server.Held(); held != 0 {
		s.Errorf("%d octets are still counted", held)
	}
	s.site.mu.Lock()
	defer s.site.mu.Unlock()
	for u := range s.site.users {
		s.Errorf("the session of %v was never closed", u.address)
	}
}

// client is one connection, as a person at a terminal would use it.
type client struct {
	*testing.T
	net.Conn
	in *bufio.Reader
}

const roomy = 8 << 20

// dial connects and reads the greeting.
func (s *stage) dial() *client {
	c := s.connect(roomy)
	c.expect("* HELLO version=SIMP/1.1 domain=example.com")
	return c
}

func (s *stage) connect(room int) *client {
	conn := s.listener.dial(room, s.source)
	s.Cleanup(func() { _ = conn.Close() })
	return &client{s.T, conn, bufio.NewReaderSize(conn, 128<<10)}
}

// login connects as a user.
func (s *stage) login(name string) *client { return s.dial().login(name) }

func (c *client) login(name string) *client {
	c.Helper()
	c.send("h HELLO version=SIMP/1.0")
	c.expect("h 200 <rest>")
	c.send("a AUTH mech=PLAIN data=%s", plainData(name, "secret"))
	c.expect("a 200 ima=%s@example.com", name)
	return c
}

// listen connects as a user who listens.
func (s *stage) listen(name string) *client {
	s.Helper()
	c := s.login(name)
	c.send("l LISTEN")
	c.expect("l 200 session=<any> index=<any>")
	return c
}

func plainData(name, password string) string {
	return base64.StdEncoding.EncodeToString([]byte("\x00" + name + "@example.com\x00" + password))
}

// send writes a line.
func (c *client) send(format string, args ...any) {
	c.Helper()
	c.write(fmt.Sprintf(format, args...) + "\r\n")
}

func (c *client) write(octets string) {
	c.Helper()
	if _, err := io.WriteString(c.Conn, octets); err != nil {
		c.Fatalf("writing %.60q: %v", octets, err)
	}
}

// line reads a line.
func (c *client) line() string {
	c.Helper()
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Minute))
	line, err := c.in.ReadString('\n')
	if err != nil {
		c.Fatalf("reading a line: %v after %.200q", err, line)
	}
	return strings.TrimSuffix(line, "\r\n")
}

// expect reads a line that fits pattern, and returns it.
func (c *client) expect(format string, args ...any) string {
	c.Helper()
	pattern, line := fmt.Sprintf(format, args...), c.line()
	if !transcript.Fits(pattern, line) {
		c.Fatalf("got  %s\nwant %s", line, pattern)
	}
	return line
}

// message reads a MESSAGE, and returns its tag and its octets.
func (c *client) message() (tag, entity string) {
	c.Helper()
	line := c.expect("<any> MESSAGE from=<any> to=<any> id=<any> time=<any> {<any>}")
	var l protocol.Line
	if err := protocol.ParseLine(line, &l); err != nil {
		c.Fatal(err)
	}
	b := make([]byte, l.Literal)
	if _, err := io.ReadFull(c.in, b); err != nil {
		c.Fatalf("reading a literal: %v", err)
	}
	return l.Tag, string(b)
}

// expectEnd reads the end of the connection.
func (c *client) expectEnd() {
	c.Helper()
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Minute))
	if b, err := c.in.ReadByte(); err != io.EOF {
		rest, _ := c.in.Peek(c.in.Buffered())
		c.Fatalf("got %q %v, want the end of the connection", append([]byte{b}, rest...), err)
	}
}

// expectNothing sees that nothing comes for a time.
func (c *client) expectNothing(d time.Duration) {
	c.Helper()
	_ = c.SetReadDeadline(time.Now().Add(d))
	if b, err := c.in.ReadByte(); err == nil {
		rest, _ := c.in.Peek(c.in.Buffered())
		c.Fatalf("got %q, want nothing", append([]byte{b}, rest...))
	}
}
