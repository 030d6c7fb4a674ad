package router

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	storev1 "simpd/proto/simp/store/v1"
	"simpd/protocol"
	"simpd/protocol/signature"
)

// block adds an operators' block; until is a time in milliseconds, 0: without end.
func (s *site) block(target string, until int64) {
	s.t.Helper()
	parsed, err := protocol.ParseBlockTarget(target)
	if err != nil {
		s.t.Fatal(err)
	}
	s.must(&storev1.Change{Kind: &storev1.Change_AddBlock{AddBlock: &storev1.AddBlock{Block: &storev1.BlockEntry{Target: parsed.String(), UntilMs: until}}}})
}

func (s *site) unblock(target string) {
	s.t.Helper()
	s.must(&storev1.Change{Kind: &storev1.Change_RemoveBlock{RemoveBlock: &storev1.RemoveBlock{Target: target}}})
}

// A blocked sender is answered as one whom nobody hears, over sessions that are
// open, on every node, whether the user, the domain or the source is blocked.
func TestBlockedSendersAreNotHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "n1", "n2")
		s.raiseSchema()
		bob := s.listen("bob", "n1")
		here, there, carol := s.login("alice", "n1"), s.login("alice", "n2"), s.login("carol", "n2")
		unheard := here.send(t, "carol", "m0")
		want(t, "to somebody who is deaf", unheard, protocol.StatusNotListening)
		for _, target := range []string{"alice@example.com", "@example.com", "192.0.2.0/24", "192.0.2.1", "::ffff:192.0.2.0/120"} {
			parsed, _ := protocol.ParseBlockTarget(target)
			s.block(target, 0)
			for _, c := range []*client{here, there} {
				if got := c.send(t, "bob", "m1"); got.Status != unheard.Status || got.Text != "bob@example.com is not listening" {
					t.Errorf("%s: %+v, want %+v", target, got, unheard)
				}
				want(t, target+": to a user who does not exist", c.send(t, "zoe", "m2"), protocol.StatusUnknownAddress)
			}
			s.unblock(parsed.String())
			want(t, target+": when the block is gone", here.send(t, "bob", "m3"+target[:2]), protocol.StatusOK)
		}
		s.block("alice@example.com", 0)
		want(t, "another sender", carol.send(t, "bob", "m4"), protocol.StatusOK)
		own := s.listen("alice", "n2")
		want(t, "to oneself", here.send(t, "alice", "m5"), protocol.StatusOK)
		want(t, "to the blocked user", bob.send(t, "alice", "m6"), protocol.StatusOK)
		if slices.Contains(bob.received(), "m1") || len(own.received()) != 2 {
			t.Errorf("bob got %v, alice got %v", bob.received(), own.received())
		}
	})
}

// The node of the recipient refuses too, if the sender's does not know of the block
// yet.
func TestBlocksAreCheckedAtTheRecipientsNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "n1", "n2")
		s.raiseSchema()
		bob := s.listen("bob", "n1")
		s.block("alice@example.com", 0)
		done := make(chan protocol.Outcome, 1)
		l := s.nodes["n1"].config.Table.Listener(addr("bob@example.com"))
		s.nodes["n1"].DeliverToSession(l.Bindings[0].Session, &protocol.Message{From: addr("alice@example.com"), To: addr("bob@example.com"), ID: "m"},
			func(o protocol.Outcome) { done <- o })
		want(t, "a message from another node", <-done, protocol.StatusNotListening)
		if len(bob.received()) != 0 {
			t.Error("bob got it")
		}
	})
}

// A watcher who is blocked sees that the user is deaf, and the present state when
// the block is gone.
func TestBlockedWatchersSeeNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "n1", "n2")
		s.raiseSchema()
		bob := s.listen("bob", "n1")
		alice, carol := s.login("alice", "n2"), s.login("carol", "n2")
		alice.watch(t, "bob", "alice")
		carol.watch(t, "bob")
		for _, target := range []string{"alice@example.com", "192.0.2.0/24"} {
			s.block(target, 0)
			if got, want := alice.heard(), []string{"bob deaf "}; !slices.Equal(got, want) {
				t.Errorf("%s: heard %v, want %v", target, got, want)
			}
			if got := alice.query(t, true, "bob"); got != protocol.Deaf {
				t.Errorf("%s: QUERY says %v", target, got)
			}
			if got := alice.watch(t, "bob"); !slices.Equal(got, []string{"bob deaf"}) {
				t.Errorf("%s: WATCH says %v", target, got)
			}
			if _, err := bob.SetState(t.Context(), protocol.Busy, nil); err != nil {
				t.Fatal(err)
			}
			if got := alice.heard(); len(got) != 0 {
				t.Errorf("%s: heard %v of a change", target, got)
			}
			s.unblock(target)
			if got, want := alice.heard(), []string{"bob busy "}; !slices.Equal(got, want) {
				t.Errorf("%s: heard %v, want %v", target, got, want)
			}
			if _, err := bob.SetState(t.Context(), protocol.Available, nil); err != nil {
				t.Fatal(err)
			}
			if got, want := alice.heard(), []string{"bob available "}; !slices.Equal(got, want) {
				t.Errorf("%s: heard %v, want %v", target, got, want)
			}
		}
		s.block("alice@example.com", 0)
		own := s.listen("alice", "n1")
		if got := alice.heard(); len(got) != 2 || !slices.Contains(got, "bob deaf ") || !slices.Contains(got, "alice available ") {
			t.Errorf("heard %v", got)
		}
		for _, c := range []*client{alice, carol, own} {
			if c.disorder != "" {
				t.Error(c.disorder)
			}
		}
	})
}

// A block that has ended is removed by the leader, by itself.
func TestBlocksEndByThemselves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newQuietSite(t, "n1", "n2")
		s.nodes["n2"].config.Leads = func() bool { return true }
		for _, n := range s.nodes {
			n.Start(n, n)
		}
		s.raiseSchema()
		s.listen("bob", "n1")
		alice := s.login("alice", "n1")
		alice.watch(t, "bob")
		s.block("alice@example.com", time.Now().Add(90*time.Second).UnixMilli())
		s.block("@other.example", 0)
		alice.heard()
		time.Sleep(89 * time.Second)
		want(t, "before its end", alice.send(t, "bob", "m1"), protocol.StatusNotListening)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		want(t, "after its end", alice.send(t, "bob", "m2"), protocol.StatusOK)
		if got := alice.heard(); !slices.Equal(got, []string{"bob available "}) {
			t.Errorf("heard %v", got)
		}
		if n := s.nodes["n1"].config.Table.View().CountBlocks(); n != 1 {
			t.Errorf("%d blocks are left", n)
		}
	})
}

// An own user who is blocked is answered by other sites as if nobody listened:
// nothing is sent there but a question.
func TestBlockedUsersAreNotHeardByOtherSites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "n1")
		s.raiseSchema()
		dave := addr("dave@two.example")
		other := &otherSite{states: map[protocol.Address]protocol.State{dave: protocol.Away}, watches: map[pair]func(protocol.Presence){}}
		s.nodes["n1"].config.Relay = other
		alice := s.login("alice", "n1")
		alice.watchAny(t, dave)
		send := func(id string) protocol.Outcome {
			done := make(chan protocol.Outcome, 1)
			alice.Send(&protocol.SendRequest{To: []protocol.Address{dave}, ID: id, Received: time.Now(), Timeout: time.Second, Done: func(_ int, o protocol.Outcome) { done <- o }})
			return <-done
		}
		want(t, "before", send("m1"), protocol.StatusOK)
		alice.heard()
		s.block("alice@example.com", 0)
		if got := send("m2"); got.Status != protocol.StatusNotListening || got.Text != "dave@two.example is not listening" {
			t.Errorf("got %+v", got)
		}
		if other.sent != 1 || len(other.refused) != 1 {
			t.Errorf("%d sent, %d refused", other.sent, len(other.refused))
		}
		if got := alice.heard(); !slices.Equal(got, []string{"dave deaf "}) {
			t.Errorf("heard %v", got)
		}
		at, _, err := alice.Query(t.Context(), protocol.WatchRequest{Addresses: []protocol.Address{dave}})
		if err != nil || at[0].State != protocol.Deaf {
			t.Errorf("QUERY says %v, %v", at, err)
		}
		if keys, head, err := alice.KeysOf(t.Context(), protocol.KeysRequest{By: alice.who.User, Of: dave}); len(keys) != 0 || (head != signature.Head{}) || err != nil {
			t.Errorf("KEYS says %v, %v", keys, err)
		}
		other.change(dave, protocol.Busy, 7)
		if got := alice.heard(); len(got) != 0 {
			t.Errorf("heard %v of a change", got)
		}
		s.unblock("alice@example.com")
		if got := alice.heard(); !slices.Equal(got, []string{"dave busy "}) || alice.disorder != "" {
			t.Errorf("heard %v; %s", got, alice.disorder)
		}
	})
}

// indexes records the notices of a client with their indexes.
type indexes struct {
	*client
	lines []string
}

func (c *indexes) Notify(n *protocol.Notice) {
	c.lines = append(c.lines, fmt.Sprintf("%s %d", n.State, n.Index))
}

// A blocked watcher sees no index where whoever watches a user who is deaf sees
// none.
func TestBlockedWatchersSeeIndexesOfDeafUsers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "n1")
		s.raiseSchema()
		dave := addr("dave@two.example")
		s.nodes["n1"].config.Relay = &otherSite{}
		begin := func(name string) (*indexes, *watch) {
			c := &indexes{client: &client{who: protocol.Client{User: addr(name + "@example.com"), Remote: netip.MustParseAddrPort("192.0.2.1:1")}}}
			w := &watch{pair: pair{by: c.who.User, of: dave}, u: s.login(name, "n1").Connection, session: c}
			return c, w
		}
		show := func(w *watch, state protocol.State, index uint64) {
			w.showRemoteLocked(protocol.Presence{Address: dave, State: state, Index: index})
		}
		alice, blocked := begin("alice")
		carol, free := begin("carol")
		blocked.blocked = true
		for range 2 {
			show(blocked, protocol.Unknown, 0)
			show(free, protocol.Unknown, 0)
			show(blocked, protocol.Busy, 5)
			show(free, protocol.Deaf, 0)
			show(blocked, protocol.Away, 6)
		}
		if !slices.Equal(alice.lines, carol.lines) || len(alice.lines) != 4 {
			t.Errorf("one who is blocked sees %v, another %v", alice.lines, carol.lines)
		}
		alice.lines, blocked.blocked = nil, false
		show(blocked, protocol.Busy, 7)
		blocked.blocked = true
		show(blocked, protocol.Busy, 7)
		show(blocked, protocol.Unknown, 0)
		show(blocked, protocol.Away, 8)
		blocked.blocked = false
		show(blocked, protocol.Busy, 7)
		if want := []string{"busy 7", "deaf 8", "unknown 0", "deaf 0", "busy 9"}; !slices.Equal(alice.lines, want) {
			t.Errorf("got %v, want %v", alice.lines, want)
		}
	})
}

// A routing connection is answered so for the users of a blocked domain, for one
// of its users, and where its source is blocked.
func TestBlocksOfOtherSites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "n1")
		s.raiseSchema()
		bob := s.listen("bob", "n1")
		must(t, bob.SetRule(t.Context(), protocol.Rule{Who: patternOf("*"), Presence: protocol.Allow}))
		peer := &client{who: protocol.Client{Domain: "two.example", Remote: netip.MustParseAddrPort("203.0.113.5:1")}}
		u, err := s.nodes["n1"].Login(t.Context(), peer)
		if err != nil {
			t.Fatal(err)
		}
		peer.Connection = u
		eve := addr("Eve@two.example")
		send := func(id string) protocol.Outcome {
			done := make(chan protocol.Outcome, 1)
			peer.Send(&protocol.SendRequest{From: eve, To: []protocol.Address{addr("bob@example.com")}, ID: id, Received: time.Now(), Timeout: time.Second, Done: func(_ int, o protocol.Outcome) { done <- o }})
			return <-done
		}
		must(t, peer.Watch(t.Context(), protocol.WatchRequest{Addresses: addresses([]string{"bob"}), By: []protocol.Address{eve, addr("fred@two.example")}}, func(at []protocol.Notice, _ uint64) { t.Log(at) }))
		want(t, "before", send("m0"), protocol.StatusOK)
		for target, watchers := range map[string]int{"eve@two.example": 1, "@two.example": 2, "203.0.113.0/24": 2} {
			peer.heard()
			before := peer.named()
			s.block(target, 0)
			peer.heard()
			if got := peer.named() - before; got != watchers {
				t.Errorf("%s: %d watchers were told, want %d", target, got, watchers)
			}
			want(t, target, send("m"+target[:3]), protocol.StatusNotListening)
			s.unblock(target)
			want(t, target+" is gone", send("n"+target[:3]), protocol.StatusOK)
		}
		s.block("@sub.two.example", 0)
		want(t, "a block of a subdomain", send("m9"), protocol.StatusOK)
	})
}

// Blocks hold for programs that send as somebody.
func TestBlocksHoldForPrograms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "n1")
		s.raiseSchema()
		s.listen("bob", "n1")
		send := func(id string) protocol.Outcome {
			done := make(chan protocol.Outcome, 1)
			s.nodes["n1"].Send(&protocol.SendRequest{From: addr("alice@example.com"), To: addresses([]string{"bob"}), ID: id, Received: time.Now(), Timeout: time.Second, Done: func(_ int, o protocol.Outcome) { done <- o }})
			return <-done
		}
		s.block("192.0.2.0/24", 0) // a program has no source
		want(t, "a block of a source", send("m1"), protocol.StatusOK)
		s.block("alice@example.com", 0)
		want(t, "a block of the user", send("m2"), protocol.StatusNotListening)
	})
}
