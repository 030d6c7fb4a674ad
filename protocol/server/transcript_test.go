package server

import (
	"bufio"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestTranscripts plays the conversations in testdata. In them
//
//	C: is a line that the client writes, S: one that it has to read, with
//	   <any> for a part of a word and <rest> for all that follows. A line
//	   that ends with {n} is followed by the n octets of its literal, with ⏎
//	   for CRLF, and further C: or S: lines until there are so many;
//	= name goes on with the connection of that name, which is made if it is
//	   new; = name login makes it that of a user who is authenticated;
//	wait d lets time pass; close, halfclose end the connection or its sending
//	   side; end wants to see it ended.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no transcripts", err)
	}
	for _, file := range files {
		octets, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(filepath.Base(file), ".txt")
		t.Run(name, func(t *testing.T) {
			play(t, nil, func(s *stage) { newTranscript(s, string(octets)).play() })
		})
	}
}

type transcript struct {
	*stage
	lines  *bufio.Scanner
	number int
	names  map[string]*client
	now    *client
}

func newTranscript(s *stage, text string) *transcript {
	return &transcript{stage: s, lines: bufio.NewScanner(strings.NewReader(text)), names: map[string]*client{}}
}

func (p *transcript) play() {
	for p.lines.Scan() {
		p.number++
		line := strings.TrimSpace(p.lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		p.Logf("%d: %s", p.number, line)
		p.step(line)
	}
}

func (p *transcript) step(line string) {
	p.Helper()
	word, rest, _ := strings.Cut(line, " ")
	if p.now == nil && word != "=" {
		p.step("= client")
	}
	switch word {
	case "C:":
		p.client(rest)
	case "S:":
		p.server(rest)
	case "=":
		p.choose(rest)
	case "wait":
		d, err := time.ParseDuration(rest)
		if err != nil {
			p.Fatal(err)
		}
		time.Sleep(d)
	case "close":
		_ = p.now.Close()
	case "halfclose":
		_ = p.now.Conn.(*memConn).CloseWrite()
	case "end":
		p.now.expectEnd()
	default:
		p.Fatalf("line %d is none of a transcript: %s", p.number, line)
	}
}

func (p *transcript) choose(which string) {
	name, login, _ := strings.Cut(which, " ")
	if p.names[name] == nil {
		p.names[name] = p.connect(roomy)
		if login != "" {
			p.names[name].expect("* HELLO <rest>")
			p.names[name].login(name)
		}
	}
	p.now = p.names[name]
}

var literalEnd = regexp.MustCompile(`\{(\d+)\}$`)

func (p *transcript) client(line string) {
	p.now.write(line + "\r\n")
	if n := literalLength(line); n > 0 {
		p.now.write(p.literal("C:", n))
	}
}

func (p *transcript) server(pattern string) {
	p.Helper()
	got := p.now.expect("%s", pattern)
	if n := literalLength(got); n > 0 {
		want := p.literal("S:", n)
		b := make([]byte, n)
		if _, err := io.ReadFull(p.now.in, b); err != nil || string(b) != want {
			p.Fatalf("line %d: got %q %v, want %q", p.number, b, err, want)
		}
	}
}

func literalLength(line string) int {
	m := literalEnd.FindStringSubmatch(line)
	if m == nil {
		return 0
	}
	n, _ := strconv.Atoi(m[1])
	return n
}

// literal reads the n octets of a literal from the transcript.
func (p *transcript) literal(side string, n int) string {
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
