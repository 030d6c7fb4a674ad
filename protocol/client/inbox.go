package client

import (
	"crypto/sha256"
	"errors"
	"time"

	"simpd/protocol"
)

// incoming is a message that waits to be handled, and where to answer.
type incoming struct {
	*protocol.Message
	conn *conn
	tag  string
}

// message takes a message of any connection, the old ones included.
func (c *Client) message(conn *conn, tag string, m *protocol.Message) {
	c.messages.push(incoming{m, conn, tag}, nil)
}

// handle has a message handled and answers it.
func (c *Client) handle(in incoming) {
	defer in.conn.settle(messageCost(in.Entity))
	if status, text := c.judge(in.Message); status != 0 {
		in.conn.reply(in.tag, status, text)
	}
}

// judge decides what to answer; 0: nothing. What was accepted before is
// accepted again without being shown (SIMP.md, section 6).
func (c *Client) judge(m *protocol.Message) (protocol.Status, string) {
	switch c.seen.look(m, time.Now()) {
	case seenSame:
		return protocol.StatusOK, ""
	case seenOther:
		return protocol.StatusWrongState, "another message had this id"
	}
	err := c.OnMessage(c.ctx, m)
	if err == nil {
		c.seen.add(m, time.Now())
		return protocol.StatusOK, ""
	}
	if errors.Is(err, ErrNoAnswer) {
		return 0, ""
	}
	var refused *protocol.Error
	if errors.As(err, &refused) {
		return protocol.StatusRefused, refused.Text
	}
	return protocol.StatusRefused, err.Error()
}

// seen remembers what was accepted, for protocol.RepeatWindow. It is used by
// one goroutine at a time.
type seen struct {
	by    map[digest]seenMessage
	order []seenMessage // the oldest first
}

type digest [16]byte

type seenMessage struct {
	key, content digest
	at           time.Time
}

// maxSeen bounds the memory to some 20 MB; who gets more than 400 messages a
// second for minutes, remembers less than five.
const maxSeen = 1 << 17

type seenHow uint8

const (
	seenNever seenHow = iota
	seenSame
	seenOther // the id was used for other octets
)

func (s *seen) look(m *protocol.Message, now time.Time) seenHow {
	s.forget(now)
	before, ok := s.by[keyOf(m)]
	switch {
	case !ok:
		return seenNever
	case before.content == contentOf(m):
		return seenSame
	}
	return seenOther
}

func (s *seen) add(m *protocol.Message, now time.Time) {
	if s.by == nil {
		s.by = make(map[digest]seenMessage)
	}
	accepted := seenMessage{keyOf(m), contentOf(m), now}
	s.by[accepted.key] = accepted
	s.order = append(s.order, accepted)
}

func (s *seen) forget(now time.Time) {
	for len(s.order) > 0 && (len(s.order) >= maxSeen || now.Sub(s.order[0].at) > protocol.RepeatWindow) {
		delete(s.by, s.order[0].key)
		s.order = s.order[1:]
	}
}

func keyOf(m *protocol.Message) digest {
	return digestOf([]byte(m.From.String() + "\x00" + m.ID))
}

func contentOf(m *protocol.Message) digest { return digestOf(m.Entity) }

func digestOf(b []byte) (d digest) {
	sum := sha256.Sum256(b)
	copy(d[:], sum[:])
	return d
}
