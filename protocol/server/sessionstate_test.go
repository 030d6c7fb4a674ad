package server

import (
	"sync"
	"sync/atomic"
	"testing"
)

// A session closes once, for the reason that was given first, and what else
// changes meanwhile is neither lost nor undoes it.
func TestSessionStateClosesOnce(t *testing.T) {
	for range 200 {
		var s sessionState
		var first atomic.Int32
		var changing sync.WaitGroup
		reasons := []closeReason{closeBroken, closeFinished, closeByServer, closeAborted}
		won := make([]bool, len(reasons))
		for i, why := range reasons {
			changing.Go(func() {
				if won[i] = s.close(why); won[i] {
					first.Add(1)
				}
			})
		}
		changing.Go(func() {
			s.setPhase(phaseGreeted)
			s.setPhase(phaseAuthenticated)
		})
		changing.Go(func() {
			s.beginAuth()
			s.endAuth()
			s.beginAuth()
		})
		changing.Wait()
		if first.Load() != 1 || !s.isClosing() || !won[s.reason()-closeBroken] {
			t.Fatalf("%d were first, the reason is %d of %v", first.Load(), s.reason(), won)
		}
		if !s.isAuthenticated() || !s.isAuthenticating() {
			t.Fatalf("the word is %#x", s.word.Load())
		}
	}
}

func TestSessionStatePhases(t *testing.T) {
	var s sessionState
	if s.phase() != phaseConnected || s.isClosing() || s.isAuthenticating() || s.isAuthenticated() {
		t.Errorf("it begins as %#x", s.word.Load())
	}
	s.beginAuth()
	for _, p := range []phase{phaseGreeted, phaseConnected, phaseGreeted, phaseAuthenticated} {
		if s.setPhase(p); s.phase() != p || s.isAuthenticated() != (p == phaseAuthenticated) || !s.isAuthenticating() {
			t.Errorf("phase %d became %#x", p, s.word.Load())
		}
	}
	s.endAuth()
	if s.isAuthenticating() || !s.isAuthenticated() || s.reason() != closeNone {
		t.Errorf("it ended as %#x", s.word.Load())
	}
}
