package store

import (
	"cmp"
	"slices"
	"time"
	"unsafe"

	storev1 "simpd/proto/simp/store/v1"
	"simpd/protocol"
)

// AppPassword is an additional password of an account, for one device or
// program. The salt and the iteration count of its verifier are those of the
// account, so that one SCRAM challenge serves all passwords of a user. It must
// not be changed.
type AppPassword struct {
	ID        uint64 // unique in the account, never used again
	Name      string
	StoredKey []byte // 32 octets, as ServerKey
	ServerKey []byte
	Created   time.Time
	Until     time.Time // when it ends; zero: never
	UsedDay   uint32    // the last day of a login with it, in days since 1970; 0: never
	// Credential is the index of the change that added or restored it. A session
	// is valid while it is the one that it logged in with.
	Credential uint64
}

// HasEnded reports whether the app password cannot be used any more at now.
func (p *AppPassword) HasEnded(now time.Time) bool {
	return !p.Until.IsZero() && !now.Before(p.Until)
}

// appPasswordSchema is the first schema with app passwords.
const appPasswordSchema = 3

// HasAppPasswords reports whether the log may hold app passwords.
func (t *Table) HasAppPasswords() bool { return t.Schema() >= appPasswordSchema }

// AppPasswords returns the account's app passwords in the order of their IDs.
// The list must not be changed.
func (a *Account) AppPasswords() []AppPassword {
	if a.appPasswords == nil {
		return nil
	}
	return *a.appPasswords
}

// AppPassword returns the app password with that ID; nil if there is none.
func (a *Account) AppPassword(id uint64) *AppPassword {
	if i, found := a.findAppPassword(id); found {
		return &a.AppPasswords()[i]
	}
	return nil
}

func (a *Account) findAppPassword(id uint64) (i int, found bool) {
	return slices.BinarySearchFunc(a.AppPasswords(), id, compareAppPassword)
}

func compareAppPassword(p AppPassword, id uint64) int { return cmp.Compare(p.ID, id) }

// setAppPasswords sets the list, which is not stored if it is empty.
func (a *Account) setAppPasswords(list []AppPassword) {
	a.appPasswords = nil
	if len(list) > 0 {
		a.appPasswords = &list
	}
}

// checkAppPassword checks whether a session may bind that logged in with an
// app password.
func (a *Account) checkAppPassword(c *storev1.Bind) Result {
	switch p := a.AppPassword(c.GetAppPassword()); {
	case p == nil:
		return refuse(OldCredential, "the app password of %s was removed since the login", a.Address)
	case p.Credential > c.GetCredential():
		return refuse(OldCredential, "the app password of %s was restored since the login", a.Address)
	}
	return Result{}
}

// addAppPassword gives an account one more password.
func (t *Table) addAppPassword(c *storev1.AddAppPassword) Result {
	if t.current.schema < appPasswordSchema {
		return refuse(WrongSchema, "the site's schema is %d", t.current.schema)
	}
	if r := t.checkOwner(c.GetAddress()); r.Refusal != None {
		return r
	}
	old, _ := t.current.accounts.get(c.GetAddress())
	added := AppPassword{
		ID: t.nextIndex(), Name: c.GetName(), Created: t.batchTime, Until: untilFromProto(c.GetUntilMs()), Credential: t.nextIndex(),
	}
	switch {
	case !validVerifier(c.GetVerifier()) || !validAppPasswordName(added.Name):
		return refuse(Malformed, "an app password without a name or a verifier")
	case c.GetIfCredential() != 0 && old.Generation() != c.GetIfCredential():
		return refuse(Stale, "%s", old.generationReason())
	case !old.Verifier.hasSaltOf(c.GetVerifier()):
		return refuse(OtherSalt, "the password of %s has another salt", c.GetAddress())
	}
	v := verifierFromProto(c.GetVerifier())
	added.StoredKey, added.ServerKey = v.StoredKey, v.ServerKey
	list := slices.Clone(old.AppPasswords())
	if i := slices.IndexFunc(list, added.hasKeysOf); i >= 0 {
		return Result{AppPassword: list[i].ID} // it is random, so this is a retry
	}
	if len(list) >= protocol.MaxAppPasswords {
		list = slices.DeleteFunc(list, func(p AppPassword) bool { return p.HasEnded(t.batchTime) })
	}
	if len(list) >= protocol.MaxAppPasswords {
		return refuse(TooManyAppPasswords, "%s has %d app passwords already", c.GetAddress(), len(list))
	}
	if n := len(list); n > 0 {
		added.ID = max(added.ID, list[n-1].ID+1) // higher after a restore from a backup
	}
	r := t.replaceAppPasswords(old, append(list, added))
	r.AppPassword = added.ID
	return r
}

func (p *AppPassword) hasKeysOf(o AppPassword) bool {
	return string(p.StoredKey) == string(o.StoredKey)
}

// removeAppPassword removes an app password. The nodes end its sessions.
func (t *Table) removeAppPassword(c *storev1.RemoveAppPassword) Result {
	old, ok := t.current.accounts.get(c.GetAddress())
	if !ok {
		return refuse(NoAccount, "there is no account %s", c.GetAddress())
	}
	i, found := old.findAppPassword(c.GetId())
	if !found {
		return refuse(NoAppPassword, "%s has no app password %d", c.GetAddress(), c.GetId())
	}
	return t.replaceAppPasswords(old, slices.Delete(slices.Clone(old.AppPasswords()), i, i+1))
}

// markAppPasswordUsed records the day of a login.
func (t *Table) markAppPasswordUsed(c *storev1.MarkAppPasswordUsed) Result {
	old, ok := t.current.accounts.get(c.GetAddress())
	if !ok {
		return refuse(NoAccount, "there is no account %s", c.GetAddress())
	}
	i, found := old.findAppPassword(c.GetId())
	switch {
	case !found:
		return refuse(NoAppPassword, "%s has no app password %d", c.GetAddress(), c.GetId())
	case c.GetDay() <= old.AppPasswords()[i].UsedDay:
		return Result{}
	}
	list := slices.Clone(old.AppPasswords())
	list[i].UsedDay = c.GetDay()
	return t.replaceAppPasswords(old, list)
}

// replaceAppPasswords stores and commits an account's new list.
func (t *Table) replaceAppPasswords(old *Account, list []AppPassword) Result {
	a := *old
	a.setAppPasswords(list)
	t.current.accounts.set(a.Address.String(), &a)
	return t.commitList(EventAccount, a.Address.String(), len(old.AppPasswords())*int(unsafe.Sizeof(AppPassword{})))
}

func validAppPasswordName(name string) bool {
	return name != "" && len(name) <= protocol.MaxNote
}

func untilFromProto(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return fromMilli(ms)
}

// AppPasswordRecords returns the app passwords as snapshots and backups hold
// them.
func (a *Account) AppPasswordRecords() []*storev1.AppPassword {
	var records []*storev1.AppPassword
	for i := range a.AppPasswords() {
		p := &a.AppPasswords()[i]
		r := &storev1.AppPassword{
			Id: p.ID, Name: p.Name, StoredKey: p.StoredKey, ServerKey: p.ServerKey,
			CreatedMs: p.Created.UnixMilli(), Used: p.UsedDay, Credential: p.Credential,
		}
		if !p.Until.IsZero() {
			r.UntilMs = p.Until.UnixMilli()
		}
		records = append(records, r)
	}
	return records
}

func appPasswordsFromProto(records []*storev1.AppPassword) (list []AppPassword, ok bool) {
	if len(records) > protocol.MaxAppPasswords {
		return nil, false
	}
	for i, r := range records {
		if r.GetId() == 0 || r.GetId() > 2*maxIndex || i > 0 && r.GetId() <= list[i-1].ID || !validAppPasswordName(r.GetName()) ||
			len(r.GetStoredKey()) != keySize || len(r.GetServerKey()) != keySize {
			return nil, false
		}
		list = append(list, AppPassword{
			ID: r.GetId(), Name: r.GetName(), StoredKey: r.GetStoredKey(), ServerKey: r.GetServerKey(),
			Created: fromMilli(r.GetCreatedMs()), Until: untilFromProto(r.GetUntilMs()), UsedDay: r.GetUsed(), Credential: r.GetCredential(),
		})
	}
	return list, true
}

// restoreAppPasswords makes earlier sessions of app passwords invalid, when the
// account comes from a backup. It reports whether their IDs are those of a
// history that can be restored, so that there are higher ones for new app
// passwords.
func (a *Account) restoreAppPasswords(index uint64) bool {
	list := a.AppPasswords()
	for i := range list { // nobody else has the list yet
		list[i].Credential = index
	}
	return len(list) == 0 || list[len(list)-1].ID <= maxIndex
}

// addAppPasswords hashes an account's app passwords. An account without any,
// as before schema 3, keeps its old hash.
func (d *digester) addAppPasswords(a *Account) {
	for _, p := range a.AppPasswords() {
		d.addString(p.Name)
		d.addString(string(p.StoredKey))
		d.addString(string(p.ServerKey))
		until := int64(0)
		if !p.Until.IsZero() {
			until = p.Until.UnixMilli()
		}
		d.addNumbers(p.ID, uint64(p.Created.UnixMilli()), uint64(until), uint64(p.UsedDay), p.Credential)
	}
}
