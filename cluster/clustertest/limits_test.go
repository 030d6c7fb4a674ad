package clustertest

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"simpd/cluster/ratelimit"
	"simpd/protocol"
	"simpd/protocol/rate"
)

// TestOneSenderOnThreeNodes: a user who sends at all nodes of a site at ten
// times the limit gets the limit, within 10 %, also after a node was away.
func TestOneSenderOnThreeNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const perSecond, burst = 20, 40
		c := Config{Nodes: 3}
		c.Limits[ratelimit.MessagesByUser] = rate.NewLimit(perSecond, burst)
		s := New(t, c)
		bob := s.Login(1, "bob")
		if _, _, err := bob.Listen(protocol.ListenRequest{}); err != nil {
			t.Fatal(err)
		}
		alice := []*Client{s.Login(1, "alice"), s.Login(2, "alice"), s.Login(3, "alice")}
		attack := func(length time.Duration, nodes int) (early, all int) {
			began := time.Now()
			for i := 0; time.Since(began) < length; i++ {
				if c := alice[i%nodes]; c.TakeMessages(protocol.Address{}, 1) == 0 {
					if o := c.Say("bob", "hello"); o.Status != protocol.StatusOK {
						t.Fatalf("%+v", o)
					}
					all++
				}
				if time.Since(began) < 500*time.Millisecond {
					early = all
				}
				time.Sleep(time.Second / (10 * perSecond))
			}
			return early, all
		}
		check := func(when string, length time.Duration, early, all int) {
			t.Helper()
			want := burst + perSecond*length.Seconds()
			if float64(all) > 1.1*want || float64(all) < 0.9*want {
				t.Errorf("%s: %d messages in %v, %d of them in the first 500 ms; want %.0f", when, all, length, early, want)
			}
		}
		early, all := attack(20*time.Second, 3)
		check("three nodes", 20*time.Second, early, all)
		if got := len(bob.Got()); got != all {
			t.Errorf("%d of %d came", got, all)
		}
		s.Isolate(3)
		time.Sleep(7 * time.Second) // in which the site notices
		early, all = attack(20*time.Second, 2)
		if all > 1.1*(burst+perSecond*20) {
			t.Errorf("with a node away: %d messages", all)
		}
		_ = early
		s.Rejoin(3)
		time.Sleep(10 * time.Second)
		alice[2] = s.Login(3, "alice")
		early, all = attack(20*time.Second, 3)
		check("when it is back", 20*time.Second, early, all)
	})
}

// TestInventedSenders: 10,000 users that another site invents write to one
// user, at all nodes. What reaches the inbox is the budget of that site, and
// nobody else is refused.
func TestInventedSenders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const perSecond, burst, seconds = 5, 300, 20
		c := Config{Nodes: 3}
		c.Limits[ratelimit.FirstContactsByStranger] = rate.NewLimit(0.5, 30)
		c.Limits[ratelimit.FirstContactsByDomain] = rate.NewLimit(perSecond, burst)
		c.Limits[ratelimit.MessagesByUser] = rate.NewLimit(100, 2000)
		c.Limits[ratelimit.MessagesByDomain] = rate.NewLimit(10000, 200000)
		s := New(t, c)
		bob := s.Login(1, "bob")
		if _, _, err := bob.Listen(protocol.ListenRequest{}); err != nil {
			t.Fatal(err)
		}
		evil := []*Client{s.LoginDomain(1, "evil.example"), s.LoginDomain(2, "evil.example"), s.LoginDomain(3, "evil.example")}
		honest, carol := s.LoginDomain(2, "honest.example"), s.Login(3, "carol")
		outcomes := map[protocol.Status]int{}
		for i := range 10_000 {
			from := fmt.Sprintf("m%d@evil.example", i)
			o := evil[i%3].SayFrom(from, "bob", "buy this")
			outcomes[o.Status]++
			if o.Status == protocol.StatusSlowDown && o.Retry <= 0 {
				t.Fatalf("%+v does not say when to try again", o)
			}
			if i%500 == 0 {
				if o := honest.SayFrom(fmt.Sprintf("h%d@honest.example", i%25), "bob", "hello"); o.Status != protocol.StatusOK {
					t.Errorf("another site's user: %+v", o)
				}
				if o := carol.Say("bob", "hello"); o.Status != protocol.StatusOK {
					t.Errorf("a user of the site: %+v", o)
				}
			}
			time.Sleep(seconds * time.Second / 10_000)
		}
		if got, most := outcomes[protocol.StatusOK], burst+perSecond*seconds; float64(got) > 1.1*float64(most) || float64(got) < 0.9*float64(most) {
			t.Errorf("%v: %d came of a budget of %d", outcomes, got, most)
		}
		if len(outcomes) != 2 {
			t.Errorf("outcomes %v", outcomes)
		}
	})
}
