package server

import (
	"fmt"
	"io"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// from dials from another source.
func (s *stage) from(source string) *client {
	old := s.source
	defer func() { s.source = old }()
	s.source = netip.MustParseAddrPort(source)
	return s.dial()
}

// serveOthers checks that somebody who holds nothing is served: small requests
// and a large message.
func (s *stage) serveOthers(name string) {
	s.Helper()
	c := s.from("198.51.100.7:4711").login(name)
	c.send("1 LISTEN")
	c.expect("1 200 <rest>")
	c.send("2 QUERY ima=%s@example.com", name)
	c.expect("2 100 <rest>")
	c.expect("2 200 <rest>")
	c.write(fmt.Sprintf("3 SEND to=%s@example.com {40000}\r\n%s", name, strings.Repeat("x", 40000)))
	tag, _ := c.message()
	c.send("%s 200", tag)
	c.expect("3 200 <rest>")
	c.send("4 QUIT")
	c.expect("4 200")
	c.expectEnd()
}

// flood writes, and reports whether the server has not cut the connection.
func (c *client) flood(octets string) bool {
	_, err := io.WriteString(c.Conn, octets)
	return err == nil
}

// Many sessions of one user that ask for much and read nothing harm nobody
// else, and hold no more than their share.
func TestSlowReadersOfOneUserHarmNobody(t *testing.T) {
	play(t, func(c *Config) { c.MaxHeld = 8 << 20 }, func(s *stage) {
		query := "1 QUERY"
		for i := range 120 {
			query += fmt.Sprintf(" ima=a-user-of-long-name-%d@example.com", i)
		}
		for range 20 {
			c := s.connect(64)
			c.expect("* HELLO <rest>")
			c.login("alice")
			for range 200 {
				if !c.flood(query[:min(len(query), 4000)] + "\r\n") {
					break
				}
			}
		}
		synctest.Wait()
		if held := s.server.Held(); held > 4<<20 {
			t.Errorf("one user holds %d octets of %d", held, 8<<20)
		}
		s.serveOthers("bob")
	})
}

// Sessions that take messages and never read harm nobody else; a message that
// sixteen sessions hold counts once.
func TestSilentSessionsHarmNobody(t *testing.T) {
	play(t, func(c *Config) { c.MaxHeld = 16 << 20 }, func(s *stage) {
		for range 16 {
			c := s.connect(64)
			c.expect("* HELLO <rest>")
			c.login("bob").send("l LISTEN")
			c.expect("l 200 <rest>")
		}
		alice := s.login("alice")
		big := strings.Repeat("x", 64<<10)
		for i := range 60 {
			alice.write(fmt.Sprintf("%d SEND to=bob@example.com timeout=1 {65536}\r\n%s", i, big))
			alice.expect("%d <any> <rest>", i)
		}
		if held := s.server.Held(); held > 6<<20 {
			t.Errorf("%d octets are held for messages of at most 4 MiB", held)
		}
		s.serveOthers("carol")
	})
}

// Connections that are not authenticated pay for all answers, those to PING and
// to wrong lines too, and are cut off where they read none.
func TestUnreadAnswersBeforeAUTH(t *testing.T) {
	for _, junk := range []string{"1 PING\r\n", "1 \r\n", "1 DANCE\r\n", "1 AUTH mech=X data=" + strings.Repeat("x", 4000) + "\r\n"} {
		play(t, func(c *Config) { c.MaxHeld = 8 << 20 }, func(s *stage) {
			for range 40 {
				c := s.connect(64)
				c.expect("* HELLO <rest>")
				for range 20_000 {
					if !c.flood(junk) {
						break
					}
					if len(junk) > 1000 {
						_ = c.Close()
						break
					}
				}
			}
			synctest.Wait()
			if held := s.server.Held(); held > 8<<20 {
				t.Errorf("%q: %d octets are held", junk[:6], held)
			}
			s.serveOthers("bob")
		})
	}
}

// Section 2: before AUTH 8 requests may be unanswered, and 64 KiB.
func TestLimitsBeforeAUTH(t *testing.T) {
	play(t, nil, func(s *stage) {
		c := s.dial()
		c.send("h HELLO version=SIMP/1.0")
		c.expect("h 200 <rest>")
		for range cap(s.server.hasher) { // no password can be checked
			s.server.hasher <- struct{}{}
		}
		defer func() {
			for range cap(s.server.hasher) {
				<-s.server.hasher
			}
		}()
		c.send("0 AUTH mech=PLAIN data=%s", plainData("alice", "secret"))
		for i := 1; i < maxEarlyRequests; i++ {
			c.send("0 MORE data=%d", i)
		}
		c.send("n MORE data=x")
		c.expect("n 429 retry=1 :<rest>")
	})
}

// A literal counts as it comes, and is dropped where it is more than the share.
func TestUnfinishedLiteralsCount(t *testing.T) {
	play(t, func(c *Config) { c.MaxHeld = 1 << 20 }, func(s *stage) {
		half := strings.Repeat("x", 60000)
		all := make([]*client, 8)
		for i := range all {
			all[i] = s.login("alice")
			all[i].write("1 SEND id=mine to=bob@example.com {65536}\r\n" + half)
			synctest.Wait()
		}
		if held := s.server.Held(); held < 200_000 || held > 400_000 {
			t.Errorf("%d octets are counted", held)
		}
		all[7].write(strings.Repeat("x", 5536))
		all[7].expect("1 429 id=mine retry=1 :<rest>")
		s.serveOthers("carol")
		for _, c := range all {
			_ = c.Close()
		}
		time.Sleep(2 * time.Second)
		if held := s.server.Held(); held != 0 {
			t.Errorf("%d octets are still counted", held)
		}
	})
}
