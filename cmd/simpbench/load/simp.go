//go:build linux

package load

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"

	"simpd/protocol"
)

// SIMP is SIMP 1.0: a login is HELLO, AUTH by SCRAM-SHA-256 and LISTEN.
type SIMP struct {
	Domain   string
	Password *Password
}

// User returns the address of user number n.
func (s *SIMP) User(n int) string { return userName(n) + "@" + s.Domain }

func userName(n int) string { return fmt.Sprintf("user%06d", n) }

func (s *SIMP) speaker() speaker {
	return &simpSpeaker{login: &login{scram: scram{password: s.Password}}}
}

// The tags of requests; those of SEND are numbers.
const (
	tagHello   = "h"
	tagAuth    = "a"
	tagListen  = "l"
	tagWatch   = "w"
	tagPublish = "p"
)

// simpSpeaker is one client's side of a conversation. It reads what matters
// by hand, and trusts the server to keep to the grammar.
type simpSpeaker struct {
	login  *login  // until the client listens
	signer *signer // nil: messages are not signed
	bye    error   // what the server said before it closed
	failed error   // a message that could not be signed
}

func (s *simpSpeaker) ended(err error) error {
	if s.bye != nil && errors.Is(err, io.EOF) {
		return s.bye
	}
	return err
}

// hello says nothing: in SIMP the server begins.
func (s *simpSpeaker) hello(_ *Client, dst []byte) []byte { return dst }

// send sends body as an entity without header fields, or with a signature.
func (s *simpSpeaker) send(_ *Client, dst []byte, n uint64, to string, body []byte) []byte {
	if s.signer != nil {
		dst, s.failed = s.signer.appendSend(dst, n, to, body)
		return dst
	}
	dst = strconv.AppendUint(dst, n, 10)
	dst = append(dst, " SEND to="...)
	dst = append(dst, to...)
	dst = protocol.AppendLiteral(dst, len(body)+2)
	dst = append(dst, "\r\n\r\n"...)
	return append(dst, body...)
}

func (s *simpSpeaker) watch(_ *Client, dst []byte, user string) []byte {
	dst = protocol.AppendRequest(dst, tagWatch, "WATCH")
	return protocol.AppendEnd(protocol.AppendParam(dst, "ima", user))
}

func (s *simpSpeaker) publish(_ *Client, dst []byte, n int) []byte {
	dst = protocol.AppendRequest(dst, tagPublish, "STATE")
	return protocol.AppendEnd(protocol.AppendParam(dst, "state", states[n%2]))
}

func (s *simpSpeaker) octets(c *Client, b []byte) (used int, err error) {
	for {
		if s.failed != nil {
			return used, s.failed
		}
		n, err := protocol.ScanLine(b[used:])
		if n == 0 || err != nil {
			return used, err
		}
		line := b[used : used+n-2]
		body, whole := literal(line, b[used+n:])
		if !whole {
			return used, nil
		}
		used += n + len(body)
		if err := s.handle(c, line, body); err != nil {
			return used, err
		}
	}
}

// literal returns the octets that follow a line; whole is false while some of
// them are still to come.
func literal(line, after []byte) (body []byte, whole bool) {
	if len(line) == 0 || line[len(line)-1] != '}' {
		return nil, true
	}
	open := bytes.LastIndexByte(line, '{')
	n, err := strconv.Atoi(string(line[open+1 : len(line)-1]))
	if err != nil || open < 1 || line[open-1] != ' ' {
		return nil, true // the end of some text
	}
	if n > len(after) {
		return nil, false
	}
	return after[:n], true
}

// handle takes a line, cut at its first two spaces.
func (s *simpSpeaker) handle(c *Client, line, body []byte) error {
	tag, rest, _ := bytes.Cut(line, space)
	if len(rest) == 0 {
		return nil
	}
	word, _, _ := bytes.Cut(rest, space)
	if status, ok := number(word); ok {
		return s.response(c, tag, int(status), line)
	}
	return s.request(c, tag, word, line, body)
}

var space = []byte{' '}

// number reads decimal digits; anything else is none.
func number(b []byte) (n uint64, ok bool) {
	for _, d := range b {
		if d < '0' || d > '9' {
			return 0, false
		}
		n = 10*n + uint64(d-'0')
	}
	return n, len(b) > 0
}

func (s *simpSpeaker) response(c *Client, tag []byte, status int, line []byte) error {
	if n, ok := number(tag); ok {
		c.Events.Result(c, n, status)
		return nil
	}
	if s.login != nil {
		return s.login.response(s, c, line)
	}
	if tag[0] == tagKeys && s.signer != nil {
		return s.signer.response(c, line)
	}
	if status != int(protocol.StatusPartial) {
		c.Events.Done(c, status)
	}
	return nil
}

// request answers a MESSAGE at once, and whatever else wants an answer.
func (s *simpSpeaker) request(c *Client, tag, verb, line, body []byte) error {
	switch string(verb) {
	case "MESSAGE":
		if s.signer != nil {
			return s.signer.receive(c, tag, line, body)
		}
		c.write(appendStatus(c.conn.Outbox(), tag, protocol.StatusOK))
		c.Events.Message(c, bytes.TrimPrefix(body, crlf))
	case "PRESENCE":
		c.Events.Told(c)
	case "PING":
		c.write(appendStatus(c.conn.Outbox(), tag, protocol.StatusOK))
	case "HELLO":
		return s.login.greeted(c)
	case "BYE":
		s.bye = refusal("BYE", line)
	default:
		if string(tag) != "*" {
			c.write(appendStatus(c.conn.Outbox(), tag, protocol.StatusUnknownVerb))
		}
	}
	return nil
}

var crlf = []byte("\r\n")

func appendStatus(dst, tag []byte, s protocol.Status) []byte {
	dst = append(dst, tag...)
	dst = append(dst, ' ')
	dst = strconv.AppendInt(dst, int64(s), 10)
	return append(dst, crlf...)
}
