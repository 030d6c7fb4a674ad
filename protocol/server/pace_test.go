package server

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"simpd/protocol"
	"simpd/protocol/rate"
)

// answersIn returns how many lines come within a time, not counting refusals of
// requests for which there is no room: their number depends on how fast the
// others are done.
func (c *client) answersIn(d time.Duration) (n int) {
	c.Helper()
	_ = c.SetReadDeadline(time.Now().Add(d))
	for {
		line, err := c.in.ReadString('\n')
		if err != nil {
			return n
		}
		if !strings.Contains(line, " 429 ") {
			n++
		}
	}
}

// Section 2: who sends more than a budget of errors is slowed down; fewer are
// answered at once.
func TestErrorsAreSlowed(t *testing.T) {
	for _, wrong := range []string{"1 DANCE", "1 ?", "1 SEND to=x {0}", "1 WATCH ima=bob@example.com x"} {
		play(t, nil, func(s *stage) {
			c := s.login("alice")
			c.write(strings.Repeat(wrong+"\r\n", 19))
			if n := c.answersIn(time.Millisecond); n != 19 {
				t.Errorf("%s: %d of 19 are answered at once", wrong, n)
			}
			go c.flood(strings.Repeat(wrong+"\r\n", 5000))
			if n := c.answersIn(10 * time.Second); n < 20 || n > 300 {
				t.Errorf("%s: %d errors are answered in 10 s", wrong, n)
			}
		})
	}
}

// Errors that are found aside are owed.
func TestErrorsFoundAsideAreSlowed(t *testing.T) {
	play(t, nil, func(s *stage) {
		c := s.login("alice")
		go c.flood(strings.Repeat("1 STATE state=away\r\n", 5000))
		if n := c.answersIn(50 * time.Second); n < 20 || n > protocol.MaxRequests+300 {
			t.Errorf("%d errors are answered in 50 s", n)
		}
	})
}

// Before AUTH little is taken, of whatever kind.
func TestLittleIsTakenBeforeAUTH(t *testing.T) {
	for _, junk := range []string{"1 PING\r\n", "1 DANCE\r\n", "1 PING x=" + strings.Repeat("x", 4000) + "\r\n", "* DANCE\r\n1 PING\r\n", "1 200\r\n1 PING\r\n"} {
		play(t, nil, func(s *stage) {
			c := s.dial()
			go c.flood(strings.Repeat(junk, 5000))
			if n := c.answersIn(10 * time.Second); n < 10 || n > 300 {
				t.Errorf("%.10q: %d are answered in 10 s", junk, n)
			}
		})
	}
}

// An honest client's requests are not slowed: a thousand at once.
func TestManyRequestsAtOnce(t *testing.T) {
	play(t, nil, func(s *stage) {
		s.listen("bob")
		c := s.login("alice")
		c.write(strings.Repeat("1 QUERY ima=bob@example.com\r\n", 1000))
		if n := c.answersIn(time.Millisecond); n != 2000 {
			t.Errorf("%d lines are answered at once", n)
		}
	})
}

// A user's limits hold for all their connections together, and remain when
// they reconnect; nobody else has them.
func TestLimitsOfAUser(t *testing.T) {
	play(t, func(c *Config) { c.Limits = Limits{Commands: rate.NewLimit(0.1, 3)} }, func(s *stage) {
		s.site.messages.limit = rate.NewLimit(0.1, 2)
		one, two := s.login("alice"), s.login("alice")
		for i := range 3 {
			one.send("%d CONTACT", i)
			one.expect("%d 200", i)
		}
		two.send("1 CONTACT")
		two.expect("1 429 retry=10 :too many requests of this user")
		two.send("2 PING")
		two.expect("2 200")
		one.send("q QUIT")
		one.expect("q 200")
		again := s.login("alice")
		again.send("1 CONTACT")
		again.expect("1 429 retry=10 :<rest>")
		two.send("3 SEND to=bob@example.com to=carol@example.com id=x {0}")
		two.expect("3 100 <rest>")
		two.expect("3 100 <rest>")
		two.expect("3 480 <rest>")
		again.send("4 SEND to=bob@example.com id=y {0}")
		again.expect("4 429 id=y retry=10 :<rest>")
		bob := s.login("bob")
		bob.send("1 CONTACT")
		bob.expect("1 200")
		time.Sleep(10 * time.Second)
		two.send("5 CONTACT")
		two.expect("5 200")
	})
}

// A list counts as one command and one more for each 50 lines, and is answered
// whole even if the limit is used up with it.
func TestLongListsCountAsManyCommands(t *testing.T) {
	const lines, lists = 2 * linesPerCommand, 4
	play(t, func(c *Config) { c.Limits = Limits{Commands: rate.NewLimit(0.1, lines+lists*3-2)} }, func(s *stage) {
		c := s.login("alice")
		for i := range lines {
			c.send("%d CONTACT ima=u%d@example.com", i, i)
			c.expect("%d 200", i)
		}
		for i := range lists {
			c.send("%d CONTACT", i)
			for range lines {
				c.expect("%d 100 <rest>", i)
			}
			c.expect("%d 200", i)
		}
		c.send("x CONTACT")
		c.expect("x 429 retry=30 <rest>")
	})
}

// Limits that are set later hold for who is connected, with what was used up
// before.
func TestLimitsCanBeChanged(t *testing.T) {
	play(t, func(c *Config) { c.Limits = Limits{Commands: rate.NewLimit(0.1, 1)} }, func(s *stage) {
		c := s.login("alice")
		answers := func(statuses ...int) {
			t.Helper()
			for i, status := range statuses {
				c.send("%d CONTACT", i)
				rest := ""
				if status == 429 {
					rest = " <rest>"
				}
				c.expect("%d %d%s", i, status, rest)
			}
		}
		answers(200, 429)
		s.server.SetLimits(Limits{Commands: rate.NewLimit(0.1, 3)})
		answers(200, 200, 429)
		s.server.SetLimits(Limits{})
		answers(200, 200, 200, 200, 200)
		s.server.SetLimits(Limits{Commands: rate.NewLimit(0.1, 1)})
		s.site.messages.limit = rate.NewLimit(0.1, 1)
		answers(429)
		c.send("1 SEND to=bob@example.com {0}")
		c.expect("1 480 <rest>")
		c.send("2 SEND to=bob@example.com {0}")
		c.expect("2 429 <rest>")
		// A debt of 50 s is one of a second where the new limit's burst comes in one.
		s.server.SetLimits(Limits{Commands: rate.NewLimit(0.1, 6)})
		answers(200, 200, 200, 200, 200, 429)
		s.server.SetLimits(Limits{Commands: rate.NewLimit(1, 1)})
		time.Sleep(time.Second)
		answers(200)
	})
}

// What one connection has pipelined is taken in turns.
func TestTurnIsBounded(t *testing.T) {
	s, x := newUsageSession(t)
	s.benchHeard(x, []byte(strings.Repeat("m1 200\r\n", 2000)))
	left := strings.Count(string(x.decoder.deferred.octets), "\n")
	if left < 2000-linesPerTurn || left == 2000 {
		t.Errorf("of 2000 lines %d are left", left)
	}
	for turns := 0; x.decoder.deferred != nil; turns++ {
		octets, _, _ := x.decoder.takeDeferred()
		s.benchHeard(x, octets)
		if turns > 2000/linesPerLook {
			t.Fatal("there is no end")
		}
	}
}

// The largest messages at full speed are not slowed.
func TestBulkIsNotSlowed(t *testing.T) {
	play(t, nil, func(s *stage) {
		bob, alice := s.listen("bob"), s.login("alice")
		big := strings.Repeat("x", 64<<10)
		began := time.Now()
		for i := range 500 {
			alice.write(fmt.Sprintf("%d SEND to=bob@example.com {65536}\r\n%s", i, big))
			tag, _ := bob.message()
			bob.send("%s 200", tag)
			alice.expect("%d 200 <rest>", i)
		}
		if took := time.Since(began); took > 0 {
			t.Errorf("32 MiB took %v of virtual time", took)
		}
	})
}
