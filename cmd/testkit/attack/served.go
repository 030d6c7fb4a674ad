package main

import (
	"slices"
	"sync"
	"time"
)

// served counts how requests of one kind were answered.
type served struct {
	times   []time.Duration // of those that were answered 200
	refused map[string]int  // others, by status, or by what came instead
}

func (s *served) total() int { return len(s.times) + s.refusals() }

func (s *served) refusals() (n int) {
	for _, k := range s.refused {
		n += k
	}
	return n
}

// quantile returns the time that this part of the requests took at most; 0 if
// none was answered.
func (s *served) quantile(part float64) time.Duration {
	if len(s.times) == 0 {
		return 0
	}
	return s.times[min(len(s.times)-1, int(float64(len(s.times))*part))]
}

// counter gathers what honest users meet. Any goroutine may call its methods.
type counter struct {
	mu  sync.Mutex
	all map[string]*served
}

func (c *counter) of(kind string) *served {
	if c.all == nil {
		c.all = map[string]*served{}
	}
	if c.all[kind] == nil {
		c.all[kind] = &served{refused: map[string]int{}}
	}
	return c.all[kind]
}

// count counts a request by its outcome: "200", or another one.
func (c *counter) count(kind, outcome string, took time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.of(kind); outcome == "200" {
		s.times = append(s.times, took)
	} else {
		s.refused[outcome]++
	}
}

// cut returns what was counted since the last cut, with the times in order.
func (c *counter) cut() map[string]*served {
	c.mu.Lock()
	all := c.all
	c.all = nil
	c.mu.Unlock()
	for _, s := range all {
		slices.Sort(s.times)
	}
	return all
}
