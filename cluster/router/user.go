package router

import (
	"context"
	"errors"
	"sync"
	"time"

	storev1 "simpd/proto/simp/store/v1"
	"simpd/protocol"
	"simpd/protocol/budget"
	"simpd/store"
)

// ErrUncertain is wrapped by a Directory's error when what was proposed may
// yet be applied.
var ErrUncertain = errors.New("it is not known whether the change was made")

// User is the site as one authenticated connection sees it. Its methods are
// called as server.User says.
type User struct {
	sender
	session protocol.Session
	client  protocol.Client

	mu         sync.Mutex
	credential uint64 // the account's generation that it has logged in with
	changing   bool   // it changes its own password just now
	closed     bool
	listening  bool
	id         store.Session // while it listens, or tries to
	epoch      uint64        // of the node when it was bound
	bound      uint64        // index from which it is found
	state      protocol.State
	note       string

	// What u watches. The hub guards it.
	watched  map[pair]*watch
	mostHeld int              // watches, since the map was made
	share    *budget.Owner    // of what its owner's watches take; nil while it watches nothing
	key      protocol.Address // as what rules compare a user by, once it has watched
}

// Login makes an authenticated connection known, so that a change of its
// account reaches it. The error is a *protocol.Error of status 401 when the
// account has changed since its credentials were checked.
func (r *Router) Login(_ context.Context, s protocol.Session) (*User, error) {
	u := &User{session: s, client: s.Client()}
	u.sender.r = r
	u.outsider = u.client.Domain != ""
	u.credential = u.client.Credential
	r.users.add(u)
	if u.outsider {
		return u, nil
	}
	if why := u.whyRevoked(false); why != "" {
		r.users.remove(u)
		return nil, protocol.Errorf(protocol.StatusUnauthorized, "%s", why)
	}
	return u, nil
}

// whyRevoked says why the connection may no longer speak for its user, or "".
// isChanging reports that another password may be its own change.
func (u *User) whyRevoked(isChanging bool) string {
	account, known := u.r.Table.Account(u.client.User)
	switch {
	case !known:
		return "the account was removed"
	case account.Disabled:
		return "the account is disabled"
	case account.LastDisabled > u.credential:
		return "the account was disabled"
	case !isChanging && account.Generation() != u.credential:
		return "the password was changed"
	}
	return ""
}

// check tells the connection what the table says of it: that its account
// (if that may have changed) or its session is no longer what it was.
func (u *User) check(account bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closed || u.outsider {
		return
	}
	if account {
		if why := u.whyRevoked(u.changing); why != "" {
			u.session.Bye(protocol.StatusUnauthorized, why)
			return
		}
	}
	u.checkBinding()
}

// checkBinding finds out that the session was displaced. While this node's
// epoch is ended nothing is said: binding it again decides. u.mu is held.
func (u *User) checkBinding() {
	if !u.listening || !u.r.living(u.epoch) {
		return
	}
	if !u.r.Table.Listens(u.client.User, u.id) {
		u.displaced(u.whoDisplaced())
	}
}

// whoDisplaced says why the table has ended the session's listening. u.mu is
// held.
func (u *User) whoDisplaced() string {
	if a, ok := u.r.Table.Account(u.client.User); ok && a.Exclusive > u.bound {
		return "another session of yours listens exclusively"
	}
	return "the site ended this session"
}

// displaced ends listening without a release. u.mu is held.
func (u *User) displaced(why string) {
	u.listening = false
	u.r.users.leave(u.id)
	u.session.Unlistened(why)
}

// living reports whether epoch is this node's present one, as the table knows.
func (r *Router) living(epoch uint64) bool {
	n, ok := r.Table.Node(r.Node)
	return ok && !n.Down && n.Epoch == epoch
}

// Send begins the delivery of q to each recipient.
func (u *User) Send(q *protocol.SendRequest) {
	from := u.client.User
	if u.outsider {
		from = q.From
	}
	u.sender.send(q, from)
}

// SetPassword replaces the account's credentials; every other connection of
// the user is closed by it.
func (u *User) SetPassword(ctx context.Context, c protocol.Credentials) error {
	u.mu.Lock()
	u.changing = true
	put := &storev1.PutAccount{
		Address: u.client.User.String(), Mode: storev1.PutAccount_MODE_REPLACE, IfCredential: u.credential,
		Verifier: &storev1.Verifier{Salt: c.Salt, Iterations: uint32(c.Iterations), StoredKey: c.StoredKey, ServerKey: c.ServerKey},
	}
	if u.listening {
		put.Keep = sessionProto(u.id)
	}
	u.mu.Unlock()
	res, err := u.r.propose(ctx, &storev1.Change{Kind: &storev1.Change_PutAccount{PutAccount: put}})
	u.mu.Lock()
	u.changing = false
	if err == nil {
		u.credential = res.Credential
	}
	u.mu.Unlock()
	u.check(true) // what became of the account meanwhile was not looked at
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, passwordPatience)
	defer cancel()
	_ = u.r.Directory.Applied(ctx, res.Index, nil) // it is committed: a node that is late will apply it
	return nil
}

// passwordPatience is how long a change of password waits for slow nodes.
const passwordPatience = 5 * time.Second

// Close ends listening and watching, in the background.
func (u *User) Close() {
	u.r.hub.forget(u)
	u.mu.Lock()
	u.closed = true
	listening := u.listening
	u.listening = false
	u.mu.Unlock()
	if listening {
		u.r.users.leave(u.id)
		u.r.release.add(u.client.User, u.id)
	}
	u.r.users.remove(u)
}

// propose makes one change and returns what became of it; a refusal is a
// *protocol.Error.
func (r *Router) propose(ctx context.Context, c *storev1.Change) (store.Result, error) {
	results, err := r.Directory.Propose(ctx, c)
	switch {
	case err != nil:
		return store.Result{}, unavailable(err)
	case results[0].Refusal != store.None:
		return results[0], refused(results[0])
	}
	return results[0], nil
}

// unavailable is how a failure to change the table is answered.
func unavailable(err error) error {
	return &protocol.Error{Status: protocol.StatusUnavailable, Text: "the change is not confirmed: " + err.Error()}
}

// refused is how the table's refusals are answered.
func refused(res store.Result) error {
	status := protocol.StatusServerError
	switch res.Refusal {
	case store.TooManySessions, store.NotBound, store.Displaced:
		status = protocol.StatusWrongState
	case store.TooManyRules, store.TooManyContacts:
		status = protocol.StatusTooLarge
	case store.NoAccount, store.Disabled, store.OldCredential, store.Stale:
		status = protocol.StatusUnauthorized
	case store.EndedEpoch, store.Restoring:
		status = protocol.StatusUnavailable
	}
	return &protocol.Error{Status: status, Text: reason(res)}
}

// reason says a refusal of the table's to a person.
func reason(res store.Result) string {
	if res.Detail != "" {
		return res.Detail
	}
	return res.Refusal.String()
}
