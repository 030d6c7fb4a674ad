//go:build linux

package load

import (
	"errors"
	"fmt"
	"strconv"

	"simpd/protocol"
)

// Refusal is an answer of a server other than success.
type Refusal struct {
	Verb   string // what was asked for, or BYE
	Status protocol.Status
	Text   string
}

func (r *Refusal) Error() string { return fmt.Sprintf("%s: %d %s", r.Verb, r.Status, r.Text) }

// refusal makes a Refusal of a response, or of a BYE.
func refusal(verb string, line []byte) error {
	var l protocol.Line
	if err := protocol.ParseLine(string(line), &l); err != nil {
		return fmt.Errorf("%q: %w", line, err)
	}
	if l.Status == 0 {
		status, _ := l.Get("status")
		n, _ := strconv.Atoi(status)
		l.Status = protocol.Status(n)
	}
	return &Refusal{Verb: verb, Status: l.Status, Text: l.Text}
}

// login is a conversation from the greeting to LISTEN's answer, in three
// round trips: HELLO and AUTH go together, as section 2 of SIMP.md lets them.
type login struct{ scram scram }

// errGreeting is a second greeting.
var errGreeting = errors.New("a greeting after the login")

func (l *login) greeted(c *Client) error {
	if l == nil {
		return errGreeting
	}
	out := protocol.AppendRequest(c.conn.Outbox(), tagHello, "HELLO")
	out = protocol.AppendEnd(protocol.AppendParam(out, "version", protocol.Version))
	out = protocol.AppendRequest(out, tagAuth, "AUTH")
	out = protocol.AppendParam(out, "mech", "SCRAM-SHA-256")
	out = protocol.AppendParam(out, "data", l.scram.first(c.Name))
	c.write(protocol.AppendEnd(out))
	return nil
}

func (l *login) response(s *simpSpeaker, c *Client, text []byte) error {
	var line protocol.Line
	if err := protocol.ParseLine(string(text), &line); err != nil {
		return err
	}
	switch {
	case line.Tag == tagAuth && line.Status == protocol.StatusChallenge:
		return l.challenged(c, &line)
	case line.Status != protocol.StatusOK:
		return &Refusal{Verb: verbOf(line.Tag), Status: line.Status, Text: line.Text}
	case line.Tag == tagAuth:
		return l.authenticated(c, &line)
	case line.Tag == tagListen:
		s.login = nil
		c.Events.Ready(c)
	}
	return nil
}

func verbOf(tag string) string {
	switch tag {
	case tagHello:
		return "HELLO"
	case tagAuth:
		return "AUTH"
	}
	return "LISTEN"
}

func (l *login) challenged(c *Client, line *protocol.Line) error {
	data, _ := line.Get("data")
	answer, err := l.scram.answer(data)
	if err != nil {
		return err
	}
	out := protocol.AppendRequest(c.conn.Outbox(), tagAuth, "MORE")
	c.write(protocol.AppendEnd(protocol.AppendParam(out, "data", answer)))
	return nil
}

func (l *login) authenticated(c *Client, line *protocol.Line) error {
	data, _ := line.Get("data")
	if err := l.scram.verify(data); err != nil {
		return err
	}
	c.write(protocol.AppendEnd(protocol.AppendRequest(c.conn.Outbox(), tagListen, "LISTEN")))
	return nil
}
