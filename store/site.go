package store

import (
	"fmt"
	"slices"

	storev1 "simpd/proto/simp/store/v1"
)

// setSchema allows the log to hold what the schema defines, once every node
// can read it.
func (t *Table) setSchema(c *storev1.SetSchema) Result {
	if c.GetSchema() == t.current.schema {
		return Result{}
	}
	if c.GetSchema() < t.current.schema {
		return refuse(WrongSchema, "the site's schema is %d, and does not go back", t.current.schema)
	}
	for _, n := range t.current.Nodes() {
		if n.MaxSchema < c.GetSchema() {
			return refuse(WrongSchema, "%s reads up to schema %d", n.ID, n.MaxSchema)
		}
	}
	t.current.schema = c.GetSchema()
	return t.commitEvent(entry{kind: EventSchema})
}

// newHistory starts a new history. Events of the old one are dropped, and all
// epochs and bindings end unless they are to be kept.
func (t *Table) newHistory(c *storev1.NewHistory) Result {
	if !validName(c.GetHistory()) || c.GetIndex() > maxIndex {
		return refuse(Malformed, "a history without a name, or one that counts from too far")
	}
	if c.GetHistory() == t.current.history {
		return Result{}
	}
	t.current.history = c.GetHistory()
	t.current.index = max(t.current.index, c.GetIndex())
	if len(c.GetSecret()) > 0 {
		t.current.secret = slices.Clone(c.GetSecret())
	}
	if !c.GetKeepBindings() {
		t.endBindings(true)
	}
	t.ring.reset(t.current.index)
	return t.commitEvent(entry{kind: EventHistory})
}

// restoreAccounts applies a piece of a backup. The first ends all bindings,
// keeps the epochs, and clears accounts, rules, contacts, invitations, groups,
// reports and
// the blocks that operators added. Nobody
// can bind until the last one. Sessions that logged in with an old password have to
// log in with the restored one.
func (t *Table) restoreAccounts(c *storev1.RestoreAccounts) Result {
	if !c.GetFirst() && t.current.restoring == 0 {
		return refuse(Stale, "no restore is under way")
	}
	piece := newView()
	piece.schema = t.current.schema
	known := func(owner string) bool {
		return piece.hasAccount(owner) || !c.GetFirst() && t.current.hasAccount(owner)
	}
	for _, record := range c.GetRecord() {
		if !piece.addBackupRecord(record, t.nextIndex(), known) {
			return refuse(Malformed, "a piece of a backup with something else than accounts, their rules and contacts, invitations, blocks, groups and reports")
		}
	}
	if r := t.checkPieceRoom(&piece, c.GetFirst()); r.Refusal != None {
		return r
	}
	if c.GetFirst() {
		t.endBindings(false)
		none := newView()
		t.current.accounts, t.current.rules, t.current.contacts = none.accounts, none.rules, none.contacts
		t.current.invitations = none.invitations
		t.dropOperatorBlocks()
		t.current.groups, t.current.groupOctets, t.groupIndex = none.groups, 0, newGroupIndex()
		t.current.reports, t.current.reportOctets = none.reports, 0
		t.shapes.replaceAll(&shapeCounter{})
	}
	t.addPiece(&piece)
	t.current.reportsIndex = t.nextIndex()
	if t.current.restoring = t.nextIndex(); c.GetLast() {
		t.current.restoring = 0
	}
	return t.commitEvent(entry{kind: EventHistory})
}

// checkPieceRoom refuses a piece of a backup with which there would be more blocks
// or reports than any site has. Feeds' blocks do not count. If reports take too many
// octets, the oldest make room.
func (t *Table) checkPieceRoom(piece *View, isFirst bool) Result {
	n, octets := piece.operatorBlocks()
	reports := piece.reports.Len()
	if !isFirst {
		others, otherOctets := t.current.operatorBlocks()
		n, octets, reports = n+others, octets+otherOctets, reports+t.current.reports.Len()
		piece.Blocks("", func(b *Block) bool {
			if old := t.current.Block("", b.Target); old != nil {
				n, octets = n-1, octets-old.octets()
			}
			return true
		})
		piece.Reports(0, func(r *Report) bool {
			if t.current.Report(r.ID) != nil {
				reports--
			}
			return true
		})
	}
	switch {
	case n > MaxBlocks || octets > maxBlockOctets:
		return refuse(TooManyBlocks, "the backup has more than %d blocks, or than %d octets of blocks", MaxBlocks, maxBlockOctets)
	case reports > MaxReports:
		return refuse(TooManyReports, "the backup has more than %d reports", MaxReports)
	}
	return Result{}
}

// addPiece adds a piece of a backup to the table.
func (t *Table) addPiece(piece *View) {
	piece.accounts.ascend("", func(address string, a *Account) bool {
		old, _ := t.current.accounts.get(address)
		t.shapes.replaceAccount(old, a)
		return true
	})
	t.current.accounts.setAll(&piece.accounts)
	t.current.rules.setAll(&piece.rules)
	t.current.contacts.setAll(&piece.contacts)
	piece.invitations.Scan(func(hash string, i *Invitation) bool {
		t.current.invitations.Set(hash, i)
		return true
	})
	piece.Blocks("", func(b *Block) bool {
		t.setBlock(b)
		return true
	})
	piece.groups.Scan(func(_ string, g *ContactGroup) bool {
		t.restoreContactGroup(g)
		return true
	})
	piece.Reports(0, func(r *Report) bool {
		t.current.setReport(r)
		return true
	})
	t.current.evictReports(0)
}

// CheckBackupRecord returns an error if the table would refuse a piece of a
// backup with that record, whichever schema the site has reached. It does not
// check that the owner of rules or contacts has an account.
func CheckBackupRecord(r *storev1.Record) error {
	piece := newView()
	piece.schema = NewestSchema
	if !piece.addBackupRecord(r, 1, func(string) bool { return true }) {
		return corrupt("%s", describeRecord(r))
	}
	return nil
}

// describeRecord names a record of a backup.
func describeRecord(r *storev1.Record) string {
	switch k := r.GetKind().(type) {
	case *storev1.Record_Account:
		return fmt.Sprintf("the account %q", k.Account.GetAddress())
	case *storev1.Record_Rules:
		return fmt.Sprintf("the rules of %q", k.Rules.GetOwner())
	case *storev1.Record_Contacts:
		return fmt.Sprintf("the contacts of %q", k.Contacts.GetOwner())
	case *storev1.Record_Invitation:
		return fmt.Sprintf("the invitation %d", k.Invitation.GetId())
	case *storev1.Record_Block:
		return fmt.Sprintf("the block of %q", k.Block.GetEntry().GetTarget())
	case *storev1.Record_Report:
		return fmt.Sprintf("the report %d", k.Report.GetId())
	}
	if g := r.GetContactGroup(); g != nil {
		return fmt.Sprintf("the contact group %q", g.GetKey())
	}
	return "a record that no backup has"
}

// addBackupRecord adds an account, the rules or contacts of a known one, an
// invitation, a block, or a group.
func (v *View) addBackupRecord(r *storev1.Record, index uint64, known func(owner string) bool) bool {
	switch k := r.GetKind().(type) {
	case *storev1.Record_Account:
		a, ok := accountFromProto(k.Account, v.schema)
		if ok = ok && a.restoreAppPasswords(index); ok {
			a.restoreKeys(index)
			a.Credential, a.Exclusive, a.LastDisabled = index, 0, 0
			v.accounts.set(a.Address.String(), a)
		}
		return ok
	case *storev1.Record_Rules:
		rules, ok := rulesFromProto(k.Rules)
		if ok {
			v.rules.set(k.Rules.GetOwner(), newACL(rules))
		}
		return ok && known(k.Rules.GetOwner())
	case *storev1.Record_Contacts:
		contacts, ok := contactsFromProto(k.Contacts)
		v.contacts.set(k.Contacts.GetOwner(), contacts)
		return ok && known(k.Contacts.GetOwner())
	case *storev1.Record_Invitation:
		return v.restoreInvitation(k.Invitation)
	case *storev1.Record_Block:
		return v.restoreBlock(k.Block)
	case *storev1.Record_ContactGroup:
		return v.restoreContactGroup(k.ContactGroup)
	case *storev1.Record_Report:
		return v.restoreReport(k.Report, index)
	}
	return false
}

// endBindings ends all bindings, and all epochs too if epochs is set.
func (t *Table) endBindings(epochs bool) {
	t.current.listeners = newListeners()
	t.ring.retainAll()
	t.nodeCounts = map[string]*nodeCounts{}
	for _, n := range t.current.Nodes() {
		t.setNode(&n, func(n *Node) {
			n.NeedsReap, n.reapedThrough = false, ""
			if epochs {
				n.Down, n.Draining = true, false
			}
		})
	}
}
