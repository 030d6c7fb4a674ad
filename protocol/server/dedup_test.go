package server

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"simpd/protocol"
	"simpd/protocol/server/internal/netio"
)

// What was accepted is found for as long as it has to be, and not for much
// longer, in any order of keys.
func TestDedupFindsWhatWasAccepted(t *testing.T) {
	var c dedupCache
	start, key := time.Now(), rand.New(rand.NewPCG(1, 2))
	keys := make([]uint64, 301)
	for at := range keys {
		now := start.Add(time.Duration(at) * time.Second)
		keys[at] = key.Uint64()
		if _, known := c.get(keys[at], now); known {
			t.Fatalf("second %d: a key is known before it was accepted", at)
		}
		c.put(keys[at], uint64(at), now)
	}
	for at, k := range keys {
		end := start.Add(time.Duration(at)*time.Second + protocol.RepeatWindow)
		if sum, ok := c.get(k, end); !ok || sum != uint64(at) {
			t.Fatalf("what was accepted at second %d is %d, %v", at, sum, ok)
		}
		if _, ok := c.get(k, end.Add(generationSpan+time.Second)); ok {
			t.Fatalf("what was accepted at second %d is known for too long", at)
		}
	}
}

// However many are accepted, none is forgotten within the window; all that was
// counted is given back afterwards.
func TestDedupForgetsNothingEarly(t *testing.T) {
	var c dedupCache
	start, cost := time.Now(), 0
	const many = 4*maxTable + 100
	keyOf := func(i uint64) uint64 { return (i + 1) * 0x9E3779B97F4A7C15 }
	for i := range uint64(many) {
		now := start.Add(time.Duration(i) * 2 * generationSpan / many)
		cost += c.put(keyOf(i), i, now) - c.expire(now)
	}
	end := start.Add(protocol.RepeatWindow)
	cost -= c.expire(end)
	for i := range uint64(many) {
		if sum, ok := c.get(keyOf(i), end); !ok || sum != i {
			t.Fatalf("message %d of %d is %d, %v", i, many, sum, ok)
		}
	}
	for _, g := range c.generations {
		if len(g.tables) > g.size/maxTable+24 {
			t.Errorf("%d entries are in %d tables", g.size, len(g.tables))
		}
	}
	if cost < many*entryCost {
		t.Errorf("%d octets are counted for %d entries", cost, many)
	}
	if cost -= c.expire(c.nextExpiry().Add(time.Hour)); cost != 0 || !c.nextExpiry().IsZero() {
		t.Errorf("%d octets are still counted", cost)
	}
}

// acceptAll answers every message and PING with 200 until the connection ends,
// and counts the messages by their ids.
func (c *client) acceptAll(seen *sync.Map) {
	for {
		line, err := c.in.ReadString('\n')
		if err != nil {
			return
		}
		var l protocol.Line
		if protocol.ParseLine(strings.TrimSuffix(line, "\r\n"), &l) != nil || l.Status != 0 {
			continue
		}
		if id, ok := l.Get("id"); ok {
			if _, again := seen.LoadOrStore(id, true); again {
				c.Errorf("%s is shown twice", id)
			}
			_, _ = c.in.Discard(l.Literal)
		}
		fmt.Fprintf(c, "%s 200\r\n", l.Tag)
	}
}

// Where the memory of accepted messages is used up the next is refused before it
// is handed over, and none is shown twice. The user's requests are served
// meanwhile, and messages again once the oldest may be forgotten.
func TestAcceptedMessagesAreNotForgottenEarly(t *testing.T) {
	play(t, func(c *Config) { c.MaxHeld = 512 << 10 }, func(s *stage) {
		bob, alice, seen := s.listen("bob"), s.login("alice"), new(sync.Map)
		go bob.acceptAll(seen)
		send := func(i int) string {
			synctest.Wait() // what the one before took besides is given back
			alice.write(fmt.Sprintf("%d SEND to=bob@example.com id=%d {1}\r\nx", i, i))
			return strings.Fields(alice.line())[1]
		}
		full := 0
		for send(full) == "200" {
			full++
		}
		if least := 512 << 10 / 10 / entryCost; full < least {
			t.Errorf("only %d messages were accepted: an eighth of the memory is for more than %d", full, least)
		}
		if status := send(full); status != "481" {
			t.Errorf("a message for which there is no memory is answered %s", status)
		}
		if _, shown := seen.Load(fmt.Sprint(full)); shown {
			t.Error("a message was refused and handed over")
		}
		for _, i := range []int{0, 1, full / 2, full - 1} {
			if status := send(i); status != "200" {
				t.Errorf("the repeat of message %d is answered %s", i, status)
			}
		}
		other := s.login("bob")
		other.send("1 QUERY ima=bob@example.com")
		other.expect("1 100 <rest>")
		other.expect("1 200 <rest>")

		time.Sleep(protocol.RepeatWindow + 2*generationSpan)
		alice = s.login("alice")
		if status := send(full); status != "200" {
			t.Errorf("once the memory is free again a message is answered %s", status)
		}
	})
}

// What is remembered is counted at what it takes.
func TestUsageOfAcceptedMessages(t *testing.T) {
	checkUsage(t, func(_ *Server, x *session) {
		x.conn.Init(netio.Stream{Base: &sink{}, Transport: &sink{}}, x, &x.server.network)
		x.in.startListening()
		for i := range uint64(100_000) {
			x.Deliver(&protocol.Message{
				From: x.client.User, To: x.client.User, ID: fmt.Sprint(i), Deadline: time.Now().Add(time.Minute),
			}, func(protocol.Outcome) {})
			reportAll(x.in.onAnswer(nil, i+1, protocol.StatusOK, "", time.Now()))
		}
	})
}
