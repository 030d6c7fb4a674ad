package router

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	storev1 "simpd/proto/simp/store/v1"
	"simpd/protocol"
	"simpd/store"
)

func TestExclusiveListenDisplaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "n1", "n2")
		old := s.listen("bob", "n1")
		exclusive := s.login("bob", "n2")
		exclusive.mustListen(t, protocol.ListenRequest{State: protocol.Available, Exclusive: true})
		if got := old.heard(); !slices.Equal(got, []string{"unlistened"}) {
			t.Errorf("the displaced session heard %v", got)
		}
		if old.why != "another session of yours listens exclusively" {
			t.Errorf("it was told: %s", old.why)
		}
		want(t, "after it", s.login("alice", "n1").send(t, "bob", "m1"), protocol.StatusOK)
		if len(old.received()) != 0 || len(exclusive.received()) != 1 {
			t.Errorf("displaced got %v, exclusive %v", old.received(), exclusive.received())
		}
		again := s.listen("bob", "n1")
		if got := exclusive.heard(); len(got) != 0 || len(again.heard()) != 0 {
			t.Errorf("a later shared LISTEN joins, but: %v", got)
		}
	})
}

func TestSessionLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "n1")
		for range protocol.MaxSessions {
			s.listen("bob", "n1")
		}
		_, _, err := s.login("bob", "n1").Listen(t.Context(), protocol.ListenRequest{State: protocol.Available})
		if refusal, ok := err.(*protocol.Error); !ok || refusal.Status != protocol.StatusWrongState {
			t.Errorf("session %d: %v, want 409", protocol.MaxSessions+1, err)
		}
	})
}

func TestRebindDisplacesNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "n1", "n2")
		bob, carol := s.listen("bob", "n1"), s.listen("carol", "n1")
		watcher := s.login("alice", "n2")
		watcher.watch(t, "bob", "carol")
		// n1 is paused: its epoch ends, and meanwhile carol listens exclusively.
		s.down("n1")
		s.login("carol", "n2").mustListen(t, protocol.ListenRequest{State: protocol.Busy, Exclusive: true})
		s.up("n1")
		if got := bob.heard(); len(got) != 0 {
			t.Errorf("bob's session lives on, but heard %v", got)
		}
		if got := carol.heard(); !slices.Equal(got, []string{"unlistened"}) {
			t.Errorf("carol's old session heard %v", got)
		}
		s.reap("n1")
		want(t, "bob again", watcher.send(t, "bob", "m1"), protocol.StatusOK)
		if got := watcher.heard(); !slices.Equal(got, []string{"carol busy "}) {
			t.Errorf("the watcher heard %v", got)
		}
	})
}

func TestPasswordChangeEndsTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "n1", "n2")
		mine, other := s.listen("bob", "n1"), s.listen("bob", "n2")
		watcher := s.login("alice", "n2")
		watcher.watch(t, "bob")
		k := make([]byte, 32)
		if err := mine.SetPassword(t.Context(), protocol.Credentials{Salt: k[:16], Iterations: 10000, StoredKey: k, ServerKey: k}); err != nil {
			t.Fatal(err)
		}
		if got := other.heard(); !slices.Contains(got, "bye 401") {
			t.Errorf("the other connection heard %v", got)
		}
		if got := mine.heard(); len(got) != 0 {
			t.Errorf("the connection that changed it heard %v", got)
		}
		want(t, "it still listens", watcher.send(t, "bob", "m1"), protocol.StatusOK)
		if got := watcher.heard(); len(got) != 0 {
			t.Errorf("watchers saw %v", got)
		}
	})
}

// A user who is disabled at the moment when they change their password is out.
func TestDisabledWhileThePasswordChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "n1", "n2")
		for try := range 50 {
			bob := s.login("bob", "n1")
			k := bytes.Repeat([]byte{byte(try + 1)}, 32)
			go s.propose("n1", setDisabled("bob", true))
			_ = bob.SetPassword(t.Context(), protocol.Credentials{Salt: k[:16], Iterations: 10000, StoredKey: k, ServerKey: k}) // either may be first
			synctest.Wait()
			if got := bob.heard(); !slices.Contains(got, "bye 401") {
				t.Fatalf("try %d: the session heard %v", try, got)
			}
			bob.Close()
			s.must(setDisabled("bob", false))
		}
	})
}

// A session that was there before its user was disabled is out, even if it only
// looks once the account is enabled again, and whatever became of its PASSWD.
func TestDisabledAndEnabledWhileThePasswordChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "n1", "n2")
		s.raiseSchema()
		toggle := []*storev1.Change{setDisabled("bob", true), setDisabled("bob", false)}
		k := bytes.Repeat([]byte{9}, 32)
		password := protocol.Credentials{Salt: k[:16], Iterations: 10000, StoredKey: k, ServerKey: k}
		for name, act := range map[string]func(bob *client){
			"no PASSWD":     func(*client) { s.must(toggle...) },
			"PASSWD before": func(bob *client) { _ = bob.SetPassword(t.Context(), password); s.must(toggle...) },
			"PASSWD after":  func(bob *client) { s.must(toggle...); _ = bob.SetPassword(t.Context(), password) },
			"PASSWD at the same time": func(bob *client) {
				synctest.Wait() // for the unbinding of the session before
				overtake := func() { s.must(toggle...) }
				s.nodes["n1"].beforeProposal.Store(&overtake)
				if err := bob.SetPassword(t.Context(), password); err == nil {
					t.Error("PASSWD overtaken by disabling: the password was changed")
				}
			},
		} {
			s.must(putAccount("bob", 1))
			bob := s.listen("bob", "n1")
			act(bob)
			if got := bob.heard(); !slices.Contains(got, "bye 401") {
				t.Errorf("%s: the session heard %v", name, got)
			}
			if _, _, err := bob.Listen(t.Context(), protocol.ListenRequest{State: protocol.Available}); err == nil {
				t.Errorf("%s: the session listens again", name)
			}
			bob.Close()
		}
		s.listen("bob", "n1").Close()
	})
}

func setDisabled(name string, disabled bool) *storev1.Change {
	return &storev1.Change{Kind: &storev1.Change_SetDisabled{SetDisabled: &storev1.SetDisabled{Address: name + "@example.com", Disabled: disabled}}}
}

func TestStateAndUnlisten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "n1", "n2")
		bob := s.listen("bob", "n1")
		watcher := s.login("alice", "n2")
		watcher.watch(t, "bob")
		note := "lunch"
		if _, err := bob.SetState(t.Context(), protocol.Away, &note); err != nil {
			t.Fatal(err)
		}
		if _, err := bob.SetState(t.Context(), protocol.Busy, nil); err != nil {
			t.Fatal(err)
		}
		if _, err := bob.Unlisten(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got, want := watcher.heard(), []string{"bob away lunch", "bob busy lunch", "bob deaf "}; !slices.Equal(got, want) {
			t.Errorf("heard %q, want %q", got, want)
		}
		if _, err := bob.Unlisten(t.Context()); err == nil {
			t.Error("UNLISTEN twice was accepted")
		}
	})
}

// TestUnlistenWithoutMajority: the session is deaf at once, the answer comes
// while the lack is known, and the others learn it later.
func TestUnlistenWithoutMajority(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "n1", "n2")
		bob := s.listen("bob", "n1")
		s.setCut("n1", true)
		begun := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), protocol.RequestTimeout)
		defer cancel()
		_, err := bob.Unlisten(ctx)
		var refused *protocol.Error
		if !errors.As(err, &refused) || refused.Status != protocol.StatusUnavailable {
			t.Errorf("got %v, want 503", err)
		}
		if took := time.Since(begun); took > time.Second {
			t.Errorf("it took %v", took)
		}
		s.setCut("n1", false)
		time.Sleep(time.Second)
		synctest.Wait()
		if l := s.nodes["n2"].config.Table.Listener(addr("bob@example.com")); l != nil {
			t.Errorf("still bound: %v", l)
		}
	})
}

func TestCloseEndsListening(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "n1", "n2")
		bob := s.listen("bob", "n1")
		bob.Close()
		synctest.Wait()
		if l := s.nodes["n2"].config.Table.Listener(addr("bob@example.com")); l != nil {
			t.Errorf("still bound: %v", l)
		}
	})
}

// TestRefusals: each refusal of the table's has the status that says whether
// another try may help.
func TestRefusals(t *testing.T) {
	for refusal, want := range map[store.Refusal]protocol.Status{
		store.TooManySessions: protocol.StatusWrongState,
		store.TooManyRules:    protocol.StatusTooLarge,
		store.TooManyContacts: protocol.StatusTooLarge,
		store.OldCredential:   protocol.StatusUnauthorized,
		store.EndedEpoch:      protocol.StatusUnavailable,
		store.Restoring:       protocol.StatusUnavailable,
	} {
		var e *protocol.Error
		if err := refusalError(store.Result{Refusal: refusal}); !errors.As(err, &e) || e.Status != want {
			t.Errorf("%v: got %v, want %d", refusal, err, want)
		}
	}
}
