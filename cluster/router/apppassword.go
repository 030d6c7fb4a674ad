package router

import (
	"context"
	"time"

	storev1 "simpd/proto/simp/store/v1"
	"simpd/protocol"
	"simpd/store"
)

// appVerifiers returns what verifies the account's app passwords, without
// those that have ended.
func appVerifiers(a *store.Account, now time.Time) []protocol.AppVerifier {
	list := a.AppPasswords()
	if len(list) == 0 {
		return nil
	}
	verifiers := make([]protocol.AppVerifier, 0, len(list))
	for i := range list {
		if p := &list[i]; !p.HasEnded(now) {
			verifiers = append(verifiers, protocol.AppVerifier{ID: p.ID, StoredKey: p.StoredKey, ServerKey: p.ServerKey})
		}
	}
	return verifiers
}

// AppPasswords returns the user's app passwords as this node knows them.
func (u *Connection) AppPasswords() []protocol.AppPassword {
	account, known := u.r.config.Table.Account(u.client.User)
	if !known {
		return nil
	}
	var list []protocol.AppPassword
	for _, p := range account.AppPasswords() {
		list = append(list, protocol.AppPassword{ID: p.ID, Name: p.Name, Created: p.Created, Until: p.Until, Used: dayTime(p.UsedDay)})
	}
	return list
}

// AddAppPassword adds an app password and returns its ID.
func (u *Connection) AddAppPassword(ctx context.Context, p protocol.AppPassword, c protocol.Credentials) (uint64, error) {
	if !u.r.config.Table.HasAppPasswords() { // an older node could not read the change
		return 0, protocol.Errorf(protocol.StatusUnavailable, "the site is being upgraded; app passwords can be added once all nodes are upgraded")
	}
	add := &storev1.AddAppPassword{
		Address: u.client.User.String(), Name: p.Name, IfCredential: u.currentCredential(),
		Verifier: verifierProto(&c),
	}
	if !p.Until.IsZero() {
		add.UntilMs = p.Until.UnixMilli()
	}
	res, err := u.r.proposeChange(ctx, &storev1.Change{Kind: &storev1.Change_AddAppPassword{AddAppPassword: add}})
	if err != nil {
		return 0, err
	}
	u.r.awaitEverywhere(ctx, res.Index) // so that it can be used at once at every node
	return res.AppPassword, nil
}

// RemoveAppPassword removes an app password. Every connection that uses it is
// closed.
func (u *Connection) RemoveAppPassword(ctx context.Context, id uint64) error {
	if !u.r.config.Table.HasAppPasswords() { // an older node could not read the change
		return protocol.Errorf(protocol.StatusUnknownAddress, "there is no app password %d", id)
	}
	res, err := u.r.proposeChange(ctx, &storev1.Change{Kind: &storev1.Change_RemoveAppPassword{
		RemoveAppPassword: &storev1.RemoveAppPassword{Address: u.client.User.String(), Id: id},
	}})
	if err != nil {
		return err
	}
	u.r.awaitEverywhere(ctx, res.Index)
	return nil
}

func (u *Connection) currentCredential() uint64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.credential
}

// appCredential returns the index of the change that added or restored an app
// password; 0 if there is none.
func (r *Router) appCredential(user protocol.Address, id uint64) uint64 {
	account, known := r.config.Table.Account(user)
	if !known {
		return 0
	}
	if p := account.AppPassword(id); p != nil {
		return p.Credential
	}
	return 0
}

// appRevocationReason returns why a connection may no longer use its app
// password p, which is nil if it was removed; "" if it may.
func (u *Connection) appRevocationReason(p *store.AppPassword) string {
	switch {
	case p == nil:
		return "the app password was removed"
	case p.Credential != u.credential:
		return "the accounts were restored from a backup"
	case p.HasEnded(time.Now()):
		return "the app password has ended"
	}
	return ""
}

// startAppPassword records the login, and ends the connection when the app
// password ends.
func (u *Connection) startAppPassword() {
	account, _ := u.r.config.Table.Account(u.client.User)
	if account == nil {
		return
	}
	p := account.AppPassword(u.client.AppPassword())
	if p == nil {
		return // it was removed this moment, and recheck ends the connection
	}
	u.r.appLogins.record(u.client.User, p, time.Now())
	if !p.Until.IsZero() {
		u.recheckAt(p.Until)
	}
}

// recheckAt rechecks the connection at until, by the wall clock, which may be
// set meanwhile.
func (u *Connection) recheckAt(until time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closed {
		return
	}
	u.expiry = time.AfterFunc(time.Until(until), func() {
		u.recheck(true)
		if time.Now().Before(until) {
			u.recheckAt(until)
		}
	})
}

// maxAppLogins limits the logins that wait to be recorded. More are not
// recorded: the day is for display only.
const maxAppLogins = 1024

// appLogin is the use of an app password on a day.
type appLogin struct {
	user protocol.Address
	id   uint64
	day  uint32
}

// appLogins are the first uses of app passwords on a day that the table does
// not have yet.
type appLogins struct{ waiting chan appLogin }

func (l *appLogins) init() { l.waiting = make(chan appLogin, maxAppLogins) }

// record has the login recorded unless the table has it. It does not block.
func (l *appLogins) record(user protocol.Address, p *store.AppPassword, now time.Time) {
	day := dayOf(now)
	if p.UsedDay >= day {
		return
	}
	select {
	case l.waiting <- appLogin{user, p.ID, day}:
	default:
	}
}

// takeBatch returns first and the logins that wait, each once, as many as one
// proposal holds.
func (l *appLogins) takeBatch(first appLogin) map[appLogin]struct{} {
	batch := map[appLogin]struct{}{first: {}}
	for len(batch) < rebindBatch {
		select {
		case login := <-l.waiting:
			batch[login] = struct{}{}
		default:
			return batch
		}
	}
	return batch
}

// recordAppLogins records logins with app passwords, many with one proposal,
// until the router shuts down. What cannot be recorded now is dropped.
func (r *Router) recordAppLogins() {
	for {
		select {
		case first := <-r.appLogins.waiting:
			r.proposeAppLogins(r.appLogins.takeBatch(first))
		case <-r.ctx.Done():
			return
		}
	}
}

func (r *Router) proposeAppLogins(batch map[appLogin]struct{}) {
	var changes []*storev1.Change
	for login := range batch {
		if r.isNewDay(login) {
			changes = append(changes, &storev1.Change{Kind: &storev1.Change_MarkAppPasswordUsed{MarkAppPasswordUsed: &storev1.MarkAppPasswordUsed{
				Address: login.user.String(), Id: login.id, Day: login.day,
			}}})
		}
	}
	if len(changes) > 0 {
		ctx, cancel := context.WithTimeout(r.ctx, protocol.RequestTimeout)
		defer cancel()
		_, _ = r.directory.Propose(ctx, changes...)
	}
}

// isNewDay reports whether the table does not have that day yet.
func (r *Router) isNewDay(l appLogin) bool {
	account, known := r.config.Table.Account(l.user)
	if !known {
		return false
	}
	p := account.AppPassword(l.id)
	return p != nil && p.UsedDay < l.day
}

const secondsOfDay = 24 * 60 * 60

// dayOf returns the number of days since 1970, UTC.
func dayOf(t time.Time) uint32 { return uint32(t.Unix() / secondsOfDay) }

// dayTime returns the beginning of a day; the zero time for day 0.
func dayTime(day uint32) time.Time {
	if day == 0 {
		return time.Time{}
	}
	return time.Unix(int64(day)*secondsOfDay, 0).UTC()
}
