package federation

import (
	"cmp"
	"slices"
	"time"

	"simpd/protocol"
)

// DomainState describes how this node stands with another site, for operators.
type DomainState struct {
	Local, Remote string
	State         string    // connected, connecting, failing or idle
	Since         time.Time // when the connection came about; zero: there is none
	Address       string    // that it is connected to
	// Failure is what messages get because of the last failure; its Status is 0
	// if there was none since the last connection that lasted.
	Failure  protocol.Outcome
	Failures int           // in a row
	RetryIn  time.Duration // until the next attempt; 0: none is due
	Waiting  int           // requests that are not sent or not answered
	Watches  int
	Route    string // that is configured; empty: by DNS
}

// DomainStates returns the sites that this node deals with or has lately dealt
// with, at most limit, in the order of their domains.
func (r *Relay) DomainStates(limit int) []DomainState {
	routes := r.config.Federation().Routes
	all := []DomainState{}
	for _, p := range r.remoteDomains() {
		s := p.describeState()
		s.Route = routes[s.Remote]
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b DomainState) int {
		return cmp.Or(cmp.Compare(a.Remote, b.Remote), cmp.Compare(a.Local, b.Local))
	})
	return all[:min(len(all), limit)]
}

// describeState returns the state of one remote domain.
func (p *remoteDomain) describeState() DomainState {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := DomainState{Local: p.local, Remote: p.remote, State: "idle", Failures: p.failures, Waiting: len(p.queue), Watches: len(p.watches)}
	if p.failures > 0 {
		s.Failure = p.failure
	}
	switch {
	case p.conn != nil:
		s.State, s.Since, s.Address = "connected", p.conn.connectedAt, p.conn.Target.String()
		s.Waiting += len(p.conn.inflight)
	case p.connecting:
		s.State = "connecting"
	case p.failures > 0:
		s.State, s.RetryIn = "failing", max(0, time.Until(p.retryAt))
	}
	return s
}
