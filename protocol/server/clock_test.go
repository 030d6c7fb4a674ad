package server

import (
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestIdlePING(t *testing.T) {
	play(t, nil, func(s *stage) {
		c := s.login("alice")
		started := time.Now()
		c.expect("p1 PING")
		if took := time.Since(started); took < 300*time.Second || took > 301*time.Second {
			t.Errorf("PING came after %v", took)
		}
		time.Sleep(pingTimeout - time.Second)
		c.send("p1 200")
		c.expectNothing(299 * time.Second)
		c.expect("p2 PING")
		c.send("p1 200") // it answers another
		c.send("1 PING") // nor is this an answer
		c.expect("1 200")
		c.expect("* BYE status=481 :PING was not answered within 30s")
		c.expectEnd()
		if took := time.Since(started); took > 660*time.Second {
			t.Errorf("the end came after %v", took)
		}
	})
}

func TestIdleIsAsConfigured(t *testing.T) {
	play(t, func(c *Config) { c.Idle = 20 * time.Second }, func(s *stage) {
		c := s.dial()
		c.send("1 HELLO version=SIMP/1.0")
		c.expect("1 200 <rest> idle=20 <rest>")
		c.send("a AUTH mech=PLAIN data=%s", plainData("alice", "secret"))
		c.expect("a 200 <rest>")
		for range 3 { // whatever comes is a sign of life
			time.Sleep(15 * time.Second)
			c.write("\r\n")
		}
		c.expectNothing(19 * time.Second)
		c.expect("p1 PING")
	})
}

// Who writes an octet a second is closed within 30 s, in a line and in a
// literal, and wherever the literal begins.
func TestSlowWriters(t *testing.T) {
	for name, begin := range map[string]string{
		"line": "", "literal": "1 SEND to=bob@example.com {60000}\r\n", "dropped literal": "1 LISTEN {60000}\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			play(t, nil, func(s *stage) {
				c := s.login("alice")
				started := time.Now()
				var writing sync.WaitGroup
				writing.Go(func() {
					text := begin + strings.Repeat("x", 60)
					for i := range text {
						if _, err := c.Write([]byte{text[i]}); err != nil {
							return
						}
						time.Sleep(time.Second)
					}
				})
				c.expect("* BYE status=400 :a line or its literal comes too slowly")
				c.expectEnd()
				if took := time.Since(started); took > 30*time.Second {
					t.Errorf("it was closed after %v", took)
				}
				_ = c.Close()
				writing.Wait()
			})
		})
	}
}

// A literal that comes slowly but steadily is read.
func TestSlowLiteralIsRead(t *testing.T) {
	play(t, nil, func(s *stage) {
		c := s.login("alice")
		c.write("1 SEND to=bob@example.com {60000}\r\n")
		for range 300 {
			c.write(strings.Repeat("x", 200))
			time.Sleep(time.Second)
		}
		c.expect("1 480 <rest>")
	})
}

// Rule 4: each SEND is answered within its timeout and a second, even where
// the site says nothing; and the message of which nothing is written by then
// is dropped, which is certain.
func TestRule4Timeout(t *testing.T) {
	play(t, nil, func(s *stage) {
		bob := s.connect(64) // whose client reads nothing after its login
		bob.expect("* HELLO <rest>")
		bob.login("bob")
		bob.send("l LISTEN")
		bob.expect("l 200 <rest>")
		alice := s.login("alice")
		started := time.Now()
		alice.write("1 SEND to=bob@example.com timeout=2 {100}\r\n" + strings.Repeat("x", 100))
		synctest.Wait()
		alice.write("2 SEND to=bob@example.com timeout=2 {1}\r\ny")
		alice.expect("1 201 <rest>") // some of it is on its way
		alice.expect("2 481 <rest>") // none of it is
		if took := time.Since(started); took > 3*time.Second {
			t.Errorf("they were answered after %v", took)
		}
		if _, entity := bob.message(); entity != strings.Repeat("x", 100) {
			t.Errorf("got %q", entity)
		}
		bob.expectNothing(time.Second)
		bob.send("m1 200")
		alice.write("3 SEND to=bob@example.com timeout=2 {1}\r\nz")
		tag, _ := bob.message()
		bob.send("%s 200", tag)
		alice.expect("3 200 <rest>")
	})
}

func TestRule4TheSiteSaysNothing(t *testing.T) {
	play(t, nil, func(s *stage) {
		alice := s.login("alice")
		s.site.mute = true
		started := time.Now()
		alice.send("1 SEND to=bob@example.com to=carol@example.com timeout=1 id=x {0}")
		alice.expect("1 100 to=bob@example.com status=201")
		alice.expect("1 100 to=carol@example.com status=201")
		alice.expect("1 201 id=x :<rest>")
		if took := time.Since(started); took > 2*time.Second {
			t.Errorf("it was answered after %v", took)
		}
	})
}

// A client that reads nothing is cut off after 10 s, and nobody waits
// for it.
func TestClientThatDoesNotRead(t *testing.T) {
	play(t, nil, func(s *stage) {
		bob := s.connect(64)
		bob.expect("* HELLO <rest>")
		bob.login("bob")
		bob.send("l LISTEN")
		bob.expect("l 200 <rest>")
		alice := s.login("alice")
		for range 20 {
			alice.write("1 SEND to=bob@example.com timeout=60 {100}\r\n" + strings.Repeat("x", 100))
		}
		started := time.Now()
		alice.send("2 PING")
		alice.expect("2 200")
		if time.Since(started) > 0 {
			t.Error("somebody waited for a client that does not read")
		}
		statuses := map[string]int{}
		for range 20 {
			statuses[alice.line()[:5]]++
		}
		if statuses["1 201"] != 1 || statuses["1 480"] != 19 {
			t.Errorf("got %v, want one in doubt and the others certain", statuses)
		}
		if took := time.Since(started); took < blockedTimeout || took > blockedTimeout+2*time.Second {
			t.Errorf("it was cut off after %v", took)
		}
	})
}

// A client that asks and asks and reads none of the answers.
func TestClientThatOnlyAsks(t *testing.T) {
	play(t, nil, func(s *stage) {
		c := s.connect(1024)
		c.expect("* HELLO <rest>")
		c.login("alice")
		started := time.Now()
		for {
			if _, err := c.Write([]byte("1 PING\r\n")); err != nil {
				break
			}
			if time.Since(started) > 2*blockedTimeout {
				t.Fatal("it is still read from")
			}
			time.Sleep(time.Millisecond)
		}
	})
}
