package router

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"simpd/protocol"
)

func addresses(names []string) []protocol.Address {
	var all []protocol.Address
	for _, n := range names {
		all = append(all, addr(n+"@example.com"))
	}
	return all
}

// watch watches users and returns what the 100 lines said.
func (c *client) watch(t *testing.T, names ...string) (lines []string) {
	t.Helper()
	err := c.Watch(t.Context(), protocol.WatchRequest{Addresses: addresses(names)}, func(at []protocol.Notice, _ uint64) {
		for _, n := range at {
			lines = append(lines, fmt.Sprintf("%s %s", n.Address.Local(), n.State))
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

func (c *client) query(t *testing.T, fresh bool, name string) protocol.State {
	t.Helper()
	at, _, err := c.Query(t.Context(), protocol.WatchRequest{Addresses: addresses([]string{name}), Fresh: fresh})
	if err != nil {
		t.Fatal(err)
	}
	return at[0].State
}

func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "n1", "n2")
		s.listen("bob", "n1")
		alice := s.login("alice", "n2")
		if got, want := alice.watch(t, "bob", "carol", "zoe"), []string{"bob available", "carol deaf", "zoe deaf"}; !slices.Equal(got, want) {
			t.Errorf("WATCH shows %v, want %v", got, want)
		}
		carol := s.listen("carol", "n1")
		carol.Close()
		if got, want := alice.heard(), []string{"carol available ", "carol deaf "}; !slices.Equal(got, want) {
			t.Errorf("heard %v, want %v", got, want)
		}
		alice.Unwatch(protocol.WatchRequest{Addresses: addresses([]string{"carol"})})
		s.listen("carol", "n1")
		if got := alice.heard(); len(got) != 0 {
			t.Errorf("after UNWATCH heard %v", got)
		}
	})
}

func TestRulesAreChangesForTheWatcher(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "n1", "n2")
		bob := s.listen("bob", "n1")
		alice := s.login("alice", "n2")
		alice.watch(t, "bob")
		who, _ := protocol.ParsePattern("@example.com")
		deny := protocol.Rule{Who: who, Presence: protocol.Deny}
		if err := bob.SetRule(t.Context(), deny); err != nil {
			t.Fatal(err)
		}
		if got := alice.query(t, true, "bob"); got != protocol.Deaf {
			t.Errorf("a forbidden watcher's QUERY says %v", got)
		}
		if got := bob.query(t, true, "bob"); got != protocol.Available {
			t.Errorf("a user may always watch themselves, but QUERY says %v", got)
		}
		if _, err := bob.SetState(t.Context(), protocol.Busy, nil); err != nil {
			t.Fatal(err)
		}
		if err := bob.SetRule(t.Context(), protocol.Rule{Who: who}); err != nil {
			t.Fatal(err)
		}
		if got, want := alice.heard(), []string{"bob deaf ", "bob busy "}; !slices.Equal(got, want) {
			t.Errorf("heard %v, want %v", got, want)
		}
	})
}

func TestWatchLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "n1")
		alice := s.login("alice", "n1")
		var names []string
		for i := range protocol.MaxWatched {
			names = append(names, fmt.Sprintf("u%d", i))
		}
		alice.watch(t, names...)
		alice.watch(t, names[0]) // again is allowed
		err := alice.Watch(t.Context(), protocol.WatchRequest{Addresses: addresses([]string{"one-more"})}, nil)
		if refusal, ok := err.(*protocol.Error); !ok || refusal.Status != protocol.StatusTooLarge {
			t.Errorf("address %d: %v, want 413", protocol.MaxWatched+1, err)
		}
	})
}

func TestWatchers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "n1", "n2", "n3")
		bob := s.listen("bob", "n1")
		for _, id := range []string{"n1", "n2"} {
			s.login("alice", id).watch(t, "bob")
		}
		s.login("carol", "n2").watch(t, "bob")
		by, partial, err := bob.Watchers(t.Context())
		if want := addresses([]string{"alice", "carol"}); err != nil || partial || !slices.Equal(by, want) {
			t.Errorf("%v %v %v, want %v", by, partial, err, want)
		}
		s.nodes["n3"].dead.Store(true)
		if _, partial, _ = bob.Watchers(t.Context()); !partial {
			t.Error("a node did not answer, and partial is not said")
		}
	})
}

func TestStaleAndFresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "n1", "n2")
		bob := s.listen("bob", "n2")
		alice := s.login("alice", "n1")
		alice.watch(t, "bob")
		s.setCut("n1", true)
		time.Sleep(staleAfter - 2*quorumCheckInterval)
		if got := alice.heard(); len(got) != 0 {
			t.Errorf("before 3 s heard %v", got)
		}
		if got := alice.query(t, false, "bob"); got != protocol.Available {
			t.Errorf("before 3 s QUERY says %v", got)
		}
		time.Sleep(4 * quorumCheckInterval)
		if got := alice.query(t, false, "bob"); got != protocol.Unknown {
			t.Errorf("while stale QUERY says %v", got)
		}
		if got := alice.watch(t, "carol"); got[0] != "carol unknown" {
			t.Errorf("while stale WATCH says %v", got)
		}
		if _, err := bob.SetState(t.Context(), protocol.Away, nil); err != nil {
			t.Fatal(err)
		}
		bob.Close()
		s.setCut("n1", false)
		time.Sleep(2 * quorumCheckInterval)
		heard := alice.heard()
		if len(heard) < 2 || heard[0] != "stale" || heard[1] != "fresh" {
			t.Fatalf("heard %v, want stale and then fresh first", heard)
		}
		if !slices.Contains(heard, "carol deaf ") {
			t.Errorf("heard %v: what was unknown is shown", heard)
		}
		heard = slices.DeleteFunc(heard[2:], func(s string) bool { return s == "carol deaf " })
		if want := []string{"bob away ", "bob deaf "}; !slices.Equal(heard, want) {
			t.Errorf("missed changes: heard %v, want %v", heard, want)
		}
	})
}

// Whoever was shown as unknown is shown with the index of their own change,
// not with that of the moment at which it became known.
func TestKnownAgainWithTheIndexOfTheChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "n1", "n2")
		bob, carol := s.listen("bob", "n2"), s.login("carol", "n2")
		alice := s.login("alice", "n1")
		_, index, err := carol.Listen(t.Context(), protocol.ListenRequest{State: protocol.Available})
		if err != nil {
			t.Fatal(err)
		}
		s.setCut("n1", true)
		time.Sleep(staleAfter + quorumCheckInterval)
		if got := alice.watch(t, "carol"); got[0] != "carol unknown" {
			t.Fatalf("while stale WATCH says %v", got)
		}
		if _, err := bob.SetState(t.Context(), protocol.Away, nil); err != nil {
			t.Fatal(err)
		}
		s.setCut("n1", false)
		time.Sleep(2 * quorumCheckInterval)
		if heard := alice.heard(); !slices.Contains(heard, "carol available ") {
			t.Fatalf("heard %v", heard)
		}
		alice.mu.Lock()
		defer alice.mu.Unlock()
		if got := alice.newest[addr("carol@example.com")]; got != index {
			t.Errorf("carol is shown with index %d, and listens since %d", got, index)
		}
	})
}

func TestCutOffSaysBye(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "n1", "n2")
		bob, alice := s.listen("bob", "n1"), s.login("alice", "n1")
		s.setCut("n1", true)
		time.Sleep(disconnectAfter - 2*quorumCheckInterval)
		want(t, "between own sessions until 10 s", alice.send(t, "bob", "m1"), protocol.StatusOK)
		if s.nodes["n1"].Refuse() != "" {
			t.Error("refuses before 10 s")
		}
		time.Sleep(4 * quorumCheckInterval)
		if got := bob.heard(); !slices.Contains(got, "bye 503") {
			t.Errorf("after 10 s heard %v", got)
		}
		if s.nodes["n1"].Refuse() == "" {
			t.Error("new connections are not refused after 10 s")
		}
		s.setCut("n1", false)
		time.Sleep(2 * quorumCheckInterval)
		if why := s.nodes["n1"].Refuse(); why != "" {
			t.Errorf("it is back, and refuses: %s", why)
		}
	})
}

// What a login is checked against costs the same whether there is such a
// user or not, and is the same at each call.
func TestCredentialsOfNobodyCostNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "n1", "n2")
		cost := map[string]float64{}
		for _, name := range []string{"bob", "nobody"} {
			a := addr(name + "@example.com")
			here, known := s.nodes["n1"].Credentials(a)
			there, _ := s.nodes["n2"].Credentials(a)
			if !reflect.DeepEqual(here, there) || known != (name == "bob") || len(here.Salt) != 16 || here.Iterations < protocol.MinScramIterations {
				t.Errorf("%s is checked against %+v here, %+v there; known: %v", name, here, there, known)
			}
			cost[name] = testing.AllocsPerRun(100, func() { s.nodes["n1"].Credentials(a) })
		}
		if cost["bob"] != cost["nobody"] {
			t.Errorf("a known user costs %v allocations, an unknown one %v", cost["bob"], cost["nobody"])
		}
	})
}
