// Package transcript plays conversations in SIMP that are written down, as
// testdata of protocol/server and the examples of protocol/SIMP.md are, against
// any server: one in memory, or a node of a site of real processes. In them
//
//	C: is a line that the client writes, S: one that it has to read, with
//	   <any> for a part of a word and <rest> for all that follows. A line
//	   that ends with {n} is followed by the n octets of its literal, with ⏎
//	   for CRLF, and further C: or S: lines until there are so many;
//	= name goes on with the connection of that name, which is made if it is
//	   new; = name login makes it that of a user who is authenticated;
//	wait d lets time pass; close, halfclose end the connection or its sending
//	   side; end wants to see it ended.
//
// An empty line, and one that begins with #, say nothing. The package is for tests only.
package transcript

import (
	"bufio"
	"encoding/base64"
	"io"
	"net"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Password is that of all users in the conversations.
const Password = "secret"

// Users are those who speak in them; their domain is example.com.
func Users() []string { return []string{"alice", "bob", "carol"} }

// Stage is where conversations are held.
type Stage struct {
	// Dial makes the connection of that name.
	Dial func(name string) (net.Conn, error)
	// Turn is called before the conversation goes on with that connection,
	// which may still have to be made. It may be nil.
	Turn func(name string) error
	// Patience bounds each wait for a line.
	Patience time.Duration
}

// Play holds the conversation, and ends the test where it does not go as it is
// written. All connections are closed then.
func (s Stage) Play(t testing.TB, text string) {
	t.Helper()
	p := &player{TB: t, Stage: s, lines: bufio.NewScanner(strings.NewReader(text)), names: map[string]*conn{}}
	defer p.closeAll()
	for p.lines.Scan() {
		p.number++
		line := strings.TrimSpace(p.lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		p.step(line)
	}
}

type player struct {
	testing.TB
	Stage
	lines  *bufio.Scanner
	number int
	names  map[string]*conn
	now    *conn
}

func (p *player) closeAll() {
	for _, c := range p.names {
		_ = c.Close()
	}
}

func (p *player) step(line string) {
	p.Helper()
	p.Logf("%d: %s", p.number, line)
	word, rest, _ := strings.Cut(line, " ")
	if p.now == nil && word != "=" {
		p.choose("client")
	}
	switch word {
	case "C:":
		p.client(rest)
	case "S:":
		p.server(rest)
	case "=":
		p.choose(rest)
	case "wait":
		p.wait(rest)
	case "close":
		p.check(p.now.Close())
	case "halfclose":
		p.check(p.now.Conn.(interface{ CloseWrite() error }).CloseWrite())
	case "end":
		p.end()
	default:
		p.Fatalf("line %d is none of a transcript: %s", p.number, line)
	}
}

func (p *player) check(err error) {
	p.Helper()
	if err != nil {
		p.Fatalf("line %d: %v", p.number, err)
	}
}

func (p *player) wait(text string) {
	d, err := time.ParseDuration(text)
	p.check(err)
	<-time.After(d)
}

func (p *player) choose(which string) {
	p.Helper()
	name, login, _ := strings.Cut(which, " ")
	if p.Turn != nil {
		p.check(p.Turn(name))
	}
	if p.now = p.names[name]; p.now != nil {
		return
	}
	c, err := p.Dial(name)
	p.check(err)
	p.now = &conn{c, bufio.NewReader(c)}
	p.names[name] = p.now
	if login != "" {
		p.login(name)
	}
}

// login says what anybody says first.
func (p *player) login(name string) {
	p.Helper()
	plain := base64.StdEncoding.EncodeToString([]byte("\x00" + name + "@example.com\x00" + Password))
	for _, line := range []string{
		"S: * HELLO <rest>", "C: h HELLO version=SIMP/1.0", "S: h 200 <rest>",
		"C: a AUTH mech=PLAIN data=" + plain, "S: a 200 ima=" + name + "@example.com",
	} {
		p.step(line)
	}
}

var literalEnd = regexp.MustCompile(`\{(\d+)\}$`)

func literalLength(line string) int {
	m := literalEnd.FindStringSubmatch(line)
	if m == nil {
		return 0
	}
	n, _ := strconv.Atoi(m[1])
	return n
}

func (p *player) client(line string) {
	p.Helper()
	octets := line + "\r\n"
	if n := literalLength(line); n > 0 {
		octets += p.literal("C:", n)
	}
	_, err := io.WriteString(p.now, octets)
	p.check(err)
}

func (p *player) server(pattern string) {
	p.Helper()
	got := p.line()
	if !Fits(pattern, got) {
		p.Fatalf("line %d:\ngot  %s\nwant %s", p.number, got, pattern)
	}
	n := literalLength(got)
	if n == 0 {
		return
	}
	want, b := p.literal("S:", n), make([]byte, n)
	if _, err := io.ReadFull(p.now.in, b); err != nil || string(b) != want {
		p.Fatalf("line %d: got %q %v, want %q", p.number, b, err, want)
	}
}

// literal reads the n octets of a literal from the transcript.
func (p *player) literal(side string, n int) string {
	p.Helper()
	var text string
	for len(text) < n && p.lines.Scan() {
		p.number++
		text += strings.ReplaceAll(strings.TrimPrefix(strings.TrimSpace(p.lines.Text()), side+" "), "⏎", "\r\n")
	}
	if len(text) != n {
		p.Fatalf("line %d: the literal has %d octets, not %d", p.number, len(text), n)
	}
	return text
}

// conn is one connection.
type conn struct {
	net.Conn
	in *bufio.Reader
}

// line reads a line.
func (p *player) line() string {
	p.Helper()
	p.check(p.now.SetReadDeadline(time.Now().Add(p.Patience)))
	line, err := p.now.in.ReadString('\n')
	if err != nil {
		p.Fatalf("line %d: reading: %v after %.200q", p.number, err, line)
	}
	return strings.TrimSuffix(line, "\r\n")
}

// end reads the end of the connection.
func (p *player) end() {
	p.Helper()
	p.check(p.now.SetReadDeadline(time.Now().Add(p.Patience)))
	if b, err := p.now.in.ReadByte(); err != io.EOF {
		p.Fatalf("line %d: got %q %v, want the end of the connection", p.number, b, err)
	}
}
