package router

import (
	"simpd/protocol"
)

// recordOutcomeLocked keeps o if it takes precedence over the outcome so far.
func (d *delivery) recordOutcomeLocked(o protocol.Outcome) {
	if d.outcome.Status == 0 || precedence(o.Status) < precedence(d.outcome.Status) {
		d.outcome = o
	}
}

// precedence orders outcomes as rule 7 of SIMP.md, section 6 does; the lowest
// wins.
func precedence(s protocol.Status) int {
	switch s {
	case protocol.StatusIndeterminate:
		return 0
	case protocol.StatusRefused, protocol.StatusWrongState:
		return 1
	case protocol.StatusNotReading:
		return 2
	case protocol.StatusNotListening:
		return 4
	}
	return 3 // a node that was not reached
}

// notFoundStatus returns the status for a recipient who certainly does not
// listen.
func (d *delivery) notFoundStatus(known bool) protocol.Status {
	if !known && !d.sender.isRemote && len(d.tried) == 0 {
		return protocol.StatusUnknownAddress
	}
	return protocol.StatusNotListening
}

// maxStatus is the greatest status of an outcome.
const maxStatus = protocol.StatusVersion

// countOutcome counts an outcome for Outcomes.
func (r *Router) countOutcome(s protocol.Status) {
	if s >= 0 && s <= maxStatus {
		r.outcomes[s].Add(1)
	}
}

// Outcomes yields the number of messages sent here for each status that
// occurred. A message to several recipients counts once for each.
func (r *Router) Outcomes(yield func(s protocol.Status, messages uint64)) {
	for s := range r.outcomes {
		if n := r.outcomes[s].Load(); n > 0 {
			yield(protocol.Status(s), n)
		}
	}
}
