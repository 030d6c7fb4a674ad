package store

import (
	"slices"

	storev1 "simpd/proto/simp/store/v1"
)

// setSchema lets the log hold what the schema allows, once every node can read it.
func (t *Table) setSchema(c *storev1.SetSchema) Result {
	if c.GetSchema() == t.now.schema {
		return Result{}
	}
	if c.GetSchema() < t.now.schema {
		return refuse(WrongSchema, "the site's schema is %d, and does not go back", t.now.schema)
	}
	for _, n := range t.now.Nodes() {
		if n.MaxSchema < c.GetSchema() {
			return refuse(WrongSchema, "%s reads up to schema %d", n.ID, n.MaxSchema)
		}
	}
	t.now.schema = c.GetSchema()
	return t.commit(entry{kind: EventSchema})
}

// newHistory names the history anew. Events of the old one can't be had any
// more; all epochs end, and all bindings, unless they are to be kept.
func (t *Table) newHistory(c *storev1.NewHistory) Result {
	if !validName(c.GetHistory()) || c.GetIndex() > maxIndex {
		return refuse(Malformed, "a history without a name, or one that counts from too far")
	}
	if c.GetHistory() == t.now.history {
		return Result{}
	}
	t.now.history = c.GetHistory()
	t.now.index = max(t.now.index, c.GetIndex())
	if len(c.GetSecret()) > 0 {
		t.now.secret = slices.Clone(c.GetSecret())
	}
	if !c.GetKeepBindings() {
		t.endBindings(true)
	}
	t.ring.reset(t.now.index)
	return t.commit(entry{kind: EventHistory})
}

// restoreAccounts takes a piece of a backup. The first ends all bindings,
// leaves the epochs, and clears accounts, rules and contacts; until the last
// nobody may bind. A session that proved an old password has to prove the
// restored one.
func (t *Table) restoreAccounts(c *storev1.RestoreAccounts) Result {
	if !c.GetFirst() && t.now.restoring == 0 {
		return refuse(Stale, "no restore is under way")
	}
	piece := newView()
	known := func(owner string) bool {
		return piece.hasAccount(owner) || !c.GetFirst() && t.now.hasAccount(owner)
	}
	for _, record := range c.GetRecord() {
		if !piece.restoreRecord(record, t.next(), known) {
			return refuse(Malformed, "a piece of a backup with something else than accounts, and their rules and contacts")
		}
	}
	if c.GetFirst() {
		t.endBindings(false)
		none := newView()
		t.now.accounts, t.now.rules, t.now.contacts = none.accounts, none.rules, none.contacts
		t.shapes.take(&shapes{})
	}
	piece.accounts.ascend("", func(address string, a *Account) bool {
		old, _ := t.now.accounts.get(address)
		t.shapes.replaceAccount(old, a)
		return true
	})
	t.now.accounts.setAll(&piece.accounts)
	t.now.rules.setAll(&piece.rules)
	t.now.contacts.setAll(&piece.contacts)
	if t.now.restoring = t.next(); c.GetLast() {
		t.now.restoring = 0
	}
	return t.commit(entry{kind: EventHistory})
}

// restoreRecord adds an account, or what belongs to one that is known.
func (v *View) restoreRecord(r *storev1.Record, index uint64, known func(owner string) bool) bool {
	switch k := r.GetKind().(type) {
	case *storev1.Record_Account:
		a, ok := accountOf(k.Account)
		if ok {
			a.Credential, a.Exclusive, a.LastDisabled = index, 0, 0
			v.accounts.set(a.Address.String(), a)
		}
		return ok
	case *storev1.Record_Rules:
		rules, ok := rulesOf(k.Rules)
		if ok {
			v.rules.set(k.Rules.GetOwner(), newACL(rules))
		}
		return ok && known(k.Rules.GetOwner())
	case *storev1.Record_Contacts:
		contacts, ok := contactsOf(k.Contacts)
		v.contacts.set(k.Contacts.GetOwner(), contacts)
		return ok && known(k.Contacts.GetOwner())
	}
	return false
}

// endBindings ends all bindings, and all epochs too if epochs is set.
func (t *Table) endBindings(epochs bool) {
	t.now.listeners = newListeners()
	t.ring.leaveAllWhole()
	t.tally = map[string]*tally{}
	for _, n := range t.now.Nodes() {
		t.setNode(&n, func(n *Node) {
			n.Dirty, n.reaped = false, ""
			if epochs {
				n.Down, n.Draining = true, false
			}
		})
	}
}
