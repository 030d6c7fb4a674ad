package router

import (
	"context"
	"time"

	"simpd/protocol"
	"simpd/store"
)

// Credentials returns what a user's password is checked against. For an
// unknown user it returns decoy credentials that no password matches, derived
// from the site's secret so that they are the same on all nodes and at all
// times. The decoy is computed for known users too, so that both cases take
// equally long.
func (r *Router) Credentials(user protocol.Address) (protocol.Credentials, bool) {
	decoy := decoyCredentials(r.config.Table.Secret(), user, r.config.Table.VerifierShapes())
	if a, known := r.config.Table.Account(user); known {
		c := a.Credentials()
		c.Unchecked = r.mayBeUnchecked(a)
		c.AppPasswords = appVerifiers(a, time.Now())
		r.addSources(&c, user)
		return c, true
	}
	r.addSources(&decoy, user)
	return decoy, false
}

// mayBeUnchecked reports whether the account's password may be older than
// today's password checks: it existed before this process started, or it came
// from a backup, which begins a new history.
func (r *Router) mayBeUnchecked(a *store.Account) bool {
	began := r.started.Load()
	return began == nil || a.Credential <= began.Index || r.config.Table.History() != began.History
}

// Admit asks the limits on failed logins. It returns 0, or how long the
// source must wait before its next attempt.
func (r *Router) Admit(a protocol.Attempt) time.Duration { return r.logins.admit(a) }

// IsPaced reports whether the attempt must wait for its turn.
func (r *Router) IsPaced(a protocol.Attempt) bool { return r.logins.isPaced(a) }

// AwaitTurn blocks until the attempt may proceed, which is at once unless it
// is paced. It returns 0, or how long to wait before the next attempt.
func (r *Router) AwaitTurn(ctx context.Context, a protocol.Attempt) time.Duration {
	return r.logins.awaitTurn(ctx, a)
}

// Failed counts a failed login here and on all other nodes.
func (r *Router) Failed(a protocol.Attempt) {
	r.logins.failed(a)
	r.peers.Failed(a)
}

// Succeeded records the source of a successful login here and, if it is new
// for the account, on all other nodes.
func (r *Router) Succeeded(a protocol.Attempt) {
	if r.logins.succeeded(a) {
		r.peers.Succeeded(a)
	}
}

// FailedElsewhere counts failed logins that another node reported.
func (r *Router) FailedElsewhere(a protocol.Attempt, times int) { r.logins.failedElsewhere(a, times) }

// SucceededElsewhere records a successful login that another node reported.
func (r *Router) SucceededElsewhere(a protocol.Attempt) { r.logins.succeeded(a) }
