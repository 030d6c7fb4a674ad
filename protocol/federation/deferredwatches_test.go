package federation_test

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"simpd/protocol"
	"simpd/protocol/federation"
)

// A user may have so many sites tried that can't be reached, and no more; that
// stops nobody else, nor what the user has with sites that answer.
func TestRelayTriesOnlySoMuchForOneUser(t *testing.T) {
	few := func(a *abroad, _ *federation.Config) { a.limits.Tried = 3 }
	goAbroad(t, few, func(a *abroad) {
		a.put(home, a.serve(always("200")))
		send := func(from, to string, want protocol.Status) {
			t.Helper()
			if got := <-a.start(from, to, "m1", time.Second); got.Status != want || got.Text == "" && want != 200 {
				t.Errorf("%s to %s: %v, want %d", from, to, got, want)
			}
		}
		const eve, alice = "eve@one.example", "alice@one.example"
		send(eve, "bob@two.example", 200)
		for i := range 3 {
			send(eve, fmt.Sprintf("x@dead%d.example", i), 502)
		}
		before := len(a.asked())
		send(eve, "x@dead3.example", 429)
		if len(a.asked()) != before {
			t.Error("DNS was asked for what was refused")
		}
		send(eve, "y@dead1.example", 502)
		send(eve, "bob@two.example", 200)
		send(alice, "x@dead4.example", 502)
		send(alice, "bob@two.example", 200)
		time.Sleep(6 * time.Minute)
		send(eve, "x@dead3.example", 502)
	})
}

// A watch above that limit, or that the federation does not admit, begins once
// it may.
func TestRelayPostponesWatches(t *testing.T) {
	few := func(a *abroad, _ *federation.Config) { a.limits.Tried = 1 }
	goAbroad(t, few, func(a *abroad) {
		s := &presenceSite{a: a, state: "available index=5"}
		a.put(home, s.play)
		alice, bob := address(t, "alice@one.example"), address(t, "bob@two.example")
		<-a.start("alice@one.example", "x@dead.example", "m1", time.Second)
		var w, twice, never watcher
		a.relay.Watch(alice, bob, w.tell)
		w.hears(t, "bob@two.example unknown")
		a.relay.Watch(alice, address(t, "carol@two.example"), never.tell)
		a.relay.Unwatch(alice, address(t, "carol@two.example"))
		time.Sleep(7 * time.Minute)
		w.hears(t, "bob@two.example available")

		a.rules.Default.Mode = protocol.Closed
		a.relay.Revalidate()
		w.hears(t, "bob@two.example unknown, bob@two.example unknown")
		a.relay.Watch(alice, address(t, "dave@two.example"), twice.tell)
		twice.hears(t, "dave@two.example unknown")
		a.relay.Unwatch(alice, bob)
		a.rules.Default.Mode = protocol.Open
		a.relay.Revalidate()
		twice.hears(t, "dave@two.example available")
		w.hears(t, "")
		never.hears(t, "carol@two.example unknown")
		if got, want := s.requests(), "WATCH ima=bob@two.example by=alice@one.example, WATCH ima=dave@two.example by=alice@one.example"; got != want {
			t.Errorf("it was asked %q, want %q", got, want)
		}
	})
}

// A WATCH that is refused is asked for again after a growing pause, while
// somebody watches.
func TestRelayAsksAgainForWhatWasRefused(t *testing.T) {
	for answer, within := range map[string]time.Duration{
		"503 :cut off": time.Second, "429 retry=1": time.Second, "": 20 * time.Second, "413 :too many": 30 * time.Second, "403 :no": 30 * time.Second,
	} {
		t.Run(answer, func(t *testing.T) {
			goAbroad(t, nil, func(a *abroad) {
				var answering atomic.Bool
				var asked atomic.Int32
				a.put(home, a.serve(func(verb, line string) string {
					switch {
					case verb != "WATCH":
						return "200"
					case !answering.Load():
						asked.Add(1)
						return answer
					}
					return "100 ima=bob@two.example state=away index=3\n200 index=3"
				}))
				var w watcher
				alice, bob := address(t, "alice@one.example"), address(t, "bob@two.example")
				a.relay.Watch(alice, bob, w.tell)
				time.Sleep(20 * time.Second)
				w.hears(t, "bob@two.example unknown")
				time.Sleep(time.Hour)
				synctest.Wait()
				if n := asked.Load(); n < 10 || n > 130 {
					t.Errorf("it was asked %d times in an hour", n)
				}
				answering.Store(true)
				time.Sleep(time.Minute + within)
				w.hears(t, "bob@two.example away")
				answering.Store(false)
				a.relay.Unwatch(alice, bob)
				a.relay.Watch(alice, bob, w.tell)
				time.Sleep(within)
				a.relay.Unwatch(alice, bob)
				time.Sleep(time.Minute)
				synctest.Wait()
				before := asked.Load()
				time.Sleep(10 * time.Minute)
				synctest.Wait()
				if asked.Load() != before {
					t.Error("it is asked while nobody watches")
				}
			})
		})
	}
}

// One that another site can't bear spoils the watching of no other.
func TestRelayFindsWhatIsRefused(t *testing.T) {
	goAbroad(t, nil, func(a *abroad) {
		var asked atomic.Int32
		a.put(home, a.serve(func(verb, line string) string {
			if verb != "WATCH" {
				return "200"
			}
			if asked.Add(1); strings.Contains(line, "ima=bad@") {
				return "400 :invalid address bad@two.example"
			}
			var lines []string
			for word := range strings.FieldsSeq(line) {
				if of, ok := strings.CutPrefix(word, "ima="); ok {
					lines = append(lines, "100 ima="+of+" state=busy index=3")
				}
			}
			return strings.Join(append(lines, "200 index=3"), "\n")
		}))
		alice := address(t, "alice@one.example")
		a.rules.Default.Mode = protocol.Closed
		watchers := map[string]*watcher{}
		for i := range 31 {
			watchers[fmt.Sprintf("u%d@two.example", i)] = &watcher{}
		}
		watchers["bad@two.example"] = &watcher{}
		for name, w := range watchers {
			a.relay.Watch(alice, address(t, name), w.tell)
		}
		synctest.Wait()
		a.rules.Default.Mode = protocol.Open
		a.relay.Revalidate()
		time.Sleep(100 * time.Millisecond)
		for name, w := range watchers {
			want := name + " unknown, " + name + " busy"
			if name == "bad@two.example" {
				want = name + " unknown, " + name + " unknown"
			}
			w.hears(t, want)
		}
		if n := asked.Load(); n > 64 {
			t.Errorf("it took %d requests", n)
		}
	})
}

// asked is which names DNS was asked for.
func (a *abroad) asked() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.lookedUp)
}
