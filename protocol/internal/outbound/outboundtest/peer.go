package outboundtest

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"

	"simpd/protocol"
)

// Peer is the server's end of one connection.
type Peer struct {
	t      *testing.T
	Conn   net.Conn
	Reader *bufio.Reader
}

// NewPeer returns the server's end of a connection.
func NewPeer(t *testing.T, conn net.Conn) *Peer {
	return &Peer{t: t, Conn: conn, Reader: bufio.NewReader(conn)}
}

// Say sends a line.
func (p *Peer) Say(format string, args ...any) {
	p.t.Helper()
	if _, err := fmt.Fprintf(p.Conn, format+"\r\n", args...); err != nil {
		p.t.Errorf("saying %q: %v", fmt.Sprintf(format, args...), err)
	}
}

// Hear returns the next line.
func (p *Peer) Hear() string {
	p.t.Helper()
	line, err := p.Reader.ReadString('\n')
	if err != nil {
		p.t.Errorf("hearing: %q, %v", line, err)
	}
	return strings.TrimSuffix(line, "\r\n")
}

// Want hears a request, and returns its tag.
func (p *Peer) Want(request string) (tag string) {
	p.t.Helper()
	tag, got, _ := strings.Cut(p.Hear(), " ")
	if got != request {
		p.t.Errorf("heard %q, want %q", got, request)
	}
	return tag
}

// Answer hears a request and answers it, with one line or several.
func (p *Peer) Answer(request, response string) {
	p.t.Helper()
	p.Respond(p.Want(request), response)
}

// Respond sends the lines of a response.
func (p *Peer) Respond(tag, response string) {
	p.t.Helper()
	for line := range strings.SplitSeq(response, "\n") {
		p.Say("%s %s", tag, line)
	}
}

// Body hears the octets of a literal.
func (p *Peer) Body(want string) {
	p.t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(p.Reader, got); err != nil || string(got) != want {
		p.t.Errorf("heard %q, %v; want %q", got, err, want)
	}
}

// Gone hears that the client has closed the connection.
func (p *Peer) Gone() {
	p.t.Helper()
	if line, err := p.Reader.ReadString('\n'); !errors.Is(err, io.EOF) {
		p.t.Errorf("heard %q, %v; want the end", line, err)
	}
	_ = p.Conn.Close()
}

// Quit plays the end that the client wants.
func (p *Peer) Quit() {
	p.t.Helper()
	p.Answer("QUIT", "200")
	_ = p.Conn.Close()
}

// Handshake performs the TLS handshake.
func (p *Peer) Handshake(cert tls.Certificate) error {
	conn := tls.Server(p.Conn, &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"simp"}})
	p.Conn, p.Reader = conn, bufio.NewReader(conn)
	return conn.Handshake()
}

// StartTLS plays STARTTLS and the handshake.
func (p *Peer) StartTLS(cert tls.Certificate) error {
	p.t.Helper()
	p.Say("* HELLO version=SIMP/1.0 domain=example.com")
	p.Answer("STARTTLS", "200")
	return p.Handshake(cert)
}

// AnswerAll answers each request by the function, with lines that the tag goes
// before; "" leaves it unanswered.
func (p *Peer) AnswerAll(answer func(verb, line string) string) {
	for {
		line, err := p.Reader.ReadString('\n')
		if err != nil {
			return
		}
		var l protocol.Line
		if protocol.ParseLine(strings.TrimSuffix(line, "\r\n"), &l) != nil || l.Status != 0 {
			continue
		}
		if l.Literal > 0 {
			_, _ = io.CopyN(io.Discard, p.Reader, int64(l.Literal))
		}
		said := "200"
		if l.Verb != "PING" {
			said = answer(l.Verb, line)
		}
		for part := range strings.SplitSeq(said, "\n") {
			if part != "" {
				_, _ = fmt.Fprintf(p.Conn, "%s %s\r\n", l.Tag, part)
			}
		}
		if l.Verb == "QUIT" {
			return
		}
	}
}

// Flood says a line again and again until the other side has closed the
// connection, and returns how often; at most a number of times.
func (p *Peer) Flood(line string, most int) (said int) {
	for said < most {
		if _, err := io.WriteString(p.Conn, line); err != nil {
			return said
		}
		said++
		synctest.Wait()
	}
	return said
}
