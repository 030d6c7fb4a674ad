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

// TestDrainIsEven: clients are asked at a pace that neither hurries, where
// there is time, nor leaves anybody out, where there is little; and a time in
// which nobody could take them does not bring them all at once.
func TestDrainIsEven(t *testing.T) {
	for _, tt := range []struct {
		name       string
		within     time.Duration
		closed     time.Duration // nobody takes clients so long
		took, most time.Duration // to ask all, at the least and at the most
		atOnce     int           // at the most in a tenth of a second
	}{
		{"there is time", 30 * time.Second, 0, 600 * time.Millisecond, 700 * time.Millisecond, 50},
		{"there is little", 500 * time.Millisecond, 0, 350 * time.Millisecond, 420 * time.Millisecond, 80},
		{"nobody takes them at first", 30 * time.Second, 3 * time.Second, 3600 * time.Millisecond, 3700 * time.Millisecond, 50},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { drainEvenly(t, tt.within, tt.closed, tt.took, tt.most, tt.atOnce) })
		})
	}
}

func drainEvenly(t *testing.T, within, closed, took, most time.Duration, atOnce int) {
	const clients = 300
	s := newSite(t, "n1")
	for range clients {
		s.login("bob", "n1")
	}
	begun := time.Now()
	var asked []time.Duration
	plan := Drain{Within: within, Target: func(protocol.Transport) (string, bool) {
		since := time.Since(begun)
		if since >= closed {
			asked = append(asked, since)
		}
		return "n2:7467", since >= closed
	}}
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	if err := s.nodes["n1"].Drain(ctx, plan); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Drain: %v", err)
	}
	if len(asked) != clients || asked[clients-1] < took || asked[clients-1] > most {
		t.Fatalf("%d of %d clients were asked, the last after %v", len(asked), clients, asked[len(asked)-1])
	}
	for i := range asked[atOnce:] {
		if asked[i+atOnce]-asked[i] < 100*time.Millisecond {
			t.Fatalf("more than %d clients were asked between %v and %v", atOnce, asked[i], asked[i+atOnce])
		}
	}
}
