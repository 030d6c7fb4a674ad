package client

import (
	"context"
	"strings"
	"time"

	"simpd/protocol"
)

// serve takes what the server asks and tells.
func (c *conn) serve(l *protocol.Line, body []byte) {
	switch l.Verb {
	case "MESSAGE":
		c.serveMessage(l, body)
	case "PING":
		c.reply(l.Tag, protocol.StatusOK, "")
	case "PRESENCE":
		if p, ok := presenceOf(l); ok {
			c.owner.change(c, p)
		}
	case "UNLISTENED":
		c.owner.notice(c, Event{Kind: Unlistened, Text: short(l.Text)})
	case "STALE":
		c.owner.notice(c, Event{Kind: Stale, Text: short(l.Text)})
	case "FRESH":
		c.owner.notice(c, Event{Kind: Fresh, Text: short(l.Text), Index: uintParam(l, "index")})
	case "MOVE":
		c.owner.move(c, strings.Clone(textParam(l, "to")), intParam(l, "within"))
	case "BYE":
		c.end(byeError(l))
	default:
		c.reply(l.Tag, protocol.StatusUnknownVerb, "this client does not know "+l.Verb)
	}
}

// serveMessage hands a message to the owner, who calls settle in the end.
func (c *conn) serveMessage(l *protocol.Line, body []byte) {
	m, err := messageOf(l, body)
	if err != nil {
		c.reply(l.Tag, protocol.StatusBadRequest, err.Text)
		return
	}
	if !c.take(messageCost(body)) {
		c.reply(l.Tag, protocol.StatusRefused, "this client does not keep up")
		return
	}
	c.owner.message(c, l.Tag, m)
}

// messageCost returns what a message takes in octets while it is in hand: its
// content, and its line, of which its addresses are parts.
func messageCost(entity []byte) int { return len(entity) + protocol.MaxLine }

func messageOf(l *protocol.Line, body []byte) (*protocol.Message, *protocol.Error) {
	from, badFrom := protocol.ParseAddress(textParam(l, "from"))
	to, badTo := protocol.ParseAddress(textParam(l, "to"))
	id := textParam(l, "id")
	if badFrom != nil || badTo != nil || !protocol.ValidID(id) || body == nil {
		return nil, protocol.Errorf(protocol.StatusBadRequest, "from, to, id and content are required")
	}
	at, _ := time.Parse(time.RFC3339Nano, textParam(l, "time"))
	return &protocol.Message{From: from, To: to, ID: id, Time: at, Entity: body}, nil
}

// presenceOf reads a PRESENCE, or a 100 line of WATCH or QUERY. It keeps nothing
// of the line's memory. A note that is none is left out.
func presenceOf(l *protocol.Line) (protocol.Presence, bool) {
	a, err := protocol.ParseAddress(strings.Clone(textParam(l, "ima")))
	if err != nil {
		return protocol.Presence{}, false
	}
	p := protocol.Presence{Address: a, Index: uintParam(l, "index")}
	if note := textParam(l, "note"); protocol.ValidNote(note) {
		p.Note = strings.Clone(note)
	}
	p.Since, _ = time.Parse(time.RFC3339Nano, textParam(l, "since"))
	switch name := textParam(l, "state"); name {
	case protocol.Deaf.String():
		p.State = protocol.Deaf
	default:
		listening, ok := protocol.ParseListening(name)
		if !ok {
			listening = protocol.Unknown
		}
		p.State = listening
	}
	return p, true
}

// take counts a message that goes to the owner; false if it has too many.
func (c *conn) take(octets int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inHand >= maxInHand || c.octets+octets > maxInHandOctets {
		return false
	}
	c.inHand++
	c.octets += octets
	return true
}

// settle counts a message as done with, after its answer was put out.
func (c *conn) settle(octets int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.inHand--
	c.octets -= octets
	if c.inHand == 0 && c.settled != nil {
		close(c.settled)
		c.settled = nil
	}
}

// answeredAll waits until the owner is done with all messages.
func (c *conn) answeredAll(ctx context.Context) error {
	for {
		settled := c.unsettled()
		if settled == nil {
			return nil
		}
		select {
		case <-settled:
		case <-c.ended:
			return c.why()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// unsettled returns what is closed when nothing is in hand; nil if it is so now.
func (c *conn) unsettled() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inHand == 0 {
		return nil
	}
	if c.settled == nil {
		c.settled = make(chan struct{})
	}
	return c.settled
}
