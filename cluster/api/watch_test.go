package api_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	storev1 "simpd/proto/simp/store/v1"
	simpv1 "simpd/proto/simp/v1"
	"simpd/store"
)

// consumer reads a Watch in steps.
type consumer struct {
	t      *testing.T
	stream interface {
		Recv() (*simpv1.WatchResponse, error)
	}
	at   *simpv1.Position
	stop context.CancelFunc
}

func (s *testSite) watch(t *testing.T, r *simpv1.WatchRequest) *consumer {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	stream, err := s.presence.Watch(ctx, r)
	if err != nil {
		t.Fatal(err)
	}
	return &consumer{t, stream, nil, cancel}
}

// next describes the next response in a word or two.
func (c *consumer) next() string {
	c.t.Helper()
	r, err := c.stream.Recv()
	if err != nil {
		c.t.Fatal(err)
	}
	c.at = r.Position
	switch e := r.Event.(type) {
	case *simpv1.WatchResponse_Presence:
		state := strings.ToLower(strings.TrimPrefix(e.Presence.State.String(), "STATE_"))
		return fmt.Sprintf("%s %s %d", e.Presence.Ima, state, len(e.Presence.Session))
	case *simpv1.WatchResponse_Synced:
		return "synced"
	case *simpv1.WatchResponse_Reset_:
		return "reset: " + e.Reset_.Reason
	case *simpv1.WatchResponse_Progress:
		return "progress"
	}
	return "nothing"
}

// expect reads responses, and returns the position of the last.
func (c *consumer) expect(want ...string) *simpv1.Position {
	c.t.Helper()
	for _, w := range want {
		if got := c.next(); got != w {
			c.t.Fatalf("got %q, want %q", got, w)
		}
	}
	return c.at
}

func TestWatchTellsTheStateThenEachChangeWithItsPosition(t *testing.T) {
	s := newSite(t)
	s.listen("alice@example.com", available, "")
	s.listen("bob@example.org", busy, "")
	w := s.watch(t, &simpv1.WatchRequest{})
	w.expect("alice@example.com available 1")
	if w.at != nil {
		t.Fatalf("half of the state bears a position: %v", w.at)
	}
	if at := w.expect("bob@example.org busy 1", "synced"); at.Index != s.table.Index() || at.History != "h1" {
		t.Fatalf("synced at %v", at)
	}
	second := s.listen("alice@example.com", away, "phone")
	if at := w.expect("alice@example.com available 2"); at.Index != s.table.Index() {
		t.Fatalf("the change came with %v, and the table is at %d", at, s.table.Index())
	}
	s.release("alice@example.com", second)
	w.expect("alice@example.com available 1")
	s.propose(&storev1.Change{Kind: &storev1.Change_SetDisabled{SetDisabled: &storev1.SetDisabled{Address: "alice@example.com", Disabled: true}}})
	w.expect("alice@example.com deaf 0")
}

func TestWatchOfAddressesAndOfADomain(t *testing.T) {
	s := newSite(t)
	alice := s.listen("alice@example.com", available, "")
	s.listen("bob@example.org", busy, "")
	byAddress := s.watch(t, &simpv1.WatchRequest{Ima: []string{"Alice@example.com", "carol@example.com"}})
	byDomain := s.watch(t, &simpv1.WatchRequest{Domain: "example.org"})
	byAddress.expect("alice@example.com available 1", "synced")
	byDomain.expect("bob@example.org busy 1", "synced")
	s.setState("alice@example.com", alice, away, "")
	s.listen("dave@example.org", available, "")
	s.listen("carol@example.com", available, "")
	byAddress.expect("alice@example.com away 1", "carol@example.com available 1")
	byDomain.expect("dave@example.org available 1")
}

func TestWatchGoesOnAtAnotherNodeAndMissesNothing(t *testing.T) {
	s := newSite(t)
	other := siteOn(t, s.table)
	alice := s.listen("alice@example.com", available, "")
	w := s.watch(t, &simpv1.WatchRequest{})
	at := w.expect("alice@example.com available 1", "synced")
	w.stop()
	s.setState("alice@example.com", alice, busy, "")
	s.setState("alice@example.com", alice, away, "")
	w = other.watch(t, &simpv1.WatchRequest{After: at})
	at = w.expect("alice@example.com busy 1")
	w.stop()
	s.release("alice@example.com", alice)
	w = s.watch(t, &simpv1.WatchRequest{After: at})
	w.expect("alice@example.com away 1", "alice@example.com deaf 0")
}

// TestAConsumerThatIsMovedAtRandomSeesTheTablesHistory compares what a
// consumer gathers from three nodes with what the table says happened.
func TestAConsumerThatIsMovedAtRandomSeesTheTablesHistory(t *testing.T) {
	s := newSite(t)
	nodes := []*testSite{s, siteOn(t, s.table), siteOn(t, s.table)}
	w := s.watch(t, &simpv1.WatchRequest{})
	at := w.expect("synced")
	begun := at.Index
	const changes = 2000
	go changeAtRandom(s, changes)
	var got []uint64
	for len(got) < changes {
		w.stop()
		w = nodes[rand.IntN(len(nodes))].watch(t, &simpv1.WatchRequest{After: at})
		for range 1 + rand.IntN(200) {
			if what := w.next(); strings.HasPrefix(what, "reset") || what == "synced" {
				t.Fatalf("after %d changes: %s", len(got), what)
			} else if what != "progress" {
				got = append(got, w.at.Index)
			}
			at = w.at
			if len(got) == changes {
				break
			}
		}
	}
	compareHistory(t, s.table, begun, got)
}

func compareHistory(t *testing.T, table *store.Table, after uint64, got []uint64) {
	t.Helper()
	events, ok := table.Events(after, 1<<20)
	if !ok {
		t.Fatal("the table has lost its history")
	}
	var want []uint64
	for _, e := range events {
		if e.Kind == store.EventPresence {
			want = append(want, e.Index)
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("the consumer saw %d changes, the table %d, or in another order", len(got), len(want))
	}
}

// changeAtRandom makes users come and go; every step is one change of presence.
func changeAtRandom(s *testSite, changes int) {
	sessions := map[string]*storev1.Session{}
	for range changes {
		user := fmt.Sprintf("u%d@example.com", rand.IntN(50))
		if session := sessions[user]; session == nil {
			sessions[user] = s.listen(user, available, "")
		} else {
			s.release(user, session)
			delete(sessions, user)
		}
	}
}

func TestWatchOfAnotherHistoryResets(t *testing.T) {
	s := newSite(t)
	s.listen("alice@example.com", available, "")
	w := s.watch(t, &simpv1.WatchRequest{After: &simpv1.Position{History: "old", Index: 9}})
	w.expect("reset: the history is another one", "alice@example.com available 1", "synced")
	s.propose(&storev1.Change{Kind: &storev1.Change_NewHistory{NewHistory: &storev1.NewHistory{History: "h2"}}})
	if at := w.expect("reset: the history is another one", "synced"); at.History != "h2" {
		t.Fatalf("synced at %v", at)
	}
}

func TestWatchOfWhatIsNoLongerKeptResets(t *testing.T) {
	s := siteOn(t, store.New(store.Config{History: 1}))
	s.propose(&storev1.Change{Kind: &storev1.Change_NewHistory{NewHistory: &storev1.NewHistory{History: "h1"}}})
	s.epoch = s.propose(&storev1.Change{Kind: &storev1.Change_NodeUp{NodeUp: &storev1.NodeUp{Node: "n1", Incarnation: 1, MinSchema: 1, MaxSchema: 1}}}).Epoch
	alice := s.listen("alice@example.com", available, "")
	for i := range 3000 {
		s.setState("alice@example.com", alice, available, fmt.Sprint(i))
	}
	w := s.watch(t, &simpv1.WatchRequest{After: &simpv1.Position{History: "h1", Index: 3}})
	w.expect("reset: the changes since that position are no longer kept", "alice@example.com available 1", "synced")
}

func TestWatchSaysProgressAtLeastEveryTenSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		w := s.watch(t, &simpv1.WatchRequest{Ima: []string{"alice@example.com"}})
		w.expect("synced")
		for range 3 {
			s.listen("bob@example.com", available, "")
			begun := time.Now()
			at := w.expect("progress")
			if silence := time.Since(begun); silence > 10*time.Second || silence < 5*time.Second {
				t.Errorf("progress after %s of silence", silence)
			}
			if at.Index != s.table.Index() {
				t.Errorf("progress to %d, and the table is at %d", at.Index, s.table.Index())
			}
		}
		s.listen("alice@example.com", available, "")
		w.expect("alice@example.com available 1")
	})
}

func TestANodeThatIsBehindWaitsTenSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		alice := s.listen("alice@example.com", available, "")
		ahead := &simpv1.Position{History: "h1", Index: s.table.Index() + 1}
		w := s.watch(t, &simpv1.WatchRequest{After: ahead})
		time.AfterFunc(9*time.Second, func() { // in one entry: between two, progress might be told
			_, err := s.directory.Propose(t.Context(), s.stateChange("alice@example.com", alice, busy, ""), s.stateChange("alice@example.com", alice, away, ""))
			if err != nil {
				t.Error(err)
			}
		})
		w.expect("alice@example.com away 1")

		begun := time.Now()
		w = s.watch(t, &simpv1.WatchRequest{After: &simpv1.Position{History: "h1", Index: s.table.Index() + 1}})
		_, err := w.stream.Recv()
		wantCode(t, err, codes.Unavailable, "")
		if text := status.Convert(err).Message(); text != "this node has not reached that position yet; try again, or another node" {
			t.Errorf("it says %q", text)
		}
		if took := time.Since(begun); took != 10*time.Second {
			t.Errorf("given up after %s", took)
		}
	})
}

func TestAWatchEndsThreeSecondsAfterItsNodeIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		w := s.watch(t, &simpv1.WatchRequest{})
		w.expect("synced")
		lost := time.Now()
		s.directory.mu.Lock()
		s.directory.since = lost
		s.directory.mu.Unlock()
		_, err := w.stream.Recv()
		wantCode(t, err, codes.Unavailable, "")
		if took := time.Since(lost); took < 3*time.Second || took > 3500*time.Millisecond {
			t.Errorf("ended after %s", took)
		}
		_, err = s.watch(t, &simpv1.WatchRequest{}).stream.Recv()
		wantCode(t, err, codes.Unavailable, "")
	})
}

func TestAConsumerThatReadsTooSlowlyIsReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		alice := s.listen("alice@example.com", available, "")
		slow, other := s.watch(t, &simpv1.WatchRequest{}), s.watch(t, &simpv1.WatchRequest{})
		slow.expect("alice@example.com available 1", "synced")
		other.expect("alice@example.com available 1", "synced")
		note := strings.Repeat("x", 250)
		for i := range 5000 {
			s.setState("alice@example.com", alice, available, fmt.Sprint(i)+note)
			other.expect("alice@example.com available 1")
		}
		time.Sleep(time.Minute)
		told, what := 0, slow.next()
		for ; !strings.HasPrefix(what, "reset"); what = slow.next() {
			told++
		}
		if what != "reset: the consumer reads too slowly" {
			t.Fatalf("after %d changes: %s", told, what)
		}
		if held := told * len(note); held > 256<<10 { // of 1.25 MB: what connections hold, and nothing more
			t.Errorf("%d octets were held for the one who did not read", held)
		}
		if at := slow.expect("alice@example.com available 1", "synced"); at.Index != s.table.Index() {
			t.Fatalf("synced at %d of %d", at.Index, s.table.Index())
		}
		s.release("alice@example.com", alice)
		slow.expect("alice@example.com deaf 0")
		for what = other.next(); what == "progress"; what = other.next() {
		}
		if what != "alice@example.com deaf 0" {
			t.Fatalf("the other consumer was told %q", what)
		}
	})
}

// TestASlowConsumerDoesNotKeepACopyOfTheTable: one who reads slowly while it is
// told everyone who listens is let off once much has changed since.
func TestASlowConsumerDoesNotKeepACopyOfTheTable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		note := strings.Repeat("x", 250)
		for i := range 1500 {
			s.listen(fmt.Sprintf("user%04d@example.com", i), available, note)
		}
		alice := s.listen("alice@example.com", available, "")
		slow := s.watch(t, &simpv1.WatchRequest{})
		slow.next()
		for i := range 40_000 {
			s.setState("alice@example.com", alice, available, fmt.Sprint(i))
		}
		told, what := 0, slow.next()
		for ; !strings.HasPrefix(what, "reset"); what = slow.next() {
			if told++; what == "synced" {
				t.Fatal("all was told of a copy that was to be let go")
			}
		}
		for ; what != "synced"; what = slow.next() { // and now of the present one
		}
	})
}

func TestShutdownSendsConsumersToAnotherNode(t *testing.T) {
	s := newSite(t)
	w := s.watch(t, &simpv1.WatchRequest{})
	w.expect("synced")
	s.server.Shutdown(t.Context())
	_, err := w.stream.Recv()
	wantCode(t, err, codes.Unavailable, "")
}
