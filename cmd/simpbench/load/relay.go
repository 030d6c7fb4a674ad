//go:build linux

package load

import (
	"fmt"

	"simpd/cmd/simpbench/relay"
)

// Relay is the language of the yardstick.
type Relay struct {
	Oneway bool // messages want no acknowledgement, and get no Result
}

// User returns a name as long as SIMP's.
func (Relay) User(n int) string { return userName(n) }

func (r Relay) speaker() speaker { return &relaySpeaker{oneway: r.Oneway} }

// Statuses that the relay's answers stand for.
const (
	statusOK           = 200
	statusNotListening = 480
)

type relaySpeaker struct {
	oneway   bool
	answered uint64 // messages
}

func (s *relaySpeaker) ended(err error) error { return err }

func (s *relaySpeaker) hello(c *Client, dst []byte) []byte {
	return relay.Append(dst, relay.Login, c.Name)
}

// send names the sender before the body, so that the receiver can answer.
func (s *relaySpeaker) send(c *Client, dst []byte, _ uint64, to string, body []byte) []byte {
	kind := relay.Message
	if s.oneway {
		kind = relay.Oneway
	}
	return relay.Append(dst, kind, to, []byte{byte(len(c.Name))}, []byte(c.Name), body)
}

func (s *relaySpeaker) watch(_ *Client, dst []byte, user string) []byte {
	return relay.Append(dst, relay.Watch, user)
}

func (s *relaySpeaker) publish(c *Client, dst []byte, n int) []byte {
	return relay.Append(dst, relay.Publish, c.Name, []byte(states[n%2]))
}

// states lists the states that Publish announces, one after the other.
var states = [2]string{"available", "away"}

func (s *relaySpeaker) octets(c *Client, b []byte) (used int, err error) {
	for {
		f, n, err := relay.Scan(b[used:])
		if n == 0 || err != nil {
			return used, err
		}
		used += n
		if err := s.handle(c, f); err != nil {
			return used, err
		}
	}
}

func (s *relaySpeaker) handle(c *Client, f relay.Frame) error {
	switch f.Kind {
	case relay.Login:
		c.Events.Ready(c)
	case relay.Watch:
		c.Events.Done(c, statusOK)
	case relay.Publish:
		s.told(c, f)
	case relay.Ack:
		s.answered++
		c.Events.Result(c, s.answered, statusOK)
	case relay.Unknown:
		s.answered++
		c.Events.Result(c, s.answered, statusNotListening)
	case relay.Message, relay.Oneway:
		return s.message(c, f)
	}
	return nil
}

// told is for a watcher, or, without a name, for who has changed.
func (s *relaySpeaker) told(c *Client, f relay.Frame) {
	if len(f.Name) == 0 {
		c.Events.Done(c, statusOK)
	} else {
		c.Events.Told(c)
	}
}

func (s *relaySpeaker) message(c *Client, f relay.Frame) error {
	if len(f.Body) < 1 || len(f.Body) < 1+int(f.Body[0]) {
		return fmt.Errorf("a message without a sender: %w", relay.ErrFrame)
	}
	end := 1 + int(f.Body[0])
	if f.Kind == relay.Message {
		c.write(relay.Append(c.conn.Outbox(), relay.Ack, string(f.Body[1:end])))
	}
	c.Events.Message(c, f.Body[end:])
	return nil
}
