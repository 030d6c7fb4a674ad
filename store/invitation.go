package store

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"time"
	"unsafe"

	storev1 "simpd/proto/simp/store/v1"
	"simpd/protocol"
)

// Invitation lets whoever has its code create accounts of one domain. It must
// not be changed.
type Invitation struct {
	ID       uint64 // unique in the site, never used again
	CodeHash []byte // SHA-256 of the code, which the table does not know
	Domain   string
	Uses     uint32 // how many accounts it may create in all
	Used     uint32 // how many it has created, fewer than Uses
	Created  time.Time
	Until    time.Time        // when it ends
	Contact  protocol.Address // whom each new user gets as a contact, and who gets them; zero: nobody
	By       string           // who made it, for display
}

// HasEnded reports whether the invitation cannot be used any more at now.
func (i *Invitation) HasEnded(now time.Time) bool { return !now.Before(i.Until) }

// invitationSchema is the first schema with invitations.
const invitationSchema = 4

// HasInvitations reports whether the log may hold invitations.
func (t *Table) HasInvitations() bool { return t.Schema() >= invitationSchema }

// Invitation returns the invitation whose code has that hash; nil if there is
// none.
func (t *Table) Invitation(codeHash []byte) *Invitation {
	t.mu.RLock()
	defer t.mu.RUnlock()
	i, _ := t.current.invitations.Get(invitationKey(codeHash))
	return i
}

// Invitations returns all invitations in the order of their IDs, with those
// that have ended and are not removed yet.
func (v View) Invitations() []*Invitation {
	list := v.invitations.Values()
	slices.SortFunc(list, func(a, b *Invitation) int { return cmp.Compare(a.ID, b.ID) })
	return list
}

func invitationKey(codeHash []byte) string { return hex.EncodeToString(codeHash) }

// addInvitation adds an invitation.
func (t *Table) addInvitation(c *storev1.AddInvitation) Result {
	if t.current.schema < invitationSchema {
		return refuse(WrongSchema, "the site's schema is %d", t.current.schema)
	}
	added := &Invitation{
		CodeHash: c.GetCodeHash(), Domain: c.GetDomain(), Uses: c.GetUses(), Created: t.batchTime,
		Until: fromMilli(c.GetUntilMs()), Contact: protocol.CanonicalAddress(c.GetContact()), By: c.GetBy(),
	}
	if !added.isValid() {
		return refuse(Malformed, "an invitation without a code, a domain or an end, or for too many uses")
	}
	if known, ok := t.current.invitations.Get(invitationKey(added.CodeHash)); ok {
		return Result{Invitation: known.ID} // the code is random, so this is a retry
	}
	if n := t.livingInvitations(); n >= protocol.MaxInvitations {
		return refuse(TooManyInvitations, "there are %d invitations already", n)
	}
	added.ID = max(t.nextIndex(), t.newestInvitation()+1) // higher after a restore from a backup
	t.dropEndedInvitations()
	t.current.invitations.Set(invitationKey(added.CodeHash), added)
	r := t.commitEvent(entry{kind: EventInvitation})
	r.Invitation = added.ID
	return r
}

func (i *Invitation) isValid() bool {
	contact := i.Contact.String()
	return len(i.CodeHash) == sha256.Size && i.Domain != "" && len(i.Domain) <= maxAddress && !strings.ContainsAny(i.Domain, "@\x00\r\n") &&
		i.Uses > i.Used && i.Uses <= protocol.MaxInvitationUses && i.Until.UnixMilli() > 0 &&
		(contact == "" || validAddress(contact)) && len(i.By) <= maxName
}

// livingInvitations counts the invitations that have not ended.
func (t *Table) livingInvitations() (n int) {
	t.current.invitations.Scan(func(_ string, i *Invitation) bool {
		if !i.HasEnded(t.batchTime) {
			n++
		}
		return true
	})
	return n
}

// newestInvitation returns the highest ID of the invitations; 0 if there are
// none.
func (t *Table) newestInvitation() (id uint64) {
	t.current.invitations.Scan(func(_ string, i *Invitation) bool {
		id = max(id, i.ID)
		return true
	})
	return id
}

// dropEndedInvitations removes the invitations that have ended by the clock of
// the proposer, which is in the log and so the same on all nodes.
func (t *Table) dropEndedInvitations() {
	var ended []string
	t.current.invitations.Scan(func(hash string, i *Invitation) bool {
		if i.HasEnded(t.batchTime) {
			ended = append(ended, hash)
		}
		return true
	})
	for _, hash := range ended {
		t.current.invitations.Delete(hash)
	}
}

// useInvitation creates an account and counts the use.
func (t *Table) useInvitation(c *storev1.UseInvitation) Result {
	if t.current.schema < invitationSchema {
		return refuse(WrongSchema, "the site's schema is %d", t.current.schema)
	}
	if !validAddress(c.GetAddress()) || !validVerifier(c.GetVerifier()) {
		return refuse(Malformed, "an account without an address or a verifier")
	}
	old, exists := t.current.accounts.get(c.GetAddress())
	if exists && old.Verifier.equal(c.GetVerifier()) {
		return Result{Credential: old.Credential} // the salt is random, so this is a retry
	}
	key := invitationKey(c.GetCodeHash())
	i, ok := t.current.invitations.Get(key)
	a := &Account{Address: protocol.CanonicalAddress(c.GetAddress()), Created: t.batchTime, Verifier: verifierFromProto(c.GetVerifier())}
	switch {
	case !ok || i.HasEnded(t.batchTime):
		return refuse(NoInvitation, "there is no such invitation")
	case a.Address.Domain() != i.Domain:
		return refuse(OtherDomain, "the invitation is for users of %s", i.Domain)
	case exists:
		return refuse(Exists, "there is an account %s already", c.GetAddress())
	}
	t.countUse(key, i)
	t.dropEndedInvitations()
	t.addContactOf(i.Contact, a.Address)
	a.Credential = t.nextIndex()
	t.current.accounts.set(c.GetAddress(), a)
	t.shapes.replaceAccount(nil, a)
	if !i.Contact.IsZero() && i.Contact != a.Address {
		setList(&t.current.contacts, c.GetAddress(), []Contact{{Address: i.Contact}})
	}
	r := t.commitAccount(c.GetAddress(), Session{})
	r.Credential, r.Invitation = a.Credential, i.ID
	return r
}

// countUse counts a use of an invitation, which is gone after its last.
func (t *Table) countUse(key string, i *Invitation) {
	used := *i
	if used.Used++; used.Used >= used.Uses {
		t.current.invitations.Delete(key)
		return
	}
	t.current.invitations.Set(key, &used)
}

// addContactOf puts a new user on the contact list of whoever invited them, if
// that is a user of this site whose list has room. It is a change of its own.
func (t *Table) addContactOf(inviter, added protocol.Address) {
	owner := inviter.String()
	if !t.current.hasAccount(owner) {
		return
	}
	contacts, _ := t.current.contacts.get(owner)
	at, found := slices.BinarySearchFunc(contacts, added.String(), compareContact)
	if found || len(contacts) >= protocol.MaxContacts {
		return
	}
	setList(&t.current.contacts, owner, withReplaced(contacts, at, found, Contact{Address: added}, false))
	t.commitList(EventContacts, owner, len(contacts)*int(unsafe.Sizeof(Contact{})))
}

// removeInvitation revokes an invitation.
func (t *Table) removeInvitation(c *storev1.RemoveInvitation) Result {
	removed := ""
	t.current.invitations.Scan(func(hash string, i *Invitation) bool {
		if i.ID == c.GetId() {
			removed = hash
		}
		return removed == ""
	})
	if removed == "" {
		return refuse(NoInvitation, "there is no invitation %d", c.GetId())
	}
	t.current.invitations.Delete(removed)
	t.dropEndedInvitations()
	return t.commitEvent(entry{kind: EventInvitation})
}

// Record returns the invitation as snapshots and backups hold it.
func (i *Invitation) Record() *storev1.Record {
	return &storev1.Record{Kind: &storev1.Record_Invitation{Invitation: &storev1.Invitation{
		Id: i.ID, CodeHash: i.CodeHash, Domain: i.Domain, Uses: i.Uses, Used: i.Used,
		CreatedMs: i.Created.UnixMilli(), UntilMs: i.Until.UnixMilli(), Contact: i.Contact.String(), By: i.By,
	}}}
}

func invitationFromProto(r *storev1.Invitation) (*Invitation, bool) {
	i := &Invitation{
		ID: r.GetId(), CodeHash: r.GetCodeHash(), Domain: r.GetDomain(), Uses: r.GetUses(), Used: r.GetUsed(),
		Created: fromMilli(r.GetCreatedMs()), Until: fromMilli(r.GetUntilMs()),
		Contact: protocol.CanonicalAddress(r.GetContact()), By: r.GetBy(),
	}
	return i, i.isValid() && i.ID > 0 && i.ID <= 2*maxIndex
}

// addInvitation restores an invitation from a snapshot.
func (b *restorer) addInvitation(record *storev1.Invitation) error {
	key := invitationKey(record.GetCodeHash())
	if err := b.checkOrder(partInvitations, key); err != nil {
		return err
	}
	i, ok := invitationFromProto(record)
	if !ok || b.view.schema < invitationSchema {
		return corrupt("the invitation %d", record.GetId())
	}
	b.view.invitations.Load(key, i)
	return nil
}

// restoreInvitation adds an invitation of a backup. Before schema 4 it ignores
// invitations. It reports whether the record is in order: the ID has to leave
// room for higher ones.
func (v *View) restoreInvitation(record *storev1.Invitation) bool {
	i, ok := invitationFromProto(record)
	if ok && v.schema >= invitationSchema {
		v.invitations.Set(invitationKey(i.CodeHash), i)
	}
	return ok && i.ID <= maxIndex
}

// addInvitations hashes invitations. A table without any, as before schema 4,
// keeps its old hash.
func (d *digester) addInvitations(v View) {
	v.invitations.Scan(func(hash string, i *Invitation) bool {
		d.addString("invitation " + hash)
		d.addString(i.Domain)
		d.addString(i.Contact.String())
		d.addString(i.By)
		d.addNumbers(i.ID, uint64(i.Uses), uint64(i.Used), uint64(i.Created.UnixMilli()), uint64(i.Until.UnixMilli()))
		return true
	})
}
