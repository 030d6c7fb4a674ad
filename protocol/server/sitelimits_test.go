package server

import (
	"sync"
	"time"

	"simpd/protocol"
	"simpd/protocol/rate"
)

// meter limits how often each user of a site may do something.
type meter struct {
	limit  rate.Limit
	mu     sync.Mutex
	began  time.Time
	bucket map[protocol.Address]*rate.Bucket
}

// of returns the bucket of a user, and the time; m.mu is held.
func (m *meter) of(user protocol.Address) (*rate.Bucket, time.Duration) {
	if m.bucket == nil {
		m.bucket, m.began = map[protocol.Address]*rate.Bucket{}, time.Now()
	}
	if m.bucket[user] == nil {
		m.bucket[user] = new(rate.Bucket)
	}
	return m.bucket[user], time.Since(m.began)
}

func (m *meter) take(user protocol.Address, n int) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, now := m.of(user)
	wait := b.Wait(m.limit, n, now)
	if wait == 0 {
		b.Spend(m.limit, n, now)
	}
	return wait
}

func (m *meter) spend(user protocol.Address, n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, now := m.of(user)
	b.Spend(m.limit, n, now)
}

func (u *siteUser) TakeMessages(_ protocol.Address, n int) time.Duration {
	return u.site.messages.take(u.address, n)
}
func (u *siteUser) TakeWatches(_ []protocol.Address, n int) time.Duration {
	return u.site.watches.take(u.address, n)
}
func (u *siteUser) SpendWatches(_ []protocol.Address, n int) { u.site.watches.spend(u.address, n) }

func (u *straight) TakeMessages(protocol.Address, int) time.Duration   { return 0 }
func (u *unanswered) TakeMessages(protocol.Address, int) time.Duration { return 0 }
