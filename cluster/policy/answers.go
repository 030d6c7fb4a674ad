package policy

import (
	"strings"
	"sync"
	"time"
)

// pairKey is a sender and a recipient.
type pairKey struct{ from, to string }

// answers remembers answers in two generations. A generation ends when it is
// full, and after maxTTL.
type answers struct {
	began    time.Time
	mu       sync.Mutex
	new, old map[pairKey]remembered
	timer    *time.Timer // that ends the generation; nil: nothing is remembered
}

type remembered struct {
	Answer
	until time.Duration
}

// get returns the answer that holds for a pair.
func (s *answers) get(k pairKey) (Answer, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.new[k]
	if !ok {
		r, ok = s.old[k]
	}
	return r.Answer, ok && time.Since(s.began) < r.until
}

// put remembers an answer. The key may be part of a request.
func (s *answers) put(k pairKey, a Answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.new) >= maxAnswers {
		s.old, s.new = s.new, nil
	}
	if s.new == nil {
		s.new = make(map[pairKey]remembered)
	}
	if s.timer == nil {
		s.timer = time.AfterFunc(maxTTL, s.expire)
	}
	delete(s.old, k)
	k = pairKey{strings.Clone(k.from), strings.Clone(k.to)}
	delete(s.new, k) // so that the map holds the cloned key
	s.new[k] = remembered{a, time.Since(s.began) + a.TTL}
}

// expire ends a generation. Answers of the one before no longer hold.
func (s *answers) expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.old, s.new = s.new, nil
	if len(s.old) > 0 {
		s.timer.Reset(maxTTL)
		return
	}
	s.timer = nil
}
