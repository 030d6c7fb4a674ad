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

// Connection is one authenticated connection of a user. It implements
// server.User, which says how its methods may be called.
type Connection struct {
	sender
	session protocol.Session
	client  protocol.Client

	mu               sync.Mutex
	credential       uint64      // generation of the account, or of the app password, that it logged in with
	changingPassword bool        // a change of its own password is in progress
	expiry           *time.Timer // ends the connection with what it logged in with; nil: none
	closed           bool
	listening        bool
	sessionID        store.Session // while it listens, or tries to
	epoch            uint64        // of the node when the session was bound
	boundIndex       uint64        // index of the binding
	state            protocol.State
	note             string

	// What u watches. The hub guards it.
	watched     map[pair]*watch
	peakWatches int              // most watches since the map was made
	share       *budget.Owner    // memory share of its owner's watches; nil while it watches nobody
	ownRuleKey  protocol.Address // the form of its address that rules are compared with, once it has watched
	// followsGroups says that it watches its contacts, and groups are those that
	// it watches the members of.
	followsGroups bool
	groups        []*store.ContactGroup
	// changesWatches says that a request is changing watched, so that watches do not
	// follow the groups; missedGroups, that they would have.
	changesWatches, missedGroups bool
}

// Login registers an authenticated connection, so that changes of its account
// reach it. It returns a *protocol.Error with status 401 if the account has
// changed since its credentials were checked.
func (r *Router) Login(_ context.Context, s protocol.Session) (*Connection, error) {
	u := &Connection{session: s, client: s.Client()}
	if err := r.takeLogin(&u.client); err != nil {
		return nil, err
	}
	u.sender.r = r
	u.isRemote, u.source = u.client.Domain != "", sourceOf(u.client.Remote)
	u.credential = u.client.Credential
	if u.client.UsesAppPassword {
		u.credential = r.appCredential(u.client.User, u.client.AppPassword())
	}
	r.users.add(u)
	if u.isRemote {
		return u, nil
	}
	if why := u.revocationReason(false); why != "" {
		r.users.remove(u)
		return nil, protocol.Errorf(protocol.StatusUnauthorized, "%s", why)
	}
	if u.client.UsesAppPassword {
		u.startAppPassword()
	}
	if e := u.client.Expiry; e != nil {
		u.recheckAt(e.At)
	}
	return u, nil
}

// revocationReason returns why the connection may no longer act for its user,
// or "". isChanging reports that a new password may be the connection's own
// change.
func (u *Connection) revocationReason(isChanging bool) string {
	account, known := u.r.config.Table.Account(u.client.User)
	switch {
	case !known:
		return "the account was removed"
	case account.Disabled:
		return "the account is disabled"
	case account.LastDisabled > u.credential:
		return "the account was disabled"
	case u.client.UsesAppPassword:
		return u.appRevocationReason(account.AppPassword(u.client.AppPassword()))
	case !isChanging && account.Generation() != u.credential:
		return "the password was changed"
	case u.client.Expiry != nil && !time.Now().Before(u.client.Expiry.At):
		return u.client.Expiry.Reason
	}
	return ""
}

// recheck compares the connection with the table, and notifies it if its
// account (which is checked only if account is set) or its session is no
// longer valid.
func (u *Connection) recheck(account bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closed || u.isRemote {
		return
	}
	if account {
		if why := u.revocationReason(u.changingPassword); why != "" {
			u.session.Bye(protocol.StatusUnauthorized, why)
			return
		}
	}
	u.checkBindingLocked()
}

// checkBindingLocked detects that the session was displaced. While this
// node's epoch is ended it does nothing: the rebind decides.
func (u *Connection) checkBindingLocked() {
	if !u.listening || !u.r.isCurrentEpoch(u.epoch) {
		return
	}
	if !u.r.config.Table.Listens(u.client.User, u.sessionID) {
		u.onDisplacedLocked(u.displacedReasonLocked())
	}
}

// displacedReasonLocked returns why the table has ended the session.
func (u *Connection) displacedReasonLocked() string {
	if a, ok := u.r.config.Table.Account(u.client.User); ok && a.Exclusive > u.boundIndex {
		return "another session of yours listens exclusively"
	}
	return "the site ended this session"
}

// onDisplacedLocked ends listening without changing the table.
func (u *Connection) onDisplacedLocked(why string) {
	u.listening = false
	u.r.users.removeSession(u.sessionID)
	u.session.Displaced(why)
}

// isCurrentEpoch reports whether epoch is this node's epoch according to the
// table.
func (r *Router) isCurrentEpoch(epoch uint64) bool {
	n, ok := r.config.Table.Node(r.config.Node)
	return ok && !n.Down && n.Epoch == epoch
}

// Send starts the delivery of q to each recipient.
func (u *Connection) Send(q *protocol.SendRequest) {
	from := u.client.User
	if u.isRemote {
		from = q.From
	}
	u.ownMeters()
	u.sender.sendAll(q, from)
}

func verifierProto(c *protocol.Credentials) *storev1.Verifier {
	return &storev1.Verifier{Salt: c.Salt, Iterations: uint32(c.Iterations), StoredKey: c.StoredKey, ServerKey: c.ServerKey}
}

// SetPassword replaces the account's credentials. Every other connection of
// the user is closed, except those of app passwords.
func (u *Connection) SetPassword(ctx context.Context, c protocol.Credentials) error {
	u.mu.Lock()
	u.changingPassword = true
	put := &storev1.PutAccount{
		Address: u.client.User.String(), Mode: storev1.PutAccount_MODE_REPLACE, IfCredential: u.credential,
		Verifier: verifierProto(&c),
	}
	if u.listening {
		put.Keep = store.SessionProto(u.sessionID)
	}
	u.mu.Unlock()
	res, err := u.r.proposeChange(ctx, &storev1.Change{Kind: &storev1.Change_PutAccount{PutAccount: put}})
	u.mu.Lock()
	u.changingPassword = false
	if err == nil {
		u.credential = res.Credential
	}
	u.mu.Unlock()
	u.recheck(true) // what became of the account meanwhile was not looked at
	if err != nil {
		return err
	}
	u.r.awaitEverywhere(ctx, res.Index)
	return nil
}

// awaitEverywhere waits until every node that is up has applied a change of
// passwords or keys, at most passwordTimeout: it is committed, and a node that
// is late will apply it.
func (r *Router) awaitEverywhere(ctx context.Context, index uint64) {
	ctx, cancel := context.WithTimeout(ctx, passwordTimeout)
	defer cancel()
	_ = r.directory.Applied(ctx, index, nil)
}

// passwordTimeout is how long a change of passwords or keys waits for slow
// nodes.
const passwordTimeout = 5 * time.Second

// Close ends watching at once, and listening in the background.
func (u *Connection) Close() {
	u.r.hub.removeUser(u)
	u.mu.Lock()
	u.closed = true
	if u.expiry != nil {
		u.expiry.Stop()
	}
	listening := u.listening
	u.listening = false
	u.mu.Unlock()
	if listening {
		u.r.users.removeSession(u.sessionID)
		u.r.unbinder.enqueue(u.client.User, u.sessionID)
	}
	u.r.users.remove(u)
}

// proposeChange makes one change and returns its result. A refusal is a
// *protocol.Error.
func (r *Router) proposeChange(ctx context.Context, c *storev1.Change) (store.Result, error) {
	results, err := r.directory.Propose(ctx, c)
	switch {
	case err != nil:
		return store.Result{}, unavailableError(err)
	case results[0].Refusal == store.OtherSalt:
		return results[0], protocol.ErrOtherSalt
	case results[0].Refusal != store.None:
		return results[0], refusalError(results[0])
	}
	return results[0], nil
}

// unavailableError converts a failure to change the table into a response.
// Users are not told of the nodes and addresses that err may name.
func unavailableError(err error) error {
	text := "the change could not be made now; try again"
	if errors.Is(err, store.ErrUnknown) || errors.Is(err, context.DeadlineExceeded) {
		text = "the change is not confirmed: it may have been made, or may yet be"
	}
	return &protocol.Error{Status: protocol.StatusUnavailable, Text: text}
}

// refusalError converts a refusal by the table into a response.
func refusalError(res store.Result) error {
	status := protocol.StatusServerError
	switch res.Refusal {
	case store.TooManySessions, store.NotBound, store.Displaced, store.TooManyAppPasswords, store.TooManyKeys:
		status = protocol.StatusWrongState
	case store.TooManyReports:
		return &protocol.Error{Status: protocol.StatusSlowDown, Text: refusalText(res), Retry: reportRetry}
	case store.TooManyRules, store.TooManyContacts:
		status = protocol.StatusTooLarge
	case store.NoAccount, store.Disabled, store.OldCredential, store.Stale:
		status = protocol.StatusUnauthorized
	case store.Malformed, store.KeyExists, store.BadProof:
		status = protocol.StatusBadRequest
	case store.NoAppPassword, store.NoKey:
		status = protocol.StatusUnknownAddress
	case store.OtherSource:
		status = protocol.StatusForbidden
	case store.EndedEpoch, store.Restoring, store.Exists: // Exists: a login that was overtaken
		status = protocol.StatusUnavailable
	}
	return &protocol.Error{Status: status, Text: refusalText(res)}
}

// refusalText explains a refusal by the table to a person.
func refusalText(res store.Result) string {
	if res.Detail != "" {
		return res.Detail
	}
	return res.Refusal.String()
}

// holdsSession reports whether the connection listens as session s.
func (u *Connection) holdsSession(s store.Session) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.listening && u.sessionID == s
}
