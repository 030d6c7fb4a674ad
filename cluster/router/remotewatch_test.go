package router

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"simpd/protocol"
	"simpd/protocol/signature"
)

// otherSite is a Relay to one site whose users are as the test says.
type otherSite struct {
	mu      sync.Mutex
	silent  bool
	states  map[protocol.Address]protocol.State
	watches map[pair]func(protocol.Presence)
	begun   int
	refused []protocol.Address // whose messages were refused
	sent    int
	reports []protocol.Report
	onKeys  func(by, of protocol.Address, n protocol.KeyNotice)
	keys    map[protocol.Address][]signature.Key // of others than dave
}

func (o *otherSite) Refuse(m *protocol.Message, done func(protocol.Outcome)) {
	o.mu.Lock()
	o.refused = append(o.refused, m.From)
	o.mu.Unlock()
	done(protocol.Outcome{Status: protocol.StatusNotListening})
}

func (o *otherSite) Send(m *protocol.Message, done func(protocol.Outcome)) {
	o.mu.Lock()
	o.sent++
	o.mu.Unlock()
	done(protocol.Outcome{Status: protocol.StatusOK})
}

func (o *otherSite) Watch(by, of protocol.Address, tell func(protocol.Presence)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.begun++
	o.watches[pair{by, of}] = tell
	if !o.silent {
		now := o.presence(of)
		go tell(now)
	}
}

func (o *otherSite) presence(of protocol.Address) protocol.Presence {
	return protocol.Presence{Address: of, State: o.states[of]}
}

func (o *otherSite) Unwatch(by, of protocol.Address) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.watches, pair{by, of})
}

func (o *otherSite) Query(ctx context.Context, _, of protocol.Address) protocol.Presence {
	if o.silent {
		<-ctx.Done()
		return protocol.Presence{Address: of, State: protocol.Unknown}
	}
	return o.presence(of)
}

func (o *otherSite) change(of protocol.Address, s protocol.State, index uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for p, tell := range o.watches {
		if p.of == of {
			tell(protocol.Presence{Address: of, State: s, Since: time.Now(), Index: index})
		}
	}
}

// Keys returns one key of dave's, and no others.
func (o *otherSite) Keys(_ context.Context, q protocol.KeysRequest) ([]signature.Key, signature.Head, error) {
	if all := o.keys[q.Of]; len(all) > 0 {
		heads, err := signature.HeadsOf(q.Of.String(), all)
		if err != nil {
			return nil, signature.Head{}, err
		}
		return all, heads[len(heads)-1], nil
	}
	if q.Of.Local() != "Dave" {
		return nil, signature.Head{}, nil
	}
	return []signature.Key{{ID: "dave's"}}, signature.Head{1}, nil
}

func (o *otherSite) OnKeys(tell func(by, of protocol.Address, n protocol.KeyNotice)) { o.onKeys = tell }

func (o *otherSite) watched() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.watches)
}

// watchAny is client.watch for whole addresses.
func (c *client) watchAny(t *testing.T, names ...protocol.Address) (lines []string) {
	t.Helper()
	err := c.Watch(t.Context(), protocol.WatchRequest{Addresses: names}, func(at []protocol.Notice, _ uint64) {
		for _, n := range at {
			lines = append(lines, fmt.Sprintf("%s %s", n.Address, n.State))
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

func TestForeignPresence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "n1")
		dave := addr("Dave@two.example")
		other := &otherSite{states: map[protocol.Address]protocol.State{dave: protocol.Away}, watches: map[pair]func(protocol.Presence){}}
		s.nodes["n1"].config.Relay = other
		a, b := s.login("alice", "n1"), s.login("alice", "n1")
		for _, c := range []*client{a, b} {
			if got := c.watchAny(t, dave); got[0] != "Dave@two.example away" {
				t.Errorf("WATCH says %v", got)
			}
		}
		if other.begun != 1 {
			t.Errorf("%d upstream watches for one pair", other.begun)
		}
		other.change(dave, protocol.Busy, 7)
		other.change(dave, protocol.Unknown, 0)
		other.change(dave, protocol.Deaf, 0)
		for _, c := range []*client{a, b} {
			if got, want := c.heard(), []string{"Dave busy ", "Dave unknown ", "Dave deaf "}; !slices.Equal(got, want) {
				t.Errorf("heard %v, want %v", got, want)
			}
		}
		a.Close()
		if other.watched() != 1 {
			t.Error("the upstream watch ended while somebody watches")
		}
		b.Unwatch(protocol.WatchRequest{})
		if other.watched() != 0 {
			t.Error("the upstream watch goes on while nobody watches")
		}
	})
}

// Another site whose user changes all the time tells this site's watcher no more
// often than its own users could; the newest always arrives.
func TestForeignChangesAreMerged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "n1")
		dave := addr("dave@two.example")
		other := &otherSite{states: map[protocol.Address]protocol.State{dave: protocol.Away}, watches: map[pair]func(protocol.Presence){}}
		s.nodes["n1"].config.Relay = other
		alice := s.login("alice", "n1")
		alice.watchAny(t, dave)
		index := uint64(0)
		flap := func(n int) {
			for range n {
				index++
				other.change(dave, []protocol.State{protocol.Available, protocol.Busy}[index%2], index)
			}
		}
		flap(1000)
		if told := alice.heard(); len(told) < 15 || len(told) > 21 {
			t.Errorf("1000 changes at once were told in %d notices", len(told))
		}
		for range 10 {
			flap(999)
			time.Sleep(time.Second)
		}
		time.Sleep(time.Second)
		told := alice.heard()
		if len(told) < 9 || len(told) > 12 {
			t.Errorf("in 10 s %d changes were told", len(told))
		}
		want := map[uint64]string{0: "dave available ", 1: "dave busy "}[index%2]
		if told[len(told)-1] != want {
			t.Errorf("the last word is %q, want %q", told[len(told)-1], want)
		}
		flap(1)
		alice.Close() // what is due is shown to nobody
		time.Sleep(2 * time.Second)
	})
}

func TestForeignSiteIsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "n1")
		dave := addr("dave@two.example")
		other := &otherSite{silent: true, watches: map[pair]func(protocol.Presence){}}
		s.nodes["n1"].config.Relay = other
		alice := s.login("alice", "n1")
		began := time.Now()
		if got := alice.watchAny(t, dave); got[0] != "dave@two.example unknown" {
			t.Errorf("WATCH says %v", got)
		}
		at, _, err := alice.Query(t.Context(), protocol.WatchRequest{Addresses: []protocol.Address{dave}})
		if err != nil || at[0].State != protocol.Unknown {
			t.Errorf("QUERY says %v %v", at, err)
		}
		if took := time.Since(began); took > 2*remoteTimeout {
			t.Errorf("both took %v", took)
		}
		alice.Close()
	})
}

// While another site is silent all that a WATCH names is watched: what is
// unwatched meanwhile stays so, and changes are shown with the answer.
func TestWatchBeginsBeforeTheOtherSiteAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "n1")
		dave, erin, bob := addr("dave@two.example"), addr("erin@two.example"), addr("bob@example.com")
		other := &otherSite{silent: true, watches: map[pair]func(protocol.Presence){}}
		s.nodes["n1"].config.Relay = other
		alice, b := s.login("alice", "n1"), s.login("bob", "n1")
		var lines []string
		later, err := alice.BeginWatch(protocol.WatchRequest{Addresses: []protocol.Address{dave, erin, bob}}, func(at []protocol.Notice, _ uint64) {
			for _, n := range at {
				lines = append(lines, fmt.Sprintf("%s %s", n.Address.Local(), n.State))
			}
		})
		if err != nil || later == nil || lines != nil {
			t.Fatalf("%v, %v", lines, err)
		}
		done := make(chan struct{})
		go func() { defer close(done); later(t.Context()) }()
		alice.Unwatch(protocol.WatchRequest{Addresses: []protocol.Address{erin}})
		b.mustListen(t, protocol.ListenRequest{State: protocol.Available})
		other.change(dave, protocol.Busy, 7)
		synctest.Wait()
		if got := alice.heard(); len(got) > 0 {
			t.Errorf("told %v before the answer", got)
		}
		<-done
		if want := []string{"dave busy", "erin unknown", "bob available"}; !slices.Equal(lines, want) {
			t.Errorf("the answer says %v, not %v", lines, want)
		}
		other.change(dave, protocol.Away, 8)
		other.change(erin, protocol.Away, 8)
		if got, want := alice.heard(), []string{"dave away "}; !slices.Equal(got, want) {
			t.Errorf("told %v, not %v", got, want)
		}
		alice.Close()
		b.Close()
		if other.watched() != 0 {
			t.Error("the other site is still asked")
		}
	})
}
