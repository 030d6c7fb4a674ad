package main

import (
	"maps"
	"sync"
	"sync/atomic"
)

// tally counts what an attack did and was told. Its methods may be called from
// any goroutine.
type tally struct {
	tries atomic.Int64
	mu    sync.Mutex
	told  map[string]int64
	err   error // it could not attack
}

// add counts tries: requests, connections, or pieces of what never ends.
func (t *tally) add(n int) { t.tries.Add(int64(n)) }

// tell counts an outcome: a status, or a word for what has none.
func (t *tally) tell(outcome string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.told == nil {
		t.told = map[string]int64{}
	}
	if _, known := t.told[outcome]; !known && len(t.told) >= maxOutcomes {
		outcome = "others"
	}
	t.told[outcome]++
}

// maxOutcomes bounds how many outcomes of an attack are told apart.
const maxOutcomes = 40

// counts is a tally as the attackers' process tells it.
type counts struct {
	Tries int64
	Told  map[string]int64
	Err   string
}

func (t *tally) counts() counts {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := counts{Tries: t.tries.Load(), Told: maps.Clone(t.told)}
	if t.err != nil {
		c.Err = t.err.Error()
	}
	return c
}
