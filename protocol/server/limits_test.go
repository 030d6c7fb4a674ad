package server

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"simpd/protocol"
)

// Each limit of the contract, on both of its sides.

func TestLimitLine(t *testing.T) {
	play(t, nil, func(s *stage) {
		c := s.login("alice")
		c.send("1 PING x=%s", strings.Repeat("x", protocol.MaxLine-len("1 PING x=\r\n")))
		c.expect("1 200")
		c.send("1 PING x=%s", strings.Repeat("x", protocol.MaxLine-len("1 PING x=\r\n")+1))
		c.expect("* BYE status=400 :no CRLF within 4096 octets")
		c.expectEnd()
	})
}

func TestLimitMessage(t *testing.T) {
	const size = 64 << 10
	play(t, nil, func(s *stage) {
		bob, alice := s.listen("bob"), s.login("alice")
		fits := strings.Repeat("x", size)
		alice.write("1 SEND to=bob@example.com {65536}\r\n" + fits)
		tag, entity := bob.message()
		if entity != fits {
			t.Error("the largest message did not arrive as it was")
		}
		bob.send("%s 200", tag)
		alice.expect("1 200 <rest>")
		alice.write("2 SEND to=bob@example.com {65537}\r\n" + fits + "x3 PI")
		alice.expect("2 413 id=<any> :the message has 65537 octets: 65536 are allowed")
		alice.write("NG\r\n") // only now: it is answered at once, perhaps before the SEND
		alice.expect("3 200")
		alice.write("4 SEND to=bob@example.com {1048576}\r\n" + strings.Repeat(fits, 16))
		alice.expect("4 413 id=<any> :<rest>")
		alice.write("5 SEND to=bob@example.com {1048577}\r\n")
		alice.expect("* BYE status=413 :the literal is far too large")
		alice.expectEnd()
		bob.expectNothing(time.Second)
	})
}

func TestLimitRecipients(t *testing.T) {
	play(t, nil, func(s *stage) {
		c := s.login("alice")
		to := func(n int) (all string) {
			for i := range n {
				all += fmt.Sprintf(" to=u%d@example.com", i)
			}
			return all
		}
		c.send("1 SEND%s {0}", to(64))
		for range 64 {
			c.expect("1 100 to=<any> status=404 :<rest>")
		}
		c.expect("1 404 id=<any> :no such user")
		c.send("2 SEND%s {0}", to(65))
		c.expect("2 413 id=<any> :u64@example.com is one recipient too many: 64 are allowed")
	})
}

func TestLimitTexts(t *testing.T) {
	fits, over := strings.Repeat("x", 256), strings.Repeat("x", 257)
	play(t, nil, func(s *stage) {
		c := s.dial()
		c.send("1 HELLO version=SIMP/1.0 agent=%s", over)
		c.expect("1 400 :agent has more than 256 octets")
		c.send("1 HELLO version=SIMP/1.0 agent=%s", fits)
		c.expect("1 200 <rest>")
		c.send("a AUTH mech=PLAIN data=%s", plainData("alice", "secret"))
		c.expect("a 200 <rest>")
		c.send("2 LISTEN note=%s", over)
		c.expect("2 400 :note has more than 256 octets")
		c.send("2 LISTEN note=%s", fits)
		c.expect("2 200 <rest>")
		c.send("3 STATE state=away note=%s", over)
		c.expect("3 400 :note has more than 256 octets")
		c.send("4 CONTACT ima=bob@example.com name=%s", over)
		c.expect("4 400 :name has more than 256 octets")
		c.send("4 CONTACT ima=bob@example.com name=%s", fits)
		c.expect("4 200")
		for n, status := range map[int]string{64: "480", 65: "400"} {
			c.send("5 SEND to=bob@example.com id=%s {0}", strings.Repeat("i", n))
			c.expect("5 %s <rest>", status)
		}
	})
}

// 1024 requests may be unanswered; PING is answered whatever is.
func TestLimitRequests(t *testing.T) {
	play(t, nil, func(s *stage) {
		s.listen("bob")
		c := s.login("alice")
		synctest.Wait() // AUTH counts for a moment after its answer
		for i := range protocol.MaxRequests {
			c.write(fmt.Sprintf("%d SEND to=bob@example.com {0}\r\n", i))
		}
		c.send("a SEND to=bob@example.com {0}")
		c.expect("a 429 id=<any> retry=1 :too much is unanswered on this connection")
		c.send("b PING")
		c.expect("b 200")
		time.Sleep(protocol.DefaultTimeout)
		for range protocol.MaxRequests {
			c.expect("<any> 201 id=<any> :handed over, but no answer came")
		}
		c.send("d QUERY ima=bob@example.com")
		c.expect("d 100 <rest>")
		c.expect("d 200 <rest>")
	})
}

// A session holds 1024 messages unanswered.
func TestRule9Messages(t *testing.T) {
	play(t, nil, func(s *stage) {
		bob, alice, carol := s.listen("bob"), s.login("alice"), s.login("carol")
		for i := range protocol.MaxUnanswered {
			alice.write(fmt.Sprintf("%d SEND to=bob@example.com timeout=1 {1}\r\nx", i))
		}
		synctest.Wait()
		carol.write("1 SEND to=bob@example.com {1}\r\nx\r\n")
		carol.expect("1 481 id=<any> :<rest>")
		tag, _ := bob.message()
		bob.send("%s 200", tag)
		alice.expect("0 200 <rest>")
		carol.write("2 SEND to=bob@example.com timeout=1 {1}\r\nx\r\n")
		time.Sleep(2 * time.Second) // all but the first are in doubt now, and unanswered still
		carol.expect("2 201 <rest>")
		carol.write("3 SEND to=bob@example.com {1}\r\nx\r\n")
		carol.expect("3 481 <rest>")
		bob.drainMessages(protocol.MaxUnanswered)
		time.Sleep(protocol.RepeatWindow - 10*time.Second)
		bob.send("1 PING")
		bob.expect("1 200")
		time.Sleep(10 * time.Second)
		carol.write("4 SEND to=bob@example.com {1}\r\nx\r\n")
		tag, _ = bob.message()
		bob.send("%s 200", tag)
		carol.expect("4 200 <rest>")
	})
}

func (c *client) drainMessages(n int) {
	c.Helper()
	for range n {
		c.message()
	}
}

// A session holds 4 MiB unanswered.
func TestRule9Octets(t *testing.T) {
	play(t, nil, func(s *stage) {
		bob, alice, carol := s.listen("bob"), s.login("alice"), s.login("carol")
		entity := strings.Repeat("x", 64<<10)
		for i := range 64 {
			alice.write(fmt.Sprintf("%d SEND to=bob@example.com timeout=60 {65536}\r\n%s", i, entity))
		}
		synctest.Wait()
		bob.drainMessages(64)
		carol.write("1 SEND to=bob@example.com {1}\r\nx\r\n")
		carol.expect("1 481 id=<any> :<rest>")
		carol.write("2 SEND to=bob@example.com {0}\r\n")
		time.Sleep(time.Second)
		bob.send("m1 486")
		alice.expect("0 486 <rest>")
		carol.write("3 SEND to=bob@example.com {1}\r\nx\r\n")
		time.Sleep(time.Second)
		bob.message() // the empty one
		tag, _ := bob.message()
		bob.send("%s 200", tag)
		carol.expect("3 200 <rest>")
	})
}
