package client

import (
	"crypto/sha256"
	"errors"
	"time"

	"simpd/protocol"
	"simpd/protocol/signature"
)

// incoming is a message waiting to be handled, with the connection to answer
// on.
type incoming struct {
	*protocol.Message
	conn   *conn
	tag    string
	number uint64 // in the order of arrival, from 1
}

// onMessage queues a message of any connection, including old ones.
func (c *Client) onMessage(conn *conn, tag string, m *protocol.Message) {
	c.messages.push(incoming{m, conn, tag, c.lists.received.Add(1)}, nil)
}

// processIncoming handles a message and answers it.
func (c *Client) processIncoming(in incoming) {
	defer in.conn.messageDone(messageCost(in.Entity))
	c.lists.handled.Store(in.number)
	if status, text := c.handleMessage(in.Message); status != 0 {
		in.conn.reply(in.tag, status, text)
	}
}

// handleMessage returns the response to a message; 0 means none. A message
// that was accepted before is accepted again without being shown (SIMP.md,
// section 6).
func (c *Client) handleMessage(m *protocol.Message) (protocol.Status, string) {
	switch c.recent.check(m, time.Now()) {
	case seenSame:
		return protocol.StatusOK, ""
	case seenOther:
		return protocol.StatusWrongState, "another message had this id"
	}
	err := c.config.OnMessage(c.ctx, m)
	if err == nil {
		c.recent.add(m, time.Now())
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

// rememberFor is how long accepted messages are remembered. What counts is
// protocol.RepeatWindow, in which a sender may repeat them, and for signed
// messages all of it: if the sender's clock was ahead, a signature that is used
// again could seem to be of now.
const rememberFor = protocol.RepeatWindow + signature.MaxSkew

// recentMessages remembers accepted messages for rememberFor. One goroutine at
// a time may use it.
type recentMessages struct {
	byKey map[digest]seenMessage
	order []seenMessage // oldest first
}

type digest [16]byte

type seenMessage struct {
	key, content digest
	at           time.Time
}

// maxRecentMessages limits the memory to about 20 MB. At more than 400
// messages a second for minutes, the window is shorter than five minutes.
const maxRecentMessages = 1 << 17

type seenResult uint8

const (
	seenNever seenResult = iota
	seenSame
	seenOther // the id was used for other octets
)

func (s *recentMessages) check(m *protocol.Message, now time.Time) seenResult {
	s.expire(now)
	before, ok := s.byKey[keyOf(m)]
	switch {
	case !ok, now.Sub(before.at) > protocol.RepeatWindow && !signature.HasSignature(m.Entity):
		return seenNever
	case before.content == contentOf(m):
		return seenSame
	}
	return seenOther
}

func (s *recentMessages) add(m *protocol.Message, now time.Time) {
	if s.byKey == nil {
		s.byKey = make(map[digest]seenMessage)
	}
	accepted := seenMessage{keyOf(m), contentOf(m), now}
	s.byKey[accepted.key] = accepted
	s.order = append(s.order, accepted)
}

func (s *recentMessages) expire(now time.Time) {
	for len(s.order) > 0 && (len(s.order) >= maxRecentMessages || now.Sub(s.order[0].at) > rememberFor) {
		delete(s.byKey, s.order[0].key)
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
