package client

import (
	"context"
	"strings"
	"time"

	"simpd/protocol"
	"simpd/protocol/internal/outbound"
)

// handleRequest handles requests and notices of the server.
func (c *conn) handleRequest(l *protocol.Line, body []byte) {
	switch l.Verb {
	case "MESSAGE":
		c.handleMessage(l, body)
	case "PING":
		c.reply(l.Tag, protocol.StatusOK, "")
	case "PRESENCE":
		if p, ok := outbound.ParsePresence(l); ok {
			c.owner.onPresence(c, p)
		}
	case "KEYS":
		if n, ok := outbound.ParseKeyNotice(l); ok {
			c.owner.onKeys(c, n)
		}
	case "CONTACT":
		if contact, ok := parseContact(l); ok && l.Tag == "*" {
			c.owner.onContact(c, protocol.ContactNotice{Contact: contact})
		}
	case "UNLISTENED":
		c.owner.onEvent(c, Event{Kind: Unlistened, Text: outbound.SanitizeText(l.Text)})
	case "STALE":
		c.owner.onEvent(c, Event{Kind: Stale, Text: outbound.SanitizeText(l.Text)})
	case "FRESH":
		c.owner.onEvent(c, Event{Kind: Fresh, Text: outbound.SanitizeText(l.Text), Index: outbound.UintParam(l, "index")})
	case "MOVE":
		c.owner.onMove(c, strings.Clone(outbound.TextParam(l, "to")), outbound.IntParam(l, "within"))
	case "BYE":
		c.endWith(outbound.ByeError(l))
	default:
		c.reply(l.Tag, protocol.StatusUnknownVerb, "this client does not know "+l.Verb)
	}
}

// handleMessage passes a message to the owner, which calls messageDone in the
// end.
func (c *conn) handleMessage(l *protocol.Line, body []byte) {
	m, err := parseMessage(l, body)
	if err != nil {
		c.reply(l.Tag, protocol.StatusBadRequest, err.Text)
		return
	}
	if !c.trackMessage(messageCost(body)) {
		c.reply(l.Tag, protocol.StatusRefused, "this client does not keep up")
		return
	}
	c.owner.onMessage(c, l.Tag, m)
}

// messageCost returns the octets that a message holds until it is answered:
// its content, and the line that its addresses are part of.
func messageCost(entity []byte) int { return len(entity) + protocol.MaxLine }

func parseMessage(l *protocol.Line, body []byte) (*protocol.Message, *protocol.Error) {
	from, badFrom := protocol.ParseAddress(outbound.TextParam(l, "from"))
	to, badTo := protocol.ParseAddress(outbound.TextParam(l, "to"))
	id := outbound.TextParam(l, "id")
	if badFrom != nil || badTo != nil || !protocol.ValidID(id) || body == nil {
		return nil, protocol.Errorf(protocol.StatusBadRequest, "from, to, id and content are required")
	}
	at, _ := time.Parse(time.RFC3339Nano, outbound.TextParam(l, "time"))
	return &protocol.Message{From: from, To: to, ID: id, Time: at, Entity: body}, nil
}

// trackMessage counts a message passed to the owner. It returns false if
// there are too many.
func (c *conn) trackMessage(octets int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.unanswered >= maxUnanswered || c.unansweredOctets+octets > maxUnansweredOctets {
		return false
	}
	c.unanswered++
	c.unansweredOctets += octets
	return true
}

// messageDone stops counting a message, after its response was queued.
func (c *conn) messageDone(octets int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unanswered--
	c.unansweredOctets -= octets
	if c.unanswered == 0 {
		c.allAnswered.Notify()
	}
}

// awaitAnswered waits until the owner has answered all messages.
func (c *conn) awaitAnswered(ctx context.Context) error {
	for {
		settled := c.answeredChan()
		if settled == nil {
			return nil
		}
		select {
		case <-settled:
		case <-c.done:
			return c.endReason()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// answeredChan returns a channel that is closed when all messages are
// answered; nil if they are.
func (c *conn) answeredChan() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.unanswered == 0 {
		return nil
	}
	return c.allAnswered.Changed()
}
