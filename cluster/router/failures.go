package router

import (
	"net/netip"
	"sync"
	"time"

	"simpd/protocol"
)

// The budgets of failed logins in a minute (section 4). Beyond the account's,
// only sources that have themselves failed on it are refused, so that nobody
// can lock out another.
const (
	sourceFailures  = 30
	accountFailures = 10
	failureWindow   = time.Minute
	maxFailures     = 1 << 16 // entries remembered in a window
)

// failures counts failed logins in windows of a minute. A window's counts are
// forgotten with it.
type failures struct {
	mu       sync.Mutex
	began    time.Time
	sources  map[netip.Addr]int
	accounts map[protocol.Address]int
	pairs    map[failure]int
}

type failure struct {
	source  netip.Addr
	account protocol.Address
}

// turn begins a new window when the present one is over. f.mu is held.
func (f *failures) turn() time.Time {
	now := time.Now()
	if f.sources == nil || now.Sub(f.began) >= failureWindow {
		f.began = now
		f.sources = map[netip.Addr]int{}
		f.accounts = map[protocol.Address]int{}
		f.pairs = map[failure]int{}
	}
	return f.began.Add(failureWindow)
}

// admit returns 0, or how long a source has to wait before it may try again.
func (f *failures) admit(source netip.Addr, account protocol.Address) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	end := f.turn()
	if f.sources[source] >= sourceFailures ||
		f.accounts[account] >= accountFailures && f.pairs[failure{source, account}] > 0 {
		return max(time.Second, time.Until(end))
	}
	return 0
}

func (f *failures) failed(source netip.Addr, account protocol.Address, times int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.turn()
	if len(f.pairs) >= maxFailures {
		return // who floods has long been refused by the source's budget
	}
	f.sources[source] += times
	f.accounts[account] += times
	f.pairs[failure{source, account}] += times
}
