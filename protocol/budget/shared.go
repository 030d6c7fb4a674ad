package budget

import "sync"

// Shared is one piece of memory that several owners hold, such as a message to
// all sessions of several users. It counts fully against the share of each
// owner, but only once in the pool.
type Shared struct {
	size int

	mu      sync.Mutex
	holders []holder // few: a message has at most 64 recipients
}

type holder struct {
	owner *Owner
	times int
}

// NewShared returns a piece of n octets that nobody holds.
func NewShared(n int) *Shared { return &Shared{size: n} }

// Init makes s, which is zero, a piece of n octets that nobody holds.
func (s *Shared) Init(n int) { s.size = n }

// Reserve counts the piece for o if o's share allows it, and reports whether it
// does. An owner that holds it already may hold it again without counting
// more. Each successful call must be undone with Release.
func (s *Shared) Reserve(o *Owner) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.holders {
		if s.holders[i].owner == o {
			s.holders[i].times++
			return true
		}
	}
	held, all := o.held.Add(int64(s.size)), o.pool.held.Load()
	if len(s.holders) == 0 {
		all = o.pool.held.Add(int64(s.size))
	}
	s.holders = append(s.holders, holder{o, 1})
	if o.pool.isFair(held, all) {
		return true
	}
	s.removeLocked(len(s.holders) - 1)
	return false
}

// Release undoes one Reserve of o.
func (s *Shared) Release(o *Owner) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.holders {
		if s.holders[i].owner != o {
			continue
		}
		if s.holders[i].times--; s.holders[i].times == 0 {
			s.removeLocked(i)
		}
		return
	}
}

// removeLocked takes holder i out. s.mu is held.
func (s *Shared) removeLocked(i int) {
	o := s.holders[i].owner
	o.held.Add(int64(-s.size))
	s.holders = append(s.holders[:i], s.holders[i+1:]...)
	if len(s.holders) == 0 {
		o.pool.held.Add(int64(-s.size))
	}
}
