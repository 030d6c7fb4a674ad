package store

import (
	"bytes"
	"slices"
	"unsafe"

	storev1 "simpd/proto/simp/store/v1"
	"simpd/protocol"
)

// putAccount creates an account, or changes its password, which ends the
// user's bindings in the same change, except for the session that asked.
func (t *Table) putAccount(c *storev1.PutAccount) Result {
	if !validAddress(c.GetAddress()) || !validVerifier(c.GetVerifier()) {
		return refuse(Malformed, "an account without an address or a verifier")
	}
	old, ok := t.current.accounts.get(c.GetAddress())
	if ok && old.Verifier.equal(c.GetVerifier()) && !t.isFirstAttempt(c, old) {
		return Result{Credential: old.Credential}
	}
	if r := t.checkPut(c, old, ok); r.Refusal != None {
		return r
	}
	a := &Account{Address: protocol.CanonicalAddress(c.GetAddress()), Created: t.batchTime}
	if ok {
		*a = *old
	}
	a.Verifier, a.Credential = verifierFromProto(c.GetVerifier()), t.nextIndex()
	if ok && c.GetDropAppPasswords() && !old.Verifier.equal(c.GetVerifier()) {
		a.setAppPasswords(nil)
	}
	t.current.accounts.set(c.GetAddress(), a)
	t.shapes.replaceAccount(old, a)
	r := t.commitPassword(a, SessionFromProto(c.GetKeep()))
	r.Credential = a.Credential
	return r
}

// isFirstAttempt reports whether a change that sets the verifier that the
// account has is not a retry. Salts are random, so it is one, except where app
// passwords keep the salt: there the user may have chosen the same password
// again, to end other sessions. A retry names an older credential.
func (t *Table) isFirstAttempt(c *storev1.PutAccount, old *Account) bool {
	return len(old.AppPasswords()) > 0 && c.GetIfCredential() == old.Generation()
}

// commitPassword commits a new password, and ends the user's bindings except
// for one. The table does not know which bindings are of app passwords, which
// stay: if there are any, the nodes end the sessions of the old password.
func (t *Table) commitPassword(a *Account, stay Session) Result {
	if len(a.AppPasswords()) > 0 {
		return t.commitList(EventAccount, a.Address.String(), 0)
	}
	return t.commitAccount(a.Address.String(), stay)
}

// disabledSchema is the schema from which on a disabled user can change
// nothing, and earlier logins remain invalid after the account is enabled
// again. A node of the previous version would apply changes that this one
// refuses, so both rules depend on the schema.
const disabledSchema = 2

// isLockedOut reports whether the user may change nothing of their account.
func (t *Table) isLockedOut(a *Account) bool { return a.Disabled && t.current.schema >= disabledSchema }

// checkOwner refuses a change of the lists of a user who does not exist or is
// disabled.
func (t *Table) checkOwner(owner string) Result {
	a, ok := t.current.accounts.get(owner)
	switch {
	case !ok:
		return refuse(NoAccount, "there is no account %s", owner)
	case t.isLockedOut(a):
		return refuse(Disabled, "%s is disabled", owner)
	}
	return Result{}
}

// checkPut checks whether an account can be put. A change that names the
// credential that it replaces is the user's own.
func (t *Table) checkPut(c *storev1.PutAccount, old *Account, ok bool) Result {
	switch mode := c.GetMode(); {
	case mode < storev1.PutAccount_MODE_CREATE || mode > storev1.PutAccount_MODE_UPSERT:
		return refuse(Malformed, "neither to create nor to replace")
	case ok && mode == storev1.PutAccount_MODE_CREATE:
		return refuse(Exists, "there is an account %s already", c.GetAddress())
	case !ok && mode == storev1.PutAccount_MODE_REPLACE:
		return refuse(NoAccount, "there is no account %s", c.GetAddress())
	case ok && old.source != nil:
		return refuse(OtherSource, "%s belongs to the account source %s and has no password here", c.GetAddress(), old.Source())
	case c.GetIfCredential() != 0 && ok && t.isLockedOut(old):
		return refuse(Disabled, "%s is disabled", c.GetAddress())
	case c.GetIfCredential() != 0 && !ok:
		return refuse(Stale, "the account %s was removed", c.GetAddress())
	case c.GetIfCredential() != 0 && old.Generation() != c.GetIfCredential():
		return refuse(Stale, "%s", old.generationReason())
	case ok && len(old.AppPasswords()) > 0 && !c.GetDropAppPasswords() && !old.Verifier.hasSaltOf(c.GetVerifier()):
		return refuse(OtherSalt, "the app passwords of %s have another salt", c.GetAddress())
	}
	return Result{}
}

// generationReason describes the change that Generation returns the index of.
func (a *Account) generationReason() string {
	if a.LastDisabled > a.Credential {
		return "the account " + a.Address.String() + " was disabled since the login"
	}
	return "the password of " + a.Address.String() + " was changed since the login"
}

// deleteAccount removes an account with its bindings, rules, contacts and app
// passwords.
// Other users' rules and contacts that name it remain.
func (t *Table) deleteAccount(c *storev1.DeleteAccount) Result {
	old, ok := t.current.accounts.get(c.GetAddress())
	if !ok {
		return refuse(NoAccount, "there is no account %s", c.GetAddress())
	}
	t.current.accounts.delete(c.GetAddress())
	t.shapes.replaceAccount(old, nil)
	t.current.rules.delete(c.GetAddress())
	t.current.contacts.delete(c.GetAddress())
	return t.commitAccount(c.GetAddress(), Session{})
}

// setDisabled disables an account, which ends its bindings and removes its app
// passwords, or enables it.
func (t *Table) setDisabled(c *storev1.SetDisabled) Result {
	old, ok := t.current.accounts.get(c.GetAddress())
	if !ok {
		return refuse(NoAccount, "there is no account %s", c.GetAddress())
	}
	if old.Disabled == c.GetDisabled() && !old.HasLeftSource() {
		return Result{}
	}
	a := *old
	a.Disabled = c.GetDisabled()
	a.setLeftSource(false) // from now on it is the operator's decision
	if a.Disabled && t.current.schema >= disabledSchema {
		a.LastDisabled = t.nextIndex()
	}
	if a.Disabled {
		a.setAppPasswords(nil)
	}
	t.current.accounts.set(c.GetAddress(), &a)
	return t.commitAccount(c.GetAddress(), Session{})
}

func (t *Table) commitAccount(address string, stay Session) Result {
	before, after, visible := t.endUserBindings(address, stay)
	return t.commitEvent(entry{kind: EventAccount, visible: visible, address: address, before: before, after: after})
}

// setContact adds or renames a contact, or removes it.
func (t *Table) setContact(c *storev1.SetContact) Result {
	if r := t.checkOwner(c.GetOwner()); r.Refusal != None {
		return r
	}
	contact, ok := contactFromProto(c)
	if !ok {
		return refuse(Malformed, "a contact without an address, or with too long a name")
	}
	contacts, _ := t.current.contacts.get(c.GetOwner())
	i, found := slices.BinarySearchFunc(contacts, c.GetAddress(), compareContact)
	switch {
	case c.GetRemove() && !found, !c.GetRemove() && found && contacts[i] == contact:
		return Result{}
	case !found && len(contacts) >= protocol.MaxContacts:
		return refuse(TooManyContacts, "%s has %d contacts already", c.GetOwner(), len(contacts))
	}
	setList(&t.current.contacts, c.GetOwner(), withReplaced(contacts, i, found, contact, c.GetRemove()))
	return t.commitList(EventContacts, c.GetOwner(), len(contacts)*int(unsafe.Sizeof(Contact{})))
}

// commitList commits a change of one of owner's lists, whose old version had
// that many octets.
func (t *Table) commitList(kind EventKind, owner string, octets int) Result {
	l := t.current.listeners.get(owner)
	return t.commitEvent(entry{kind: kind, address: owner, before: l, after: l, list: octets})
}

// withReplaced returns a copy of list, which readers may hold, with v at
// index i: in place of the old element if found, without it if remove.
func withReplaced[T any](list []T, i int, found bool, v T, remove bool) []T {
	list = slices.Clone(list)
	if found {
		list = slices.Delete(list, i, i+1)
	}
	if remove {
		return slices.Clip(list)
	}
	return slices.Clip(slices.Insert(list, i, v))
}

func (v *Verifier) equal(o *storev1.Verifier) bool {
	return v.Iterations == o.GetIterations() && bytes.Equal(v.Salt, o.GetSalt()) &&
		bytes.Equal(v.StoredKey, o.GetStoredKey()) && bytes.Equal(v.ServerKey, o.GetServerKey())
}

// hasSaltOf reports whether both verifiers have the same salt and iteration
// count.
func (v *Verifier) hasSaltOf(o *storev1.Verifier) bool {
	return v.Iterations == o.GetIterations() && bytes.Equal(v.Salt, o.GetSalt())
}
