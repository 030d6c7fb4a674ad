package router

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"simpd/protocol"
)

func planTo(target string) Drain {
	return Drain{Target: func(protocol.Transport) (string, bool) { return target, true }, Within: 10 * time.Second}
}

func TestDrainMovesEverybody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "n1", "n2")
		bob := s.listen("bob", "n1")
		left := -1
		plan := planTo("n2:7467")
		plan.Progress = func(n int) { left = n }
		done := make(chan error, 1)
		go func() { done <- s.nodes["n1"].Drain(t.Context(), plan) }()
		if got := bob.heard(); !slices.Equal(got, []string{"move n2:7467"}) {
			t.Errorf("heard %v", got)
		}
		if s.nodes["n1"].Refuse() == "" {
			t.Error("a draining node takes new clients")
		}
		moved := s.listen("bob", "n2")
		bob.Close()
		if err := <-done; err != nil || left != 0 {
			t.Errorf("drained: %v, left %d", err, left)
		}
		want(t, "the moved session", s.login("alice", "n2").send(t, "bob", "m1"), protocol.StatusOK)
		if len(moved.received()) != 1 {
			t.Error("it was not delivered there")
		}
		s.nodes["n1"].Undrain()
		if why := s.nodes["n1"].Refuse(); why != "" {
			t.Errorf("after Undrain it refuses: %s", why)
		}
	})
}

func TestDrainSaysByeInTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "n1")
		bob := s.listen("bob", "n1")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := s.nodes["n1"].Drain(ctx, planTo("")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Drain: %v", err)
		}
		if got := bob.heard(); !slices.Contains(got, "bye 503") {
			t.Errorf("heard %v", got)
		}
	})
}
