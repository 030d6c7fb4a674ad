package store

import (
	storev1 "simpd/proto/simp/store/v1"
	"simpd/protocol"
)

// sourceSchema is the first schema with account sources.
const sourceSchema = 4

// HasSources reports whether the log may hold account sources.
func (t *Table) HasSources() bool { return t.Schema() >= sourceSchema }

// CertificateSource is the source of accounts that were made by the first login
// with a client certificate. Any other source may take them over.
const CertificateSource = "certificate"

// accountSource describes an account that does not belong to the table. It is
// immutable.
type accountSource struct {
	name string
	left bool // the account is disabled because it has left the source
}

// Source returns the name of the account source, such as a directory, that the
// account belongs to and that checks its password; "" for the table.
func (a *Account) Source() string {
	if a.source == nil {
		return ""
	}
	return a.source.name
}

// HasLeftSource reports whether the account is disabled because its source has
// not got it any more, or has disabled it. If the source accepts the user
// again, the account is enabled again.
func (a *Account) HasLeftSource() bool { return a.source != nil && a.source.left }

func (a *Account) setLeftSource(left bool) {
	if a.source != nil && a.source.left != left {
		a.source = &accountSource{name: a.source.name, left: left}
	}
}

// restoreSource takes over the source of a record, and reports whether it is
// valid.
func (a *Account) restoreSource(r *storev1.Account) bool {
	if r.GetSource() == "" {
		return !r.GetLeftSource()
	}
	a.source = &accountSource{name: r.GetSource(), left: r.GetLeftSource()}
	return validName(r.GetSource()) && (!r.GetLeftSource() || r.GetDisabled())
}

// registerAccount creates an account that an account source has accepted, or
// gives the source an existing account that no source owns. An existing account
// without a password of its own stays as it is, or is enabled again if it had
// left the source.
func (t *Table) registerAccount(c *storev1.RegisterAccount) Result {
	switch {
	case t.current.schema < sourceSchema:
		return refuse(WrongSchema, "the site's schema is %d", t.current.schema)
	case !validAddress(c.GetAddress()) || !validName(c.GetSource()) || !validVerifier(c.GetVerifier()):
		return refuse(Malformed, "an account without an address, a source or a verifier")
	}
	old, ok := t.current.accounts.get(c.GetAddress())
	a := &Account{Address: protocol.CanonicalAddress(c.GetAddress()), Created: t.batchTime}
	if ok {
		if r := old.checkRegister(c); r.Refusal != None {
			return r
		}
		*a = *old
	}
	switch {
	case ok && old.Source() == c.GetSource() && !old.source.left:
		return Result{Credential: old.Generation()}
	case ok && old.Source() == c.GetSource():
		a.Disabled = false
		a.setLeftSource(false)
	default:
		a.Verifier, a.Credential = verifierFromProto(c.GetVerifier()), t.nextIndex()
		if ok { // its app passwords need the salt
			v := &storev1.Verifier{
				Salt: old.Verifier.Salt, Iterations: old.Verifier.Iterations,
				StoredKey: c.GetVerifier().GetStoredKey(), ServerKey: c.GetVerifier().GetServerKey(),
			}
			a.Verifier = verifierFromProto(v)
		}
		a.source = &accountSource{name: c.GetSource()}
	}
	t.current.accounts.set(c.GetAddress(), a)
	t.shapes.replaceAccount(old, a)
	r := t.commitPassword(a, Session{})
	r.Credential = a.Generation()
	return r
}

// checkRegister checks whether a source may take the account.
func (a *Account) checkRegister(c *storev1.RegisterAccount) Result {
	switch {
	case a.Disabled && !a.HasLeftSource():
		return refuse(Disabled, "%s is disabled", c.GetAddress())
	case a.Source() == c.GetSource():
		return Result{}
	case a.source != nil && a.source.name != CertificateSource:
		return refuse(OtherSource, "%s belongs to the account source %s", c.GetAddress(), a.source.name)
	case a.Generation() != c.GetIfGeneration():
		return refuse(Exists, "the account %s was made or changed during the login; try again", c.GetAddress())
	}
	return Result{}
}

// leaveSource disables an account that has left its source.
func (t *Table) leaveSource(c *storev1.LeaveSource) Result {
	if t.current.schema < sourceSchema {
		return refuse(WrongSchema, "the site's schema is %d", t.current.schema)
	}
	old, ok := t.current.accounts.get(c.GetAddress())
	switch {
	case !ok:
		return refuse(NoAccount, "there is no account %s", c.GetAddress())
	case old.Source() != c.GetSource() || old.source == nil:
		return refuse(OtherSource, "%s does not belong to the account source %s", c.GetAddress(), c.GetSource())
	case old.Disabled:
		return Result{}
	}
	a := *old
	a.Disabled, a.LastDisabled = true, t.nextIndex()
	a.setLeftSource(true)
	a.setAppPasswords(nil)
	t.current.accounts.set(c.GetAddress(), &a)
	return t.commitAccount(c.GetAddress(), Session{})
}
