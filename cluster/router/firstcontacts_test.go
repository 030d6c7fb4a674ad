package router

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"simpd/cluster/ratelimit"
	"simpd/protocol"
	"simpd/protocol/rate"
)

// contactLimits limit first contacts as simpd does by default.
func contactLimits() (l ratelimit.Limits) {
	l[ratelimit.FirstContactsByStranger] = rate.NewLimit(0.5, 30)
	l[ratelimit.FirstContactsByDomain] = rate.NewLimit(5, 300)
	return l
}

// admits reports whether from may write to user i of the site.
func (c *client) admits(from string, i int) bool {
	c.Connection.ownMeters()
	return c.Connection.takeContact(addr(from), addr(fmt.Sprintf("u%d@example.com", i))) == 0
}

func TestStrangers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const newToSender, newToDomain, strangerWindow = 30, 300, time.Minute
		s := newSite(t, "n1")
		s.nodes["n1"].limits.SetLimits(contactLimits())
		two, three, four := s.routing("two.example", "n1"), s.routing("three.example", "n1"), s.routing("four.example", "n1")
		eve := "eve@two.example"
		for i := range newToSender {
			if !two.admits(eve, i) {
				t.Fatalf("recipient %d is one too many", i)
			}
		}
		if two.admits(eve, newToSender) || two.admits("Eve@two.example", newToSender) {
			t.Error("one more is admitted")
		}
		if !two.admits(eve, 3) || !two.admits("mallory@two.example", newToSender) {
			t.Error("who is known, or another sender, is not admitted")
		}
		time.Sleep(strangerWindow)
		if !two.admits(eve, newToSender) {
			t.Error("nothing is forgotten after a minute")
		}
		admitted := 0
		for i := range 2 * newToDomain {
			if three.admits(fmt.Sprintf("m%d@three.example", i), i) {
				admitted++
			}
		}
		if admitted != newToDomain || !four.admits("x@four.example", 0) {
			t.Errorf("%d of one domain were admitted", admitted)
		}
		sub := s.routing("a.three.example", "n1")
		if sub.admits("m@a.three.example", 0) {
			t.Error("a subdomain counts for itself")
		}
		time.Sleep(contactMemory)
		two.admits(eve, 100)
		if known := &s.nodes["n1"].firstContacts; !known.isKnown(contactGroup{domain: "two.example"}, pair{addr(eve), addr("u3@example.com")}) {
			t.Error("who wrote an hour ago is forgotten")
		}
		for _, c := range []*client{two, three, four, sub} {
			c.Close()
		}
	})
}

// Contacts through a group are not new to one another.
func TestContactsOfGroupsAreKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "n1")
		s.raiseSchema()
		var l ratelimit.Limits
		l[ratelimit.FirstContactsByUser] = rate.NewLimit(0.001, 1)
		s.nodes["n1"].limits.SetLimits(l)
		s.must(putGroup("Sales", "alice", "u0", "u1", "u2"))
		alice := s.login("alice", "n1")
		for i := range 4 {
			if !alice.admits("alice@example.com", i) {
				t.Errorf("recipient %d is not admitted", i)
			}
		}
		if alice.admits("alice@example.com", 4) {
			t.Error("a second stranger is admitted")
		}
	})
}

// The wait that a 429 names is true.
func TestTheWaitOfAFirstContactIsTrue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "n1")
		var l ratelimit.Limits
		l[ratelimit.FirstContactsByUser] = rate.NewLimit(0.1, 2)
		s.nodes["n1"].limits.SetLimits(l)
		alice := s.listen("alice", "n1")
		defer alice.Close()
		say := func(to string) protocol.Outcome {
			got := make(chan protocol.Outcome, 1)
			alice.Send(&protocol.SendRequest{To: []protocol.Address{addr(to)}, ID: "1", Received: time.Now(), Timeout: time.Minute, Done: func(_ int, o protocol.Outcome) { got <- o }})
			return <-got
		}
		for _, c := range []struct {
			to   string
			want protocol.Status
		}{{"bob@example.com", 480}, {"carol@example.com", 480}, {"bob@example.com", 480}, {"dave@example.com", 429}} {
			if o := say(c.to); o.Status != c.want {
				t.Errorf("%s: %v", c.to, o)
			}
		}
		o := say("dave@example.com")
		if o.Retry != 10 {
			t.Errorf("retry after %d s", o.Retry)
		}
		time.Sleep(time.Duration(o.Retry) * time.Second)
		if o := say("dave@example.com"); o.Status != protocol.StatusUnknownAddress {
			t.Errorf("after that: %v", o)
		}
	})
}

// The recipient's contacts do not decide who is new: a 429 tells nobody who has
// them as a contact.
func TestALimitDoesNotTellWhoHasTheSenderAsAContact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "n1")
		l := contactLimits()
		l[ratelimit.FirstContactsByStranger] = rate.NewLimit(0.1, 1)
		l[ratelimit.FirstContactsByUser] = rate.NewLimit(0.1, 1)
		s.nodes["n1"].limits.SetLimits(l)
		bob, alice := s.listen("bob", "n1"), s.listen("alice", "n1")
		for _, who := range []string{"eve@two.example", "alice@example.com"} {
			if err := bob.SetContact(t.Context(), protocol.Contact{Address: addr(who)}); err != nil {
				t.Fatal(err)
			}
		}
		two := s.routing("two.example", "n1")
		for from, c := range map[string]*client{"eve@two.example": two, "alice@example.com": alice} {
			c.Connection.ownMeters()
			if c.Connection.takeContact(addr(from), addr("carol@example.com")) > 0 || c.Connection.takeContact(addr(from), addr("bob@example.com")) == 0 {
				t.Errorf("%s: the limit of one does not hold for who has the sender as a contact", from)
			}
		}
		two.Close()
		alice.Close()
		bob.Close()
	})
}

// A user's own contacts are not new to them, in whatever form they are written.
func TestOnesOwnContactsAreNotNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "n1")
		var l ratelimit.Limits
		l[ratelimit.FirstContactsByUser] = rate.NewLimit(0.1, 1)
		s.nodes["n1"].limits.SetLimits(l)
		alice := s.listen("alice", "n1")
		defer alice.Close()
		alice.Connection.ownMeters()
		to := func(user string) bool {
			return alice.Connection.takeContact(addr("alice@example.com"), addr(user)) == 0
		}
		if err := alice.SetContact(t.Context(), protocol.Contact{Address: addr("Eve@two.example")}); err != nil {
			t.Fatal(err)
		}
		if !to("carol@example.com") || !to("eve@two.example") || !to("Eve@two.example") || to("bob@example.com") {
			t.Error("the limit of one, or the contact, does not hold")
		}
	})
}

// Who fills the memory of acquaintances forgets their own, not others'.
func TestADomainForgetsItsOwnStrangersOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s knownContacts
		s.init()
		two, three := contactGroup{domain: "two.example"}, contactGroup{domain: "three.example"}
		p := pair{addr("eve@two.example"), addr("bob@example.com")}
		s.remember(two, p)
		for i := range 2 * maxKnownContacts {
			s.remember(three, pair{addr("m@a.three.example"), addr(fmt.Sprintf("u%d@example.com", i))})
		}
		if s.pairs > maxKnownContacts+1 {
			t.Errorf("%d pairs are remembered", s.pairs)
		}
		if !s.isKnown(two, p) {
			t.Error("another domain's acquaintances were forgotten")
		}
	})
}

// A source has limits of its own, whatever users come from it.
func TestSourcesAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "n1")
		var l ratelimit.Limits
		l[ratelimit.MessagesBySource] = rate.NewLimit(1, 3)
		l[ratelimit.LoginsBySource] = rate.NewLimit(1, 6)
		s.nodes["n1"].limits.SetLimits(l)
		login := func(user, source string, shared bool) (*client, error) {
			account, _ := s.nodes["n1"].config.Table.Account(addr(user))
			c := &client{who: protocol.Client{User: addr(user), Credential: account.Generation(), Remote: netip.MustParseAddrPort(source), SharesSource: shared}}
			u, err := s.nodes["n1"].Login(t.Context(), c)
			c.Connection = u
			return c, err
		}
		var all []*client
		for _, c := range []struct {
			user, source string
			shared       bool
			admitted     int
		}{
			{"alice@example.com", "[2a00:1:2:3::1]:1", false, 2},
			{"bob@example.com", "[2a00:1:2:3::2]:1", false, 1},
			{"carol@example.com", "[2a00:1:2:4::1]:1", false, 3},
			{"carol@example.com", "[2a00:1:2:3::3]:1", true, 9},
		} {
			u, err := login(c.user, c.source, c.shared)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, u)
			for i := range c.admitted {
				if u.TakeMessages(protocol.Address{}, 1) != 0 {
					t.Errorf("%+v: message %d is refused", c, i)
				}
			}
		}
		if all[0].TakeMessages(protocol.Address{}, 1) == 0 || all[3].TakeMessages(protocol.Address{}, 1) != 0 {
			t.Error("the source is not limited, or one that many share is")
		}
		for range 4 {
			u, err := login("bob@example.com", "[2a00:1:2:3::2]:1", false)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, u)
		}
		var refused *protocol.Error
		if _, err := login("bob@example.com", "[2a00:1:2:3::9]:1", false); !errors.As(err, &refused) || refused.Status != protocol.StatusSlowDown || refused.Retry != 1 {
			t.Errorf("the seventh login: %v", err)
		}
		for _, u := range all {
			u.Close()
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

// Each user of another site has a limit on watches, in whatever form the name is
// written, besides that of the domain.
func TestWatchesOfStrangersAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "n1")
		var l ratelimit.Limits
		l[ratelimit.WatchesByUser] = rate.NewLimit(1, 10)
		l[ratelimit.WatchesByDomain] = rate.NewLimit(1, 30)
		s.nodes["n1"].limits.SetLimits(l)
		two := s.routing("two.example", "n1")
		defer two.Close()
		take := func(n int, by ...string) bool {
			var all []protocol.Address
			for _, a := range by {
				all = append(all, addr(a+"@two.example"))
			}
			return two.TakeWatches(all, n) == 0
		}
		if !take(10, "eve") || take(1, "eve") || take(1, "Eve") || take(2, "mallory", "EVE") {
			t.Error("the limit of one user does not hold")
		}
		if !take(20, "mallory", "trudy") || take(1, "oscar") {
			t.Error("the limit of the domain does not hold, or counts what was refused")
		}
	})
}
