package federation_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"simpd/protocol"
	"simpd/protocol/internal/outbound/outboundtest"
)

// watcher writes down what it is told.
type watcher struct {
	mu   sync.Mutex
	told []string
}

func (w *watcher) tell(p protocol.Presence) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.told = append(w.told, strings.TrimSpace(fmt.Sprintf("%s %s %s", p.Address, p.State, p.Note)))
}

// heard returns what was told since it was last asked, once all is quiet.
func (w *watcher) heard() string {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	told := strings.Join(w.told, ", ")
	w.told = nil
	return told
}

func (w *watcher) hears(t *testing.T, want string) {
	t.Helper()
	if got := w.heard(); got != want {
		t.Errorf("told %q, want %q", got, want)
	}
}

// presenceSite plays a site whose users have the state that the test sets.
type presenceSite struct {
	a     *abroad
	mu    sync.Mutex
	state string
	asked []string
	here  *outboundtest.Peer // the newest connection
}

func (s *presenceSite) play(p *outboundtest.Peer) {
	s.a.admit(p)
	s.mu.Lock()
	s.here = p
	s.mu.Unlock()
	p.AnswerAll(func(verb, line string) string {
		s.mu.Lock()
		defer s.mu.Unlock()
		_, request, _ := strings.Cut(strings.TrimSpace(line), " ")
		s.asked = append(s.asked, request)
		if verb != "WATCH" && verb != "QUERY" {
			return "200"
		}
		var lines []string
		for word := range strings.FieldsSeq(line) {
			if of, ok := strings.CutPrefix(word, "ima="); ok {
				lines = append(lines, "100 ima="+strings.ToLower(of)+" state="+s.state)
			}
		}
		return strings.Join(append(lines, "200 index=7"), "\n")
	})
}

func (s *presenceSite) requests() string {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	all := strings.Join(s.asked, ", ")
	s.asked = nil
	return all
}

func (s *presenceSite) say(format string, args ...any) {
	s.mu.Lock()
	p := s.here
	s.mu.Unlock()
	p.Say(format, args...)
}

func watching(t *testing.T, f func(a *abroad, s *presenceSite)) {
	t.Helper()
	goAbroad(t, nil, func(a *abroad) {
		s := &presenceSite{a: a, state: "available index=5"}
		a.put(home, s.play)
		f(a, s)
	})
}

// Each pair is watched once, over one connection, and unwatched when nobody
// watches.
func TestRelayWatches(t *testing.T) {
	watching(t, func(a *abroad, s *presenceSite) {
		alice, carol := address(t, "alice@one.example"), address(t, "carol@one.example")
		bob, spelt := address(t, "bob@two.example"), address(t, "BOB@two.example")
		var one, two, three watcher
		a.relay.Watch(alice, bob, one.tell)
		one.hears(t, "bob@two.example available")
		a.relay.Watch(alice, spelt, two.tell)
		two.hears(t, "BOB@two.example available")
		a.relay.Watch(carol, bob, three.tell)
		three.hears(t, "bob@two.example available")
		if got, want := s.requests(), "WATCH ima=bob@two.example by=alice@one.example, WATCH ima=bob@two.example by=carol@one.example"; got != want {
			t.Errorf("it was asked %q, want %q", got, want)
		}
		s.say("* PRESENCE ima=bob@two.example state=busy note=lunch since=2026-11-22T10:00:00.000Z index=9 by=alice@one.example by=carol@one.example")
		one.hears(t, "bob@two.example busy lunch")
		two.hears(t, "BOB@two.example busy lunch")
		three.hears(t, "bob@two.example busy lunch")
		s.say("* PRESENCE ima=bob@two.example state=deaf index=10 by=carol@one.example")
		one.hears(t, "")
		three.hears(t, "bob@two.example deaf")
		a.relay.Unwatch(alice, bob)
		if got := s.requests(); got != "" {
			t.Errorf("while somebody watches: %q", got)
		}
		a.relay.Unwatch(alice, spelt)
		a.relay.Unwatch(carol, bob)
		if got, want := s.requests(), "UNWATCH ima=bob@two.example by=alice@one.example, UNWATCH ima=bob@two.example by=carol@one.example"; got != want {
			t.Errorf("it was asked %q, want %q", got, want)
		}
		if a.dials() != 1 {
			t.Errorf("%d connections", a.dials())
		}
	})
}

// After a loss all is watched again, and nothing is known in between.
func TestRelayWatchesAgain(t *testing.T) {
	watching(t, func(a *abroad, s *presenceSite) {
		alice, bob := address(t, "alice@one.example"), address(t, "bob@two.example")
		var w watcher
		a.relay.Watch(alice, bob, w.tell)
		w.hears(t, "bob@two.example available")
		time.Sleep(time.Minute) // it was a good connection
		s.state = "away index=8"
		s.here.Conn.Close()
		w.hears(t, "bob@two.example unknown, bob@two.example away")
		a.put(home, nil)
		s.here.Conn.Close()
		w.hears(t, "bob@two.example unknown")
		a.put(home, s.play)
		time.Sleep(time.Minute)
		if got := w.heard(); !strings.HasSuffix(got, "bob@two.example away") {
			t.Errorf("told %q", got)
		}
	})
}

// A site in doubt says so; what it does not mention afterwards is as it was.
func TestRelayStale(t *testing.T) {
	watching(t, func(a *abroad, s *presenceSite) {
		var w watcher
		a.relay.Watch(address(t, "alice@one.example"), address(t, "bob@two.example"), w.tell)
		w.hears(t, "bob@two.example available")
		s.say("* STALE")
		w.hears(t, "bob@two.example unknown")
		s.say("* FRESH index=9")
		w.hears(t, "bob@two.example available")
	})
}

// A node that goes away is left once another serves, and nobody notices.
func TestRelayMoves(t *testing.T) {
	watching(t, func(a *abroad, s *presenceSite) {
		var w watcher
		a.relay.Watch(address(t, "alice@one.example"), address(t, "bob@two.example"), w.tell)
		w.hears(t, "bob@two.example available")
		s.say("* MOVE within=30 :upgrade")
		w.hears(t, "bob@two.example available")
		want := "WATCH ima=bob@two.example by=alice@one.example, WATCH ima=bob@two.example by=alice@one.example, QUIT"
		if got := s.requests(); got != want || a.dials() != 2 {
			t.Errorf("asked %q over %d connections", got, a.dials())
		}
		if got := a.send("bob@two.example"); got.Status != 200 || a.dials() != 2 {
			t.Errorf("%v after %d dials", got, a.dials())
		}
	})
}

// Only who was asked may answer, and only for whom it was asked: words about
// users of other domains, about pairs that are not watched, or without a
// watcher's name, are nobody's.
func TestRelayIsLiedTo(t *testing.T) {
	watching(t, func(a *abroad, s *presenceSite) {
		alice := address(t, "alice@one.example")
		a.Zone.IP["three.example"] = "9.0.2.3"
		a.put("9.0.2.3:7467", nil)
		var bob, dave watcher
		a.relay.Watch(alice, address(t, "bob@two.example"), bob.tell)
		bob.hears(t, "bob@two.example available")
		a.relay.Watch(alice, address(t, "dave@three.example"), dave.tell)
		dave.heard()
		for _, lie := range []string{
			"* PRESENCE ima=dave@three.example state=available index=9 by=alice@one.example",
			"* PRESENCE ima=bob@two.example state=busy index=9 by=carol@one.example",
			"* PRESENCE ima=bob@two.example state=busy index=9 by=alice@two.example",
			"* PRESENCE ima=bob@two.example state=busy index=9",
			"* PRESENCE ima=alice@one.example state=busy index=9 by=alice@one.example",
			"* PRESENCE state=busy by=alice@one.example",
			"2 200 index=9",
			"m1 MESSAGE from=bob@two.example to=alice@one.example id=x time=2026-11-22T10:00:00.000Z {2}\r\nhi",
		} {
			s.say("%s", lie)
			bob.hears(t, "")
			dave.hears(t, "")
		}
		s.say("* PRESENCE ima=bob@two.example state=busy index=4 by=alice@one.example")
		bob.hears(t, "") // older than what is known
	})
}

// A WATCH that is refused leaves the state unknown; what is asked once is
// answered once.
func TestRelayAsks(t *testing.T) {
	watching(t, func(a *abroad, s *presenceSite) {
		alice, bob := address(t, "alice@one.example"), address(t, "bob@two.example")
		if now := a.relay.Query(context.Background(), alice, bob); now.State != protocol.Available || now.Index != 5 || now.Address != bob {
			t.Errorf("%v", now)
		}
		if got := s.requests(); got != "QUERY ima=bob@two.example by=alice@one.example" {
			t.Errorf("it was asked %q", got)
		}
	})
	goAbroad(t, nil, func(a *abroad) {
		a.put(home, a.serve(always("503 :cut off")))
		var w watcher
		alice, bob := address(t, "alice@one.example"), address(t, "bob@two.example")
		a.relay.Watch(alice, bob, w.tell)
		w.hears(t, "bob@two.example unknown")
		if now := a.relay.Query(context.Background(), alice, bob); now.State != protocol.Unknown {
			t.Errorf("%v", now)
		}
	})
}

// What can't be reached or is not admitted is unknown, at once or soon.
func TestRelayWatchesInVain(t *testing.T) {
	goAbroad(t, nil, func(a *abroad) {
		var w, again, closed watcher
		alice, bob := address(t, "alice@one.example"), address(t, "bob@two.example")
		a.relay.Watch(alice, bob, w.tell)
		w.hears(t, "bob@two.example unknown")
		a.relay.Watch(address(t, "carol@one.example"), bob, again.tell)
		again.hears(t, "bob@two.example unknown")
		a.rules.Default.Mode = protocol.Closed
		a.relay.Watch(alice, address(t, "dave@three.example"), closed.tell)
		closed.hears(t, "dave@three.example unknown")
	})
}

// Many changes at once are told to a slow listener as the newest of each.
func TestRelayMerges(t *testing.T) {
	watching(t, func(a *abroad, s *presenceSite) {
		var mu sync.Mutex
		var states []protocol.State
		hold := make(chan struct{})
		a.relay.Watch(address(t, "alice@one.example"), address(t, "bob@two.example"), func(p protocol.Presence) {
			<-hold
			mu.Lock()
			defer mu.Unlock()
			states = append(states, p.State)
		})
		synctest.Wait()
		for i := range 5000 {
			s.say("* PRESENCE ima=bob@two.example state=%s index=%d by=alice@one.example", []string{"busy", "away"}[i%2], 10+i)
		}
		synctest.Wait()
		close(hold)
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		if len(states) > 1100 || !slices.Contains(states, protocol.Busy) || states[len(states)-1] != protocol.Away {
			t.Errorf("told %d times, %v in the end", len(states), states[len(states)-1])
		}
	})
}
