package wire

import (
	"bufio"
	"io"
	"strings"
	"time"

	"simpd/protocol"
)

func (c *Conn) read() {
	defer close(c.Gone)
	defer c.end()
	in := bufio.NewReaderSize(c.Conn, protocol.MaxLine)
	for {
		text, err := in.ReadString('\n')
		if err != nil {
			c.why = err.Error()
			return
		}
		l := new(protocol.Line)
		if protocol.ParseLine(strings.TrimSuffix(text, "\r\n"), l) != nil {
			return
		}
		entity := make([]byte, max(0, l.Literal))
		if _, err := io.ReadFull(in, entity); err != nil {
			return
		}
		c.handle(l, entity)
	}
}

func (c *Conn) handle(l *protocol.Line, entity []byte) {
	switch {
	case !l.IsRequest():
		c.settle(l)
	case l.Verb == "PING":
		c.Say(l.Tag, "200")
	case l.Verb == "MOVE":
		close(c.Moved) // it comes once
	case l.Verb == "BYE":
		status, _ := l.Get("status")
		c.bye = status + " " + l.Text
	case c.OnRequest != nil:
		c.OnRequest(l, entity, c.Clock.Now())
	}
}

// settle takes a response to what was asked here.
func (c *Conn) settle(l *protocol.Line) {
	c.mu.Lock()
	a := c.waiting[l.Tag]
	if a == nil {
		c.mu.Unlock()
		return
	}
	a.lines = append(a.lines, *l)
	if !l.Status.Interim() {
		delete(c.waiting, l.Tag)
	}
	c.mu.Unlock()
	if !l.Status.Interim() {
		a.done(a.lines, c.Clock.Now())
	}
}

// end tells whoever waits that nothing comes any more.
func (c *Conn) end() {
	_ = c.Conn.Close()
	c.mu.Lock()
	waiting, follows := c.waiting, c.follows
	c.waiting, c.ended = nil, true
	e := Ending{Conn: c.Number, Node: c.Node, At: c.Clock.Now(), Own: c.own, Moved: closed(c.Moved), Bye: c.bye, Why: c.why}
	c.mu.Unlock()
	if follows && c.OnEnd != nil {
		c.OnEnd(e)
	}
	for _, a := range waiting {
		a.done(nil, e.At)
	}
}

// Bye returns what the server said last, once Gone is closed; "" if it closed
// without a word.
func (c *Conn) Bye() string { return c.bye }

// Clock counts from the start of a run, by the monotonic clock.
type Clock struct{ Begun time.Time }

// Now returns the time since the start.
func (c Clock) Now() time.Duration { return time.Since(c.Begun) }
