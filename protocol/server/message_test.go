package server

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"simpd/protocol"
	"simpd/protocol/server/internal/netio"
)

// reluctant is a listening user whose client has room for few octets.
func (s *stage) reluctant(name string) *client {
	s.Helper()
	c := s.connect(64)
	c.expect("* HELLO <rest>")
	c.login(name)
	c.send("l LISTEN")
	c.expect("l 200 <rest>")
	return c
}

// Rule 5: in the order sent.
func TestRule5Order(t *testing.T) {
	play(t, nil, func(s *stage) {
		bob, alice := s.listen("bob"), s.login("alice")
		var all strings.Builder
		for i := range 500 {
			fmt.Fprintf(&all, "%d SEND to=bob@example.com {3}\r\n%03d", i, i)
		}
		alice.write(all.String())
		for i := range 500 {
			tag, entity := bob.message()
			if want := fmt.Sprintf("%03d", i); entity != want {
				t.Fatalf("got %s, want %s", entity, want)
			}
			bob.send("%s 200", tag)
		}
		for i := range 500 {
			alice.expect("%d 200 <rest>", i)
		}
	})
}

// Rule 6: a repeat that is still unanswered is served by that one answer; a
// refused one is sent again; each session has its own memory.
func TestRule6Repeats(t *testing.T) {
	play(t, nil, func(s *stage) {
		bob, alice, carol := s.listen("bob"), s.login("alice"), s.login("carol")
		alice.write("1 SEND to=bob@example.com id=x timeout=1 {1}\r\nx")
		tag, _ := bob.message()
		alice.expect("1 201 <rest>")
		alice.write("2 SEND to=bob@example.com id=x {1}\r\nx")
		alice.write("3 SEND to=bob@example.com id=x {1}\r\ny")
		alice.expect("3 409 <rest>")
		carol.write("1 SEND to=bob@example.com id=x {1}\r\ny") // another sender's id is another
		other, entity := bob.message()
		if entity != "y" {
			t.Errorf("got %q", entity)
		}
		bob.send("%s 486", other)
		carol.expect("1 486 <rest>")
		bob.send("%s 200", tag)
		alice.expect("2 200 <rest>")
		carol.write("2 SEND to=bob@example.com id=x {1}\r\ny") // it was refused, so it is sent again
		other, _ = bob.message()
		bob.send("%s 200", other)
		carol.expect("2 200 <rest>")

		time.Sleep(protocol.RepeatWindow - 10*time.Second)
		bob.send("1 PING")
		bob.expect("1 200")
		alice.write("4 SEND to=bob@example.com id=x {1}\r\nx")
		alice.expect("4 200 <rest>")
		bob.expectNothing(2 * time.Minute)
		alice.write("5 SEND to=bob@example.com id=x {1}\r\nx") // the window is over
		tag, _ = bob.message()
		bob.send("%s 200", tag)
		alice.expect("5 200 <rest>")
	})
}

// The id that the server made may be used for a repeat too.
func TestRule6ServersID(t *testing.T) {
	play(t, nil, func(s *stage) {
		bob, alice := s.listen("bob"), s.login("alice")
		alice.write("1 SEND to=bob@example.com timeout=1 {1}\r\nx")
		tag, _ := bob.message()
		line := alice.expect("1 201 id=<any> :<rest>")
		bob.send("%s 200", tag)
		synctest.Wait()
		id := strings.TrimPrefix(strings.Fields(line)[2], "id=")
		alice.write("2 SEND to=bob@example.com id=" + id + " {1}\r\nx")
		alice.expect("2 200 <rest>")
		bob.expectNothing(time.Second)
	})
}

// The memory of what was accepted ends with the session.
func TestRule6MemoryEndsWithTheSession(t *testing.T) {
	play(t, nil, func(s *stage) {
		bob, alice := s.listen("bob"), s.login("alice")
		for i := range 2 {
			alice.write(fmt.Sprintf("%d SEND to=bob@example.com id=x {1}\r\nx", i))
			tag, _ := bob.message()
			bob.send("%s 200", tag)
			alice.expect("%d 200 <rest>", i)
			bob.send("u UNLISTEN")
			bob.expect("u 200 <rest>")
			bob.send("l LISTEN")
			bob.expect("l 200 <rest>")
		}
	})
}

// Rule 7, as far as a session goes: each receives the message, the first 200
// is the answer.
func TestRule7SeveralSessions(t *testing.T) {
	play(t, nil, func(s *stage) {
		one, two, alice := s.listen("bob"), s.listen("bob"), s.login("alice")
		alice.write("1 SEND to=bob@example.com {1}\r\nx")
		tag1, _ := one.message()
		tag2, _ := two.message()
		one.send("%s 486", tag1)
		two.send("%s 200", tag2)
		alice.expect("1 200 <rest>")
		alice.write("2 SEND to=bob@example.com {1}\r\nx")
		tag1, _ = one.message()
		two.message()
		one.send("%s 486", tag1)
		_ = two.Close()
		alice.expect("2 201 <rest>")
	})
}

// UNLISTEN: what is not begun is not written any more, and certainly not
// delivered; what is begun may still be answered.
func TestUNLISTENDropsWhatIsNotBegun(t *testing.T) {
	play(t, nil, func(s *stage) {
		bob, alice := s.reluctant("bob"), s.login("alice")
		big := strings.Repeat("x", 100)
		alice.write("1 SEND to=bob@example.com {100}\r\n" + big)
		synctest.Wait()
		alice.write("2 SEND to=bob@example.com {1}\r\ny")
		synctest.Wait()
		bob.send("u UNLISTEN")
		alice.expect("2 480 <rest>")
		tag, entity := bob.message()
		if entity != big {
			t.Errorf("got %q", entity)
		}
		bob.expect("u 200 <rest>")
		bob.send("%s 200", tag)
		alice.expect("1 200 <rest>")
		alice.write("3 SEND to=bob@example.com {1}\r\nz")
		alice.expect("3 480 <rest>")
		bob.expectNothing(time.Second)
	})
}

func TestExclusiveDisplaces(t *testing.T) {
	play(t, nil, func(s *stage) {
		one, two, alice := s.reluctant("bob"), s.login("bob"), s.login("alice")
		alice.write("1 SEND to=bob@example.com {100}\r\n" + strings.Repeat("x", 100))
		synctest.Wait()
		alice.write("2 SEND to=bob@example.com {1}\r\ny")
		synctest.Wait()
		two.send("1 LISTEN mode=exclusive")
		two.expect("1 200 <rest>")
		alice.expect("2 480 <rest>")
		tag, _ := one.message()
		one.expect("* UNLISTENED :another session listens exclusively")
		one.send("%s 200", tag)
		alice.expect("1 200 <rest>")
		one.send("1 STATE state=away")
		one.expect("1 409 <rest>")
		one.send("2 LISTEN")
		one.expect("2 200 <rest>")
	})
}

// Changes that a slow reader has not read give way to newer ones, and the
// newest arrives; none comes before the state that it follows.
func TestPresenceIsMerged(t *testing.T) {
	play(t, nil, func(s *stage) {
		alice, bob := s.connect(64), s.listen("bob")
		alice.expect("* HELLO <rest>")
		alice.login("alice")
		alice.send("1 WATCH ima=bob@example.com")
		alice.expect("1 100 <rest>")
		alice.expect("1 200 <rest>")
		long := strings.Repeat("x", 200)
		set := func(n int) {
			bob.send("%d STATE state=away note=n%d%s", n, n, long)
			bob.expect("%d 200 <rest>", n)
			synctest.Wait()
		}
		const many = netio.MergeFrom/300 + 50 // changes: more than are kept
		for n := range many {
			set(n)
		}
		alice.send("2 QUERY ima=bob@example.com")
		synctest.Wait()
		for n := range 50 {
			set(many + n)
		}
		shown := 0
		for ; shown < many/2; shown++ { // each of them, as long as not too much waits
			alice.expect("* PRESENCE <rest> note=n%d%s <rest>", shown, long)
		}
		for line := ""; !strings.Contains(line, fmt.Sprintf("note=n%d%s", many-1, long)); shown++ {
			line = alice.line()
		}
		if shown >= many {
			t.Error("nothing was merged")
		}
		alice.expect("2 100 <rest> note=n%d%s <rest>", many-1, long)
		alice.expect("2 200 <rest>")
		alice.expect("* PRESENCE <rest> note=n%d%s <rest>", many+49, long)
		alice.expectNothing(time.Second)
	})
}

// Requests that wait for the site do not stop the reading, keep their order,
// and are answered within 10 s.
func TestSlowSite(t *testing.T) {
	play(t, nil, func(s *stage) {
		c := s.login("alice")
		s.site.slow = make(chan struct{})
		started := time.Now()
		c.write("1 LISTEN\r\n2 STATE state=away\r\n3 SEND to=bob@example.com {0}\r\n4 PING\r\n")
		c.expect("4 200")
		c.expect("1 503 :<rest>")
		c.expect("2 409 :this session does not listen")
		c.expect("3 480 <rest>")
		if took := time.Since(started); took < requestTime || took > protocol.RequestTimeout {
			t.Errorf("they were answered after %v", took)
		}
		c.write("5 LISTEN\r\n6 STATE state=away\r\n")
		synctest.Wait()
		close(s.site.slow)
		c.expect("5 200 <rest>")
		c.expect("6 200 <rest>")
		s.site.slow = nil
	})
}

// The sender is who is authenticated. Whoever claims otherwise is ignored.
func TestSenderIsAuthenticated(t *testing.T) {
	play(t, nil, func(s *stage) {
		bob, alice := s.listen("bob"), s.login("alice")
		alice.write("1 SEND from=carol@example.com to=bob@example.com {35}\r\nFrom: carol@example.com\r\n\r\nit's me!")
		bob.expect("m1 MESSAGE from=alice@example.com to=bob@example.com <rest>")
	})
}
