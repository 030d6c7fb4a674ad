package router

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"simpd/protocol"
)

// crowdOf connects n clients of alice that watch bob.
func (s *site) crowdOf(n int) (all []*client) {
	for range n {
		c := s.login("alice", "n1")
		c.watch(s.t, "bob")
		all = append(all, c)
	}
	return all
}

// tellSince tells node n1 of a quiet site the changes after index, and returns the newest.
func (s *site) tellSince(index uint64) uint64 {
	events, ok := s.nodes["n1"].config.Table.Events(index, 10_000)
	if !ok || len(events) == 0 {
		s.t.Fatal("no events")
	}
	for i := range events {
		s.nodes["n1"].dispatchEvent(&events[i])
	}
	return events[len(events)-1].Index
}

// countTold returns how many were told something, and sees that all were told
// the same, no more often than that, in the order of their indexes.
func countTold(t *testing.T, all []*client, most int, last string) (told int) {
	t.Helper()
	for i, c := range all {
		heard := c.heard()
		if len(heard) == 0 {
			continue
		}
		told++
		if len(heard) > most || heard[len(heard)-1] != last {
			t.Fatalf("client %d heard %v; the newest is %q", i, heard, last)
		}
		if c.disorder != "" {
			t.Fatalf("client %d heard of %s", i, c.disorder)
		}
	}
	return told
}

func TestManyWatchersAreToldInTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newQuietSite(t, "n1")
		h := &s.nodes["n1"].hub
		bob, carol := s.listen("bob", "n1"), s.listen("carol", "n1")
		crowd := s.crowdOf(5 * fanoutTurnSize)
		friend := s.login("alice", "n1")
		friend.watch(t, "carol")
		at := s.nodes["n1"].config.Table.Index()
		mustSetState(t, bob, protocol.Busy)
		mustSetState(t, carol, protocol.Busy)
		at = s.tellSince(at)
		if got := friend.heard(); !slices.Equal(got, []string{"carol busy "}) {
			t.Errorf("while many are to be told of another's change: %v", got)
		}
		if told := countTold(t, crowd, 1, "bob busy "); told > fanoutTurnSize {
			t.Errorf("%d watchers were told in one turn", told)
		}
		h.runNextTurn()
		if told := countTold(t, crowd, 1, "bob busy "); told != fanoutTurnSize {
			t.Errorf("a turn told %d watchers", told)
		}
		for i := range 100 { // each of which ends the turns of the one before
			mustSetState(t, bob, []protocol.State{protocol.Away, protocol.Available}[i%2])
			at = s.tellSince(at)
		}
		for i := 0; i < len(crowd); i += 7 { // some go, in whose place others are put
			crowd[i].Close()
			crowd[i] = s.login("alice", "n1")
			crowd[i].watch(t, "bob")
		}
		for h.runNextTurn() {
		}
		told := countTold(t, crowd, 101, "bob available ")
		if want := len(crowd) - (len(crowd)+6)/7; told < want {
			t.Errorf("%d of %d were told the newest", told, want)
		}
		if len(h.fanouts) != 0 || len(h.queue) != 0 {
			t.Errorf("%d walks, %d of them in the queue, when all is told", len(h.fanouts), len(h.queue))
		}
	})
}

func mustSetState(t *testing.T, c *client, state protocol.State) {
	t.Helper()
	if _, err := c.SetState(t.Context(), state, nil); err != nil {
		t.Fatal(err)
	}
}

// Users who change all the time, with many watchers, have turns one after the
// other.
func TestChangingUsersHaveTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newQuietSite(t, "n1")
		h := &s.nodes["n1"].hub
		bob, carol := s.listen("bob", "n1"), s.listen("carol", "n1")
		var crowd []*client
		for range 2 * fanoutTurnSize {
			c := s.login("alice", "n1")
			c.watch(t, "bob", "carol")
			crowd = append(crowd, c)
		}
		at := s.nodes["n1"].config.Table.Index()
		mustSetState(t, bob, protocol.Busy)
		at = s.tellSince(at)
		mustSetState(t, carol, protocol.Busy)
		at = s.tellSince(at)
		for range 4 {
			mustSetState(t, bob, protocol.Away)
			mustSetState(t, bob, protocol.Busy)
			at = s.tellSince(at)
			h.runNextTurn()
		}
		for i, c := range crowd {
			if heard := c.heard(); !slices.Contains(heard, "carol busy ") {
				t.Fatalf("while bob changed all the time client %d heard only %v", i, heard)
			}
		}
	})
}

// A rule is told in turns as well.
func TestRulesAreToldInTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "n1")
		bob := s.listen("bob", "n1")
		crowd := s.crowdOf(3 * fanoutTurnSize)
		who, _ := protocol.ParsePattern("@example.com")
		for _, step := range []struct {
			rule protocol.Permission
			want string
		}{{protocol.Deny, "bob deaf "}, {protocol.Unset, "bob available "}} {
			if err := bob.SetRule(t.Context(), protocol.Rule{Who: who, Presence: step.rule}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if told := countTold(t, crowd, 1, step.want); told != len(crowd) {
				t.Errorf("%d of %d were told: %s", told, len(crowd), step.want)
			}
		}
	})
}

// However many changes come at a time, and however many watch, nobody misses one.
func TestNoChangeIsMissed(t *testing.T) {
	for _, watchers := range []int{1, fanoutTurnSize, 2*fanoutTurnSize + 1} {
		synctest.Test(t, func(t *testing.T) {
			s := newQuietSite(t, "n1")
			bob := s.listen("bob", "n1")
			crowd := s.crowdOf(watchers)
			at := s.nodes["n1"].config.Table.Index()
			const changes = 100
			for i := range changes {
				mustSetState(t, bob, []protocol.State{protocol.Busy, protocol.Away}[i%2])
			}
			s.tellSince(at)
			for s.nodes["n1"].hub.runNextTurn() {
			}
			for i, c := range crowd {
				if heard := c.heard(); len(heard) != changes || c.disorder != "" {
					t.Fatalf("client %d of %d heard of %d changes of %d %s", i, watchers, len(heard), changes, c.disorder)
				}
			}
		})
	}
}

// A remote domain is told of one user no more often than its own users would be
// told of one of its users; all who watch there are told the newest.
func TestRemoteDomainsAreToldSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "n1")
		bob, carol := s.listen("bob", "n1"), s.listen("carol", "n1")
		who, _ := protocol.ParsePattern("@two.example")
		for _, c := range []*client{bob, carol} {
			if err := c.SetRule(t.Context(), protocol.Rule{Who: who, Presence: protocol.Allow}); err != nil {
				t.Fatal(err)
			}
		}
		by := make([]protocol.Address, 30)
		for i := range by {
			by[i] = addr(fmt.Sprintf("user%d@two.example", i))
		}
		var remote []*client
		for range 2 {
			c := s.routing("two.example", "n1")
			err := c.Watch(t.Context(), protocol.WatchRequest{Addresses: addresses([]string{"bob", "carol"}), By: by}, func([]protocol.Notice, uint64) {})
			if err != nil {
				t.Fatal(err)
			}
			remote = append(remote, c)
		}
		flap := func(n int, last protocol.State) {
			for i := range n - 1 {
				mustSetState(t, bob, []protocol.State{protocol.Busy, protocol.Available}[i%2])
				synctest.Wait()
			}
			mustSetState(t, bob, last)
		}
		flap(200, protocol.Away)
		mustSetState(t, carol, protocol.Away) // another user has their own limit
		for i, c := range remote {
			heard := c.heard()
			if len(heard) > 22 || heard[len(heard)-1] != "carol away " {
				t.Errorf("connection %d heard %d notices of 200 changes at once, at the end %q", i, len(heard), heard[len(heard)-1])
			}
		}
		time.Sleep(2 * time.Second)
		for i, c := range remote {
			if heard := c.heard(); !slices.Equal(heard, []string{"bob away "}) || c.named()%len(by) != 0 {
				t.Errorf("connection %d heard %v, for %d watchers in all", i, heard, c.named())
			}
			if c.disorder != "" {
				t.Errorf("connection %d heard of %s", i, c.disorder)
			}
		}
		for range 10 {
			flap(100, protocol.Busy)
			time.Sleep(time.Second)
		}
		if _, err := bob.Unlisten(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		if heard := remote[0].heard(); len(heard) > 12 || heard[len(heard)-1] != "bob deaf " {
			t.Errorf("in 12 s %d notices, at the end %q", len(heard), heard[len(heard)-1])
		}
		for _, c := range remote {
			c.Close()
		}
		if h := &s.nodes["n1"].hub; len(h.limits) != 0 {
			t.Errorf("%d limits for nobody", len(h.limits))
		}
	})
}
