package router

import (
	"fmt"
	"testing"
	"testing/synctest"

	"simpd/protocol"
)

// allPairs asks about bob and 99 others by 100 users of another site.
func allPairs() (q protocol.WatchRequest) {
	q.Addresses = []protocol.Address{addr("bob@example.com")}
	for i := range 100 {
		q.By = append(q.By, addr(fmt.Sprintf("w%d@two.example", i)))
		if i > 0 {
			q.Addresses = append(q.Addresses, addr(fmt.Sprintf("u%d@example.com", i)))
		}
	}
	return q
}

// A routing connection may ask about as many pairs at once as it may watch. Each
// is answered for itself, in the order asked.
func TestManyPairsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "n1")
		bob, c, q := s.listen("bob", "n1"), s.routing("two.example", "n1"), allPairs()
		for who, may := range map[string]protocol.Permission{"@two.example": protocol.Allow, "w7@two.example": protocol.Deny} {
			pattern, _ := protocol.ParsePattern(who)
			if err := bob.SetRule(t.Context(), protocol.Rule{Who: pattern, Presence: may}); err != nil {
				t.Fatal(err)
			}
		}
		check := func(at []protocol.Notice, _ uint64) {
			if len(at) != protocol.MaxPairs {
				t.Fatalf("%d pairs are answered", len(at))
			}
			for i, n := range at {
				of, by := q.Addresses[i/100], q.By[i%100]
				if n.Address != of || len(n.By) != 1 || n.By[0] != by || n.State.Listening() != (i < 100 && i != 7) {
					t.Fatalf("answer %d is %s %s by %v, want %s by %s", i, n.Address, n.State, n.By, of, by)
				}
			}
		}
		at, index, err := c.Connection.Query(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		check(at, index)
		if err := c.Connection.Watch(t.Context(), q, check); err != nil {
			t.Fatal(err)
		}
		c.Connection.Unwatch(protocol.WatchRequest{Addresses: q.Addresses, By: q.By[1:]})
		if n := len(c.watched); n != 100 {
			t.Errorf("%d pairs are watched, not those of one watcher", n)
		}
		c.Connection.Unwatch(q)
		if n := s.nodes["n1"].hub.watchCount; n != 0 {
			t.Errorf("%d pairs are watched still", n)
		}
		c.Close()
		bob.Close()
	})
}

// What changes while very many are being watched is told once, after the answer.
func TestChangeWhileManyAreWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "n1")
		bob, c, q := s.listen("bob", "n1"), s.routing("two.example", "n1"), allPairs()
		who, _ := protocol.ParsePattern("@two.example")
		if err := bob.SetRule(t.Context(), protocol.Rule{Who: who, Presence: protocol.Allow}); err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() {
			_, err := bob.SetState(t.Context(), protocol.Busy, nil)
			done <- err
		}()
		var shown protocol.State
		if err := c.Connection.Watch(t.Context(), q, func(at []protocol.Notice, _ uint64) { shown = at[0].State }); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if told := c.heard(); (shown == protocol.Busy) != (len(told) == 0) {
			t.Errorf("shown as %s, and then %v", shown, told)
		}
		c.Close()
		bob.Close()
	})
}
