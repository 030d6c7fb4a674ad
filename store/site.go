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
	fresh := newView()
	if !c.GetFirst() {
		fresh.accounts, fresh.rules, fresh.contacts = t.now.accounts.Copy(), t.now.rules.Copy(), t.now.contacts.Copy()
	}
	for _, record := range c.GetRecord() {
		if !fresh.restoreRecord(record, t.next()) {
			return refuse(Malformed, "a piece of a backup with something else than accounts, and their rules and contacts")
		}
	}
	if c.GetFirst() {
		t.endBindings(false)
	}
	t.now.accounts, t.now.rules, t.now.contacts = fresh.accounts, fresh.rules, fresh.contacts
	if t.now.restoring = t.next(); c.GetLast() {
		t.now.restoring = 0
	}
	return t.commit(entry{kind: EventHistory})
}

// restoreRecord adds an account, or what belongs to one that is there.
func (v *View) restoreRecord(r *storev1.Record, index uint64) bool {
	switch k := r.GetKind().(type) {
	case *storev1.Record_Account:
		a, ok := accountOf(k.Account)
		if ok {
			a.Credential, a.Exclusive = index, 0
			v.accounts.Set(a.Address.String(), a)
		}
		return ok
	case *storev1.Record_Rules:
		rules, ok := rulesOf(k.Rules)
		put(v.rules, k.Rules.GetOwner(), rules)
		return ok && v.hasAccount(k.Rules.GetOwner())
	case *storev1.Record_Contacts:
		contacts, ok := contactsOf(k.Contacts)
		put(v.contacts, k.Contacts.GetOwner(), contacts)
		return ok && v.hasAccount(k.Contacts.GetOwner())
	}
	return false
}

func (v *View) hasAccount(address string) bool {
	_, ok := v.accounts.Get(address)
	return ok
}

// endBindings ends all bindings, and all epochs too if epochs is set.
func (t *Table) endBindings(epochs bool) {
	t.now.listeners.Clear()
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
