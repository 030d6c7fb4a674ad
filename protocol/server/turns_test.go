package server

import (
	"net/netip"
	"testing"
	"time"

	"simpd/protocol"
	"simpd/protocol/server/internal/sasl"
	"simpd/protocol/transcript"
)

// A login that is paced is answered in its turn, by each mechanism and by
// PASSWD; meanwhile the connection lives.
func TestPacedLoginsWaitForTheirTurn(t *testing.T) {
	play(t, nil, func(s *stage) {
		in := s.login("alice")
		s.site.turns = make(chan struct{})
		c := s.greeted()
		c.send("1 AUTH mech=PLAIN data=%s", plainData("alice", "secret"))
		c.send("2 PING")
		c.expect("2 200")
		c.expectNothing(turnTimeout - time.Second)
		s.site.turns <- struct{}{}
		c.expect("1 200 ima=alice@example.com")

		in.send("3 PASSWD data=%s", b64("secret\x00better"))
		in.expectNothing(time.Second)
		s.site.turns <- struct{}{}
		in.expect("3 200")

		d := s.greeted()
		answer := make(chan string)
		go func() { answer <- d.scram(sasl.NameScram, "better", nil) }()
		s.site.turns <- struct{}{}
		if line := <-answer; !transcript.Fits("a 200 <rest>", line) {
			t.Error(line)
		}
	})
}

// A turn that does not come is a 429, and no failure.
func TestPacedLoginsAreRefusedInTime(t *testing.T) {
	play(t, nil, func(s *stage) {
		s.site.turns = make(chan struct{})
		c := s.greeted()
		began := time.Now()
		c.send("1 AUTH mech=PLAIN data=%s", plainData("alice", "secret"))
		c.expect("1 429 retry=6 :too many failed logins")
		if took := time.Since(began); took != turnTimeout {
			t.Errorf("refused after %v", took)
		}
		if n := len(s.site.attempts); n != 0 {
			t.Errorf("%d failures are counted", n)
		}
	})
}

// The site is told who failed and who came in, and whether the source is one
// that many share.
func TestAttemptsAreTold(t *testing.T) {
	exempt := func(c *Config) { c.Exempt = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")} }
	play(t, exempt, func(s *stage) {
		for i, source := range []string{"192.0.2.1:1", "198.51.100.1:1"} {
			s.source = netip.MustParseAddrPort(source)
			c := s.greeted()
			c.send("1 AUTH mech=PLAIN data=%s", plainData("alice", "wrong"))
			c.expect("1 401 <rest>")
			c.send("2 AUTH mech=PLAIN data=%s", plainData("alice", "secret"))
			c.expect("2 200 <rest>")
			want := protocol.Attempt{Principal: protocol.Principal{User: address(t, "alice@example.com")}, Source: s.source.Addr(), Exempt: i == 1}
			if s.site.attempts[i] != want || s.site.succeeded[i] != want {
				t.Errorf("failed %+v, succeeded %+v, want %+v", s.site.attempts[i], s.site.succeeded[i], want)
			}
		}
	})
}
