package router

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"simpd/protocol"
	"simpd/protocol/rate"
)

func TestStrangers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const newToSender, newToDomain, strangerWindow = 30, 300, time.Minute
		s := firstContactLimiter{limit: rate.NewLimit(0.5, newToSender)}
		to := func(i int) protocol.Address { return addr(fmt.Sprintf("u%d@example.com", i)) }
		eve := addr("eve@two.example")
		for i := range newToSender {
			if !s.admit(eve, to(i)) {
				t.Fatalf("recipient %d is one too many", i)
			}
		}
		if s.admit(eve, to(newToSender)) || s.admit(addr("Eve@two.example"), to(newToSender)) {
			t.Error("one more is admitted")
		}
		if !s.admit(eve, to(3)) || !s.admit(addr("mallory@two.example"), to(newToSender)) {
			t.Error("who is known, or another sender, is not admitted")
		}
		time.Sleep(strangerWindow)
		if !s.admit(eve, to(newToSender)) {
			t.Error("nothing is forgotten after a minute")
		}
		admitted := 0
		for i := range 2 * newToDomain {
			if s.admit(addr(fmt.Sprintf("m%d@three.example", i)), to(i)) {
				admitted++
			}
		}
		if admitted != newToDomain || !s.admit(addr("x@four.example"), to(0)) {
			t.Errorf("%d of one domain were admitted", admitted)
		}
		time.Sleep(contactMemory)
		s.admit(eve, to(100))
		s.mu.Lock()
		defer s.mu.Unlock()
		if d := s.domains["two.example"]; !s.isKnownLocked(d, pair{eve, to(3)}) {
			t.Error("who wrote an hour ago is forgotten")
		}
	})
}

// Another limit holds at once, and what was used up before counts.
func TestTheLimitOfFirstContactsCanBeChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := firstContactLimiter{limit: rate.NewLimit(1, 2)}
		eve, n := addr("eve@two.example"), 0
		admits := func() (admitted int) {
			for range 10 {
				if n++; s.admit(eve, addr(fmt.Sprintf("u%d@example.com", n))) {
					admitted++
				}
			}
			return admitted
		}
		for _, step := range []struct {
			limit    rate.Limit
			admitted int
		}{{rate.NewLimit(1, 2), 2}, {rate.NewLimit(1, 5), 3}, {rate.Unlimited, 10}, {rate.NewLimit(1, 5), 0}} {
			s.setLimit(step.limit)
			if got := admits(); got != step.admitted {
				t.Errorf("with %v %d are admitted, not %d", step.limit, got, step.admitted)
			}
		}
		s.setLimit(rate.NewLimit(1, 1)) // whose burst comes in a second
		time.Sleep(time.Second)
		if got := admits(); got != 1 {
			t.Errorf("a second after the limit was raised %d are admitted, not 1", got)
		}
	})
}

// Who fills the memory of acquaintances forgets their own, not others'.
func TestADomainForgetsItsOwnStrangersOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := firstContactLimiter{limit: rate.NewLimit(1e6, 1e6)}
		eve := addr("eve@two.example")
		s.admit(eve, addr("bob@example.com"))
		for i := range 2 * maxKnownContacts {
			s.admit(addr("m@a.three.example"), addr(fmt.Sprintf("u%d@example.com", i)))
		}
		if s.pairs > maxKnownContacts+1 {
			t.Errorf("%d pairs are remembered", s.pairs)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if !s.isKnownLocked(s.domains["two.example"], pair{eve, addr("bob@example.com")}) {
			t.Error("another domain's acquaintances were forgotten")
		}
		if s.domains["three.example"] == nil {
			t.Error("a subdomain counts for itself")
		}
	})
}

// routing is a connection of another site's.
func (s *site) routing(domain, id string) *client {
	s.t.Helper()
	c := &client{who: protocol.Client{Domain: domain, Agent: "test"}}
	u, err := s.nodes[id].Login(s.t.Context(), c)
	if err != nil {
		s.t.Fatal(err)
	}
	c.Connection = u
	return c
}

// One change is one notice for as many watchers of a routing connection as fit
// a line, and the watched user's rules hold for each.
func TestOneNoticeForManyWatchers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "n1")
		bob := s.listen("bob", "n1")
		who, _ := protocol.ParsePattern("@two.example")
		if err := bob.SetRule(t.Context(), protocol.Rule{Who: who, Presence: protocol.Allow}); err != nil {
			t.Fatal(err)
		}
		eve, _ := protocol.ParsePattern("w7@two.example")
		if err := bob.SetRule(t.Context(), protocol.Rule{Who: eve, Presence: protocol.Deny}); err != nil {
			t.Fatal(err)
		}
		c := s.routing("two.example", "n1")
		var by []protocol.Address
		for i := range 500 {
			by = append(by, addr(fmt.Sprintf("w%d@two.example", i)))
		}
		err := c.Connection.Watch(t.Context(), protocol.WatchRequest{Addresses: []protocol.Address{addr("bob@example.com")}, By: by}, func(at []protocol.Notice, _ uint64) {
			for _, n := range at {
				if want := n.By[0] != addr("w7@two.example"); want != n.State.Listening() {
					t.Errorf("%s sees %s", n.By[0], n.State)
				}
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		c.heard()
		if _, err := bob.SetState(t.Context(), protocol.Busy, nil); err != nil {
			t.Fatal(err)
		}
		if told := c.heard(); len(told) < 2 || len(told) > 10 {
			t.Errorf("500 watchers were told in %d notices", len(told))
		}
		if got := c.named(); got != 499 || strings.Contains(fmt.Sprint(c.by), "w7@") {
			t.Errorf("%d watchers were named", got)
		}
		c.Close()
		bob.Close()
	})
}
