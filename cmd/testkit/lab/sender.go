package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"simpd/protocol"
	"simpd/protocol/wait"
)

// sender sends to random users through one node, a few messages at a time.
type sender struct {
	*lab
	r      *rand.Rand
	name   string
	node   int
	pause  time.Duration // between two messages, on average
	window chan struct{}
	doubts chan *sent // to be repeated
}

const (
	sendWindow = 48
	entitySize = 64
)

func (l *lab) newSender(i, node int, pause time.Duration) *sender {
	return &sender{
		lab: l, r: l.random(), name: fmt.Sprintf("sender%d", i), node: node, pause: pause,
		window: make(chan struct{}, sendWindow), doubts: make(chan *sent, sendWindow),
	}
}

// run sends until ctx ends, and then waits for what is unanswered.
func (s *sender) run(ctx context.Context) {
	for ctx.Err() == nil {
		c, err := s.dial(s.node, s.name, nil)
		if err != nil {
			s.refuse("login " + kind(err))
			wait.Sleep(ctx, 100*time.Millisecond)
			continue
		}
		s.talk(ctx, c)
		s.drain(c)
		c.Close()
	}
}

// talk sends on one connection.
func (s *sender) talk(ctx context.Context, c *conn) {
	for n := 1; ctx.Err() == nil && !c.IsOver(); n++ {
		select {
		case s.window <- struct{}{}:
		case <-c.Gone:
			return
		case <-c.Moved:
			return
		case <-ctx.Done():
			return
		}
		s.send(c, s.message(c, n))
		wait.Sleep(ctx, time.Duration(s.r.Int64N(int64(2*s.pause)+1)))
	}
}

// drain waits until nothing is unanswered, which the end of the connection ends.
func (s *sender) drain(c *conn) {
	limit := time.After(12 * time.Second)
	for range sendWindow {
		select {
		case s.window <- struct{}{}:
		case <-limit:
			c.HangUp()
			s.window <- struct{}{}
		}
	}
	for range sendWindow {
		<-s.window
	}
}

// message makes a new message, or repeats one that is in doubt.
func (s *sender) message(c *conn, n int) *sent {
	m := &sent{Conn: c.Number, Node: c.Node, Number: n}
	select {
	case old := <-s.doubts:
		m.ID, m.To, m.Again = old.ID, old.To, true
	default:
		m.ID, m.To = fmt.Sprintf("%d.%d", c.Number, n), s.someone(s.r)
	}
	m.Timeout = time.Duration(1+s.r.IntN(4)) * time.Second
	return m
}

func (s *sender) send(c *conn, m *sent) { s.sendThen(c, m, func() {}) }

// sendThen calls then once the outcome is noted. What the connection's end
// kept from being said at all was not sent.
func (s *sender) sendThen(c *conn, m *sent, then func()) {
	m.At = s.clock.Now()
	line := fmt.Sprintf("SEND to=%s id=%s timeout=%d", s.address(m.To), m.ID, m.Timeout/time.Second)
	said := c.Request(line, entity(m.ID), func(lines []protocol.Line, at time.Duration) {
		s.done(m, lines, at)
		then()
	})
	if !said {
		s.release(m)
		then()
		return
	}
	s.history.locked(func() { s.history.Sent = append(s.history.Sent, m) })
}

// entity is the same for a repeat.
func entity(id string) []byte {
	b := make([]byte, 0, entitySize)
	b = append(b, "\r\n"...)
	for len(b)+len(id) < entitySize {
		b = append(b, id...)
	}
	return b
}

func (s *sender) done(m *sent, lines []protocol.Line, at time.Duration) {
	s.history.locked(func() {
		m.Back = at
		if len(lines) > 0 {
			final := lines[len(lines)-1]
			m.Times, m.Status, m.Text = m.Times+1, int(final.Status), final.Text
		}
	})
	s.release(m)
}

// release makes room for another message; one in doubt will be repeated.
func (s *sender) release(m *sent) {
	<-s.window
	if m.Status == lost && (m.Back != 0 || m.Again) || m.Status == 201 {
		select {
		case s.doubts <- m:
		default:
		}
	}
}
