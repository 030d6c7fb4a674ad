package server

import (
	"runtime"
	"time"

	"simpd/protocol"
	"simpd/protocol/rate"
)

// Addresses in other scripts cost about a hundred times as much to read as
// others. So there is a limit on their octets, for each user and each remote
// domain, all connections together; they are never read on the event loop; and
// at most half of the processors read them at a time. (The domain of a HELLO
// is the exception: few requests are read before AUTH.)
//
// The cost is measured by BenchmarkParseAddressByScript of package protocol: 40 to 500
// ns an octet, so that what a user may send takes at most 3 % of a processor.
var (
	userIDN   = rate.NewLimit(64<<10, 256<<10) // octets
	domainIDN = rate.NewLimit(256<<10, 1<<20)
)

// idnPerTurn is how many octets of such addresses end a connection's turn.
const idnPerTurn = 8 << 10

// countIDN counts the octets of the addresses in r that need IDNA or PRECIS.
func (r *request) countIDN() {
	for i := range r.line.Params {
		if p := &r.line.Params[i]; hasAddress(p.Key) && protocol.NeedsIDNA(p.Value) {
			r.idn += len(p.Value)
		}
	}
}

// hasAddress reports whether the values of key are addresses, patterns or
// domains.
func hasAddress(key string) bool {
	switch key {
	case "to", "from", "ima", "by", "who", "domain":
		return true
	}
	return false
}

// spendIDN charges the octets of such addresses to the owner's limit, and
// returns how long reading must pause. It is called again after a pause.
func (s *session) spendIDN() (wait time.Duration) {
	p := &s.pace
	if !s.state.isAuthenticated() || p.idn == 0 && p.pausedUntil == 0 {
		return 0 // before that, s.client may be changing
	}
	limit, now := userIDN, time.Since(s.server.tenants.start)
	if s.client.Domain != "" {
		limit = domainIDN
	}
	s.usage.withTenant(func(o *tenant) {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.idn.Spend(limit, int(p.idn), now)
		wait = o.idn.Wait(limit, 1, now)
	})
	p.idn = 0
	return wait
}

// idnSemaphore limits the goroutines that parse addresses that need IDNA.
type idnSemaphore chan struct{}

func newIDNSemaphore() idnSemaphore { return make(idnSemaphore, max(1, runtime.GOMAXPROCS(0)/2)) }

// parse calls parse, which parses v, after acquiring the semaphore if v needs
// IDNA.
func (readers idnSemaphore) parse(v string, parse func() error) error {
	if !protocol.NeedsIDNA(v) {
		return parse()
	}
	readers <- struct{}{}
	defer func() { <-readers }()
	return parse()
}
