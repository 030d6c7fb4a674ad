package router

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"slices"
	"testing"
	"testing/synctest"

	storev1 "simpd/proto/simp/store/v1"
	"simpd/protocol"
	"simpd/protocol/signature"
)

func deviceKey(seed byte) signature.Key {
	public := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize)).Public().(ed25519.PublicKey)
	return signature.Key{ID: signature.KeyID(public), Key: public}
}

func patternOf(text string) protocol.Pattern {
	p, err := protocol.ParsePattern(text)
	if err != nil {
		panic(err)
	}
	return p
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (c *client) mustAddKey(t *testing.T, seed byte) (index uint64) {
	t.Helper()
	index, err := c.AddKey(t.Context(), deviceKey(seed))
	if err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
	return index
}

// Whoever watches a user, on any node, and the user's own connections are told
// of each change of the list of keys, also who may not see the user; whoever
// may not write to them, and whoever doesn't watch, is not.
func TestChangesOfKeysReachWatchers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "n1", "n2")
		s.raiseSchema()
		bob, phone := s.listen("bob", "n1"), s.login("bob", "n2")
		alice, carol, idle := s.login("alice", "n2"), s.login("carol", "n1"), s.login("alice", "n1")
		s.must(putAccount("dave", 1))
		dave := s.login("dave", "n1")
		for _, c := range []*client{alice, carol, dave} {
			c.watch(t, "bob")
		}
		must(t, bob.SetRule(t.Context(), protocol.Rule{Who: patternOf("carol@example.com"), Message: protocol.Deny}))
		must(t, bob.SetRule(t.Context(), protocol.Rule{Who: patternOf("dave@example.com"), Presence: protocol.Deny}))
		for _, c := range []*client{bob, phone, alice, carol, dave, idle} {
			c.heard()
		}
		bob.mustAddKey(t, 1)
		_, head := bob.Keys()
		want := []string{"keys bob " + head.String()[:6]}
		for _, c := range []*client{bob, phone, alice, dave} {
			if got := c.heard(); !slices.Equal(got, want) {
				t.Errorf("%s heard %v, want %v", c.who.User, got, want)
			}
		}
		for _, c := range []*client{carol, idle} {
			if got := c.heard(); len(got) > 0 {
				t.Errorf("%s heard %v", c.who.User, got)
			}
		}
		if _, err := phone.RevokeKey(t.Context(), deviceKey(1).ID); err != nil {
			t.Fatal(err)
		}
		if got := alice.heard(); len(got) != 1 || slices.Equal(got, want) {
			t.Errorf("after the revocation: %v", got)
		}
	})
}

// Another site's watchers are told in lines that name them.
func TestChangesOfKeysReachOtherSites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "n1")
		s.raiseSchema()
		bob, remote := s.listen("bob", "n1"), s.routing("two.example", "n1")
		by := []protocol.Address{addr("dave@two.example"), addr("erin@two.example")}
		must(t, remote.Watch(t.Context(), protocol.WatchRequest{Addresses: addresses([]string{"bob"}), By: by}, func([]protocol.Notice, uint64) {}))
		bob.mustAddKey(t, 1)
		if got := remote.heard(); len(got) != 1 || remote.named() != 2 {
			t.Errorf("heard %v, for %d watchers", got, remote.named())
		}
	})
}

// Whoever may write to a user may see their keys. To others the user looks
// like one who doesn't exist.
func TestKeysAreForThoseWhoMayWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "n1")
		s.raiseSchema()
		bob, alice, carol := s.login("bob", "n1"), s.login("alice", "n1"), s.login("carol", "n1")
		bob.mustAddKey(t, 1)
		must(t, bob.SetRule(t.Context(), protocol.Rule{Who: patternOf("@example.com"), Message: protocol.Deny}))
		must(t, bob.SetRule(t.Context(), protocol.Rule{Who: patternOf("alice@example.com"), Message: protocol.Allow}))
		for _, tt := range []struct {
			c    *client
			of   string
			keys int
		}{{alice, "bob", 1}, {bob, "bob", 1}, {carol, "bob", 0}, {alice, "nobody", 0}, {alice, "carol", 0}} {
			keys, head, err := tt.c.KeysOf(t.Context(), protocol.KeysRequest{By: tt.c.who.User, Of: addr(tt.of + "@example.com"), Fresh: true})
			if err != nil || len(keys) != tt.keys || (head == signature.Head{}) != (tt.keys == 0) {
				t.Errorf("%s asks for %s: %v, %v, %v", tt.c.who.User, tt.of, keys, head, err)
			}
		}
	})
}

// Users of other sites are asked for there, and their changes told here.
func TestKeysOfOtherSites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "n1")
		dave := addr("Dave@two.example")
		other := &otherSite{states: map[protocol.Address]protocol.State{dave: protocol.Away}, watches: map[pair]func(protocol.Presence){}}
		s.nodes["n1"].config.Relay = other
		other.OnKeys(s.nodes["n1"].hub.onRemoteKeys)
		alice := s.login("alice", "n1")
		if keys, head, err := alice.KeysOf(t.Context(), protocol.KeysRequest{By: alice.who.User, Of: dave}); err != nil || len(keys) != 1 || head[0] != 1 {
			t.Errorf("got %v, %v, %v", keys, head, err)
		}
		alice.watchAny(t, dave)
		alice.heard()
		for i := range 3 { // the limit on what a site reports merges them
			other.onKeys(alice.who.User, dave, protocol.KeyNotice{Address: dave, Head: string(rune('a'+i)) + "-head"})
		}
		other.onKeys(addr("carol@example.com"), dave, protocol.KeyNotice{Address: dave, Head: "of nobody's watch"})
		got := alice.heard()
		if len(got) == 0 || got[len(got)-1] == "keys Dave of nob" {
			t.Errorf("heard %v", got)
		}
	})
}

func TestRefusalsOfKeysHaveTheirStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "n1")
		bob := s.login("bob", "n1")
		status := func(_ uint64, err error) protocol.Status {
			var refused *protocol.Error
			if !errors.As(err, &refused) {
				t.Fatalf("got %v", err)
			}
			return refused.Status
		}
		add := func(k signature.Key) protocol.Status { return status(bob.AddKey(t.Context(), k)) }
		if got := add(deviceKey(1)); got != protocol.StatusUnavailable {
			t.Errorf("before the schema: %d", got)
		}
		s.raiseSchema()
		bob.mustAddKey(t, 1)
		if got := add(deviceKey(1)); got != protocol.StatusBadRequest {
			t.Errorf("again: %d", got)
		}
		unproved := deviceKey(2)
		unproved.By, unproved.Proof = deviceKey(1).ID, make([]byte, ed25519.SignatureSize)
		changes := len(s.log)
		if got := add(unproved); got != protocol.StatusBadRequest || len(s.log) != changes {
			t.Errorf("a wrong proof: %d, and %d changes in the log", got, len(s.log)-changes)
		}
		unproved.By = deviceKey(3).ID
		if got := add(unproved); got != protocol.StatusBadRequest || len(s.log) != changes+1 {
			t.Errorf("a proof by a key that this node does not know: %d, and %d changes in the log", got, len(s.log)-changes)
		}
		if got := status(bob.RevokeKey(t.Context(), "none")); got != protocol.StatusUnknownAddress {
			t.Errorf("an unknown key: %d", got)
		}
		for seed := byte(2); seed <= signature.MaxLiveKeys; seed++ {
			bob.mustAddKey(t, seed)
		}
		if got := add(deviceKey(99)); got != protocol.StatusWrongState {
			t.Errorf("one too many: %d", got)
		}
	})
}

// A key, and a revocation, are known at all nodes when they are acknowledged:
// a recipient may be at any of them.
func TestChangesOfKeysAreAcknowledgedOnceAllNodesHaveThem(t *testing.T) {
	for what, change := range map[string]func(ctx context.Context, bob *client) (uint64, error){
		"addition":          func(ctx context.Context, bob *client) (uint64, error) { return bob.AddKey(ctx, deviceKey(2)) },
		"revocation":        func(ctx context.Context, bob *client) (uint64, error) { return bob.RevokeKey(ctx, deviceKey(1).ID) },
		"second revocation": func(ctx context.Context, bob *client) (uint64, error) { return bob.RevokeKey(ctx, deviceKey(1).ID) },
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newQuietSite(t, "n1", "n2")
			s.nodes["n1"].Start(s.nodes["n1"], s.nodes["n1"])
			s.raiseSchema()
			bob := s.login("bob", "n1")
			s.must(&storev1.Change{Kind: &storev1.Change_AddKey{AddKey: &storev1.AddKey{Address: bob.who.User.String(), Key: deviceKey(1).Key}}})
			if what == "second revocation" {
				s.must(&storev1.Change{Kind: &storev1.Change_RevokeKey{RevokeKey: &storev1.RevokeKey{Address: bob.who.User.String(), KeyId: deviceKey(1).ID}}})
			}
			done := make(chan error, 1)
			go func() {
				_, err := change(t.Context(), bob)
				done <- err
			}()
			synctest.Wait()
			if len(done) > 0 {
				t.Errorf("%s: acknowledged before n2 has it", what)
			}
			s.nodes["n2"].Start(s.nodes["n2"], s.nodes["n2"])
			synctest.Wait()
			if len(done) == 0 {
				t.Fatalf("%s: not acknowledged", what)
			}
			must(t, <-done)
		})
	}
}

// Who is told of a change of keys follows from the rules at that moment, and
// not from what a watcher was shown before.
func TestChangesOfKeysFollowTheRulesOfThatMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "n1")
		s.raiseSchema()
		bob, alice, carol := s.listen("bob", "n1"), s.login("alice", "n1"), s.login("carol", "n1")
		must(t, bob.SetRule(t.Context(), protocol.Rule{Who: patternOf("carol@example.com"), Message: protocol.Deny}))
		alice.watch(t, "bob")
		carol.watch(t, "bob")
		alice.heard()
		h := &s.nodes["n1"].hub
		h.mu.Lock()
		for _, w := range h.watchers[bob.who.User] {
			w.allowed = !w.allowed // as if the hub had yet to see a change of the rules
		}
		h.mu.Unlock()
		carol.heard()
		bob.mustAddKey(t, 1)
		if got := alice.heard(); len(got) != 1 {
			t.Errorf("a watcher who may write to the user heard %v", got)
		}
		if got := carol.heard(); len(got) > 0 {
			t.Errorf("a watcher who may not heard %v", got)
		}
	})
}
