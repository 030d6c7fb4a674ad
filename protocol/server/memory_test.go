package server

import (
	"slices"
	"testing"
	"time"

	"simpd/protocol"
)

// What was accepted is found for as long as it has to be, whenever the first
// question comes.
func TestMemoryFindsWhatWasAccepted(t *testing.T) {
	start := time.Now()
	for _, asked := range []time.Duration{0, 90 * time.Second, protocol.RepeatWindow} {
		var m memory
		for at := time.Duration(0); at <= protocol.RepeatWindow; at += time.Second {
			if at >= asked {
				_, known := m.get(uint64(at)+1, start.Add(at))
				if known {
					t.Fatalf("asked at %v: something is known before it was accepted", asked)
				}
			}
			m.put(uint64(at)+1, uint64(at)+2, start.Add(at))
		}
		end := start.Add(protocol.RepeatWindow)
		for at := time.Duration(0); at <= protocol.RepeatWindow; at += time.Second {
			if sum, ok := m.get(uint64(at)+1, end); !ok || sum != uint64(at)+2 {
				t.Fatalf("asked at %v: what was accepted at %v is %d, %v", asked, at, sum, ok)
			}
		}
		if _, ok := m.get(1, start.Add(generationTime+protocol.RepeatWindow+time.Second)); ok {
			t.Fatalf("asked at %v: the oldest is known for too long", asked)
		}
	}
}

// However many are accepted, so many are remembered, and no more.
func TestMemoryIsBounded(t *testing.T) {
	for _, sorted := range []bool{false, true} {
		m, now := memory{sorted: sorted}, time.Now()
		const many = (maxGenerations + 3) * maxGeneration
		for i := range uint64(many) {
			m.put(i, i, now)
		}
		held := 0
		for _, g := range m.generations {
			held += len(slices.Concat(g.notes...)) + len(g.found)
		}
		if held > maxGenerations*maxGeneration {
			t.Errorf("sorted %v: %d are remembered", sorted, held)
		}
		if _, ok := m.get(many-1, now); !ok {
			t.Errorf("sorted %v: the newest is forgotten", sorted)
		}
	}
}
