package router

import (
	"context"
	"time"

	"simpd/protocol"
	"simpd/store"
)

// Credentials returns what a user's password is checked against; for an
// unknown user, what nothing fits: made from the site's secret, so that it is
// the same on all nodes and at all times. It is made for a known user too: who
// is unknown does not take longer.
func (r *Router) Credentials(user protocol.Address) (protocol.Credentials, bool) {
	decoy := decoyCredentials(r.Table.Secret(), user, r.Table.VerifierShapes())
	if a, known := r.Table.Account(user); known {
		c := a.Credentials()
		c.Unchecked = r.mayBeOpen(a)
		return c, true
	}
	return decoy, false
}

// mayBeOpen reports whether the account's password may be older than the
// check of all ways in: it was there before this process, or came with a
// backup, which begins a history of its own.
func (r *Router) mayBeOpen(a *store.Account) bool {
	began := r.started.Load()
	return began == nil || a.Credential <= began.Index || r.Table.History() != began.History
}

// Admit asks the limits of failed logins. It returns 0, or how long the source
// has to wait before it may try again.
func (r *Router) Admit(a protocol.Attempt) time.Duration { return r.logins.admit(a) }

// IsPaced reports whether the attempt has to wait for its turn.
func (r *Router) IsPaced(a protocol.Attempt) bool { return r.logins.isPaced(a) }

// AwaitTurn waits until the attempt may be looked at, which is at once unless
// it is paced. It returns 0, or how long to wait before another try.
func (r *Router) AwaitTurn(ctx context.Context, a protocol.Attempt) time.Duration {
	return r.logins.awaitTurn(ctx, a)
}

// Failed counts a failed login, here and on all other nodes.
func (r *Router) Failed(a protocol.Attempt) {
	r.logins.failed(a)
	r.Peers.Failed(a)
}

// Succeeded remembers from where somebody has logged in, here and, where it
// is new, on all other nodes.
func (r *Router) Succeeded(a protocol.Attempt) {
	if r.logins.succeeded(a) {
		r.Peers.Succeeded(a)
	}
}

// FailedElsewhere counts failed logins that another node saw.
func (r *Router) FailedElsewhere(a protocol.Attempt, times int) { r.logins.failedElsewhere(a, times) }

// SucceededElsewhere remembers a login that another node saw.
func (r *Router) SucceededElsewhere(a protocol.Attempt) { r.logins.succeeded(a) }

// Kick closes this node's connections of a user, or the one that holds s, and
// says how many there were.
func (r *Router) Kick(user protocol.Address, s *store.Session) int {
	kicked := 0
	for _, u := range r.users.of(user) {
		if s == nil || u.holds(*s) {
			u.session.Bye(protocol.StatusForbidden, "an operator ended this connection")
			kicked++
		}
	}
	return kicked
}

func (u *User) holds(s store.Session) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.listening && u.id == s
}

// History names the log that indexes count in.
func (r *Router) History() string { return r.Table.History() }

// Refuse says why this node takes no client now, or "".
func (r *Router) Refuse() string {
	switch {
	case r.contact.cutOff():
		return cutOff
	case r.Draining():
		return "this node is going away; connect to another"
	}
	return ""
}
