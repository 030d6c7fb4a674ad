package store

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	storev1 "simpd/proto/simp/store/v1"
	"simpd/protocol"
	"simpd/protocol/signature"
)

// restorer builds a table from a snapshot's records. The sections come in a
// fixed order, and the names in each ascend, so it notices what is missing or
// duplicated.
type restorer struct {
	newest uint32 // newest schema that can be read

	view   View
	ring   ring
	counts map[string]*nodeCounts
	shapes shapeCounter
	part   int    // current section
	last   string // name of the previous record in this section

	history historyReader
	buf     []byte
}

// The sections of a snapshot in their order.
const (
	partNone = iota // before the header
	partHeader
	partNodes
	partRemoved
	partAccounts
	partRules
	partContacts
	partInvitations
	partBlocks
	partSealed
	partContactGroups
	partConsole
	partReports
	partListeners
	partEvents
)

func (b *restorer) addRecord(r *storev1.Record) error {
	switch k := r.GetKind().(type) {
	case *storev1.Record_Header:
		return b.addHeader(k.Header)
	case *storev1.Record_Node:
		return b.addNode(k.Node)
	case *storev1.Record_RemovedNode:
		return b.addRemovedNode(k.RemovedNode)
	case *storev1.Record_Account:
		return b.addAccount(k.Account)
	case *storev1.Record_Rules:
		return b.addRules(k.Rules)
	case *storev1.Record_Contacts:
		return b.addContacts(k.Contacts)
	case *storev1.Record_Invitation:
		return b.addInvitation(k.Invitation)
	case *storev1.Record_Block:
		return b.addBlock(k.Block)
	case *storev1.Record_SealedValue:
		return b.addSealedValue(k.SealedValue)
	case *storev1.Record_ContactGroup:
		return b.addContactGroup(k.ContactGroup)
	case *storev1.Record_Console:
		return b.addConsole(k.Console)
	case *storev1.Record_Report:
		return b.addReport(k.Report)
	case *storev1.Record_Listener:
		return b.addListener(k.Listener)
	case *storev1.Record_Event:
		return b.addEvent(k.Event)
	}
	return fmt.Errorf("a record of a kind that this program does not know: %w", ErrSchema)
}

// checkOrder returns an error if a record of that section and name must not
// come now.
func (b *restorer) checkOrder(part int, name string) error {
	if part < b.part || b.part == partNone && part != partHeader {
		return corrupt("it is not where it should be")
	}
	if part > b.part {
		b.part, b.last = part, ""
	}
	if name <= b.last {
		return corrupt("%q comes after %q", name, b.last)
	}
	b.last = name
	return nil
}

// checkNumber is checkOrder for records that are ordered by a number.
func (b *restorer) checkNumber(part int, number uint64) error {
	return b.checkOrder(part, string(binary.BigEndian.AppendUint64(nil, number)))
}

func (b *restorer) addHeader(h *storev1.Header) error {
	if err := b.checkOrder(partHeader, "header"); err != nil {
		return err
	}
	if h.GetFormat() < formatWhole || h.GetFormat() > formatUndo || h.GetSchema() < OldestSchema || h.GetSchema() > b.newest {
		return fmt.Errorf("it has format %d and schema %d, while this program reads the formats %d to %d and the schemas %d to %d: %w",
			h.GetFormat(), h.GetSchema(), formatWhole, formatUndo, OldestSchema, b.newest, ErrSchema)
	}
	if h.GetHistoryFloor() > h.GetIndex() || h.GetIndex() > 2*maxIndex {
		return corrupt("its events begin after its end")
	}
	b.view.history, b.view.index, b.view.schema = h.GetHistory(), h.GetIndex(), h.GetSchema()
	b.view.secret, b.view.restoring = h.GetSecret(), h.GetRestoring()
	b.history.start(h.GetFormat(), h.GetHistoryFloor(), h.GetIndex(), &b.ring)
	return nil
}

func (b *restorer) addNode(n *storev1.Node) error {
	if err := b.checkOrder(partNodes, n.GetNode()); err != nil {
		return err
	}
	if !validName(n.GetNode()) {
		return corrupt("the node %q", n.GetNode())
	}
	certificates, ok := fingerprintsFromBytes(n.GetCertificate())
	if !ok {
		return corrupt("the certificates of %q", n.GetNode())
	}
	b.counts[n.GetNode()] = &nodeCounts{}
	b.view.nodes.Load(n.GetNode(), &Node{
		ID: n.GetNode(), Epoch: n.GetEpoch(), Down: n.GetDown(), Draining: n.GetDraining(), Incarnation: n.GetIncarnation(), Version: n.GetVersion(),
		MinSchema: n.GetMinSchema(), MaxSchema: n.GetMaxSchema(), NeedsReap: n.GetDirty(), reapedThrough: n.GetReaped(),
		Certificates: certificates,
	})
	return nil
}

func (b *restorer) addAccount(record *storev1.Account) error {
	if err := b.checkOrder(partAccounts, record.GetAddress()); err != nil {
		return err
	}
	a, ok := accountFromProto(record, b.view.schema)
	if !ok {
		return corrupt("the account %q", record.GetAddress())
	}
	b.view.accounts.load(record.GetAddress(), a)
	b.shapes.replaceAccount(nil, a)
	return nil
}

func (b *restorer) addRules(record *storev1.Rules) error {
	if err := b.checkOrder(partRules, record.GetOwner()); err != nil {
		return err
	}
	rules, ok := rulesFromProto(record)
	if !ok || !b.view.hasAccount(record.GetOwner()) {
		return corrupt("the rules of %q", record.GetOwner())
	}
	b.view.rules.load(record.GetOwner(), newACL(rules))
	return nil
}

func (b *restorer) addContacts(record *storev1.Contacts) error {
	if err := b.checkOrder(partContacts, record.GetOwner()); err != nil {
		return err
	}
	contacts, ok := contactsFromProto(record)
	if !ok || !b.view.hasAccount(record.GetOwner()) {
		return corrupt("the contacts of %q", record.GetOwner())
	}
	b.view.contacts.load(record.GetOwner(), contacts)
	return nil
}

func (b *restorer) addListener(record *storev1.Listener) error {
	if err := b.checkOrder(partListeners, record.GetAddress()); err != nil {
		return err
	}
	l, ok := listenerFromProto(record)
	if !ok || !b.view.hasAccount(record.GetAddress()) || !b.countBindings(l) {
		return corrupt("the listener %q", record.GetAddress())
	}
	b.view.listeners.load(newPacked(appendListener(nil, l)))
	return nil
}

// countBindings counts a listener's bindings for their nodes, which must
// exist.
func (b *restorer) countBindings(l *Listener) bool {
	for i := range l.Bindings {
		node, ok := b.view.nodes.Get(l.Bindings[i].Session.Node)
		if !ok {
			return false
		}
		if c := b.counts[node.ID]; node.isCurrent(l.Bindings[i].Epoch) {
			c.live++
		} else {
			c.stale++
		}
	}
	return true
}

// validate checks what can be checked only at the end.
func (b *restorer) validate() error {
	if b.part == partNone {
		return corrupt("a snapshot without a header")
	}
	if !b.history.isComplete(b.view.index) {
		return corrupt("a snapshot's events are not complete: event %d is missing", b.history.nextIndex)
	}
	b.finishHistory()
	for _, n := range b.view.Nodes() {
		if n.NeedsReap != (b.counts[n.ID].stale > 0) {
			return corrupt("a snapshot errs in what %s has left", n.ID)
		}
	}
	return nil
}

func corrupt(format string, args ...any) error {
	return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), ErrCorrupt)
}

// accountFromProto reads the account of a snapshot or a backup, for a table of
// that schema. Before schema 3 it ignores app passwords, and before schema 4
// keys and account sources, as programs do that do not know them.
func accountFromProto(a *storev1.Account, schema uint32) (*Account, bool) {
	if !validAddress(a.GetAddress()) || !validVerifier(a.GetVerifier()) {
		return nil, false
	}
	var appPasswords []AppPassword
	var keys []signature.Key
	ok, keysOK := true, true
	if schema >= appPasswordSchema {
		appPasswords, ok = appPasswordsFromProto(a.GetAppPassword())
	}
	if schema >= keySchema {
		keys, keysOK = keysFromProto(a.GetAddress(), a.GetKey())
	}
	restored := &Account{
		Address: protocol.CanonicalAddress(a.GetAddress()), Verifier: verifierFromProto(a.GetVerifier()), Disabled: a.GetDisabled(),
		Credential: a.GetCredential(), Exclusive: a.GetExclusive(), Created: fromMilli(a.GetCreatedMs()),
		LastDisabled: a.GetLastDisabled(),
	}
	restored.setAppPasswords(appPasswords)
	restored.setKeys(keys)
	if schema >= sourceSchema {
		ok = restored.restoreSource(a) && ok
	}
	return restored, ok && keysOK && (!restored.Disabled || len(appPasswords) == 0)
}

func rulesFromProto(record *storev1.Rules) ([]Rule, bool) {
	if len(record.GetRule()) > protocol.MaxRules {
		return nil, false
	}
	rules := make([]Rule, len(record.GetRule()))
	for i, r := range record.GetRule() {
		var ok bool
		if rules[i], ok = ruleFromProto(r); !ok || rules[i].IsEmpty() || i > 0 && comparePattern(rules[i-1], r.GetPattern()) >= 0 {
			return nil, false
		}
	}
	return rules, len(rules) > 0
}

func contactsFromProto(record *storev1.Contacts) ([]Contact, bool) {
	if len(record.GetContact()) > protocol.MaxContacts {
		return nil, false
	}
	contacts := make([]Contact, len(record.GetContact()))
	for i, c := range record.GetContact() {
		var ok bool
		if contacts[i], ok = contactFromProto(c); !ok || i > 0 && compareContact(contacts[i-1], c.GetAddress()) >= 0 {
			return nil, false
		}
	}
	return contacts, len(contacts) > 0
}

func listenerFromProto(record *storev1.Listener) (*Listener, bool) {
	l := &Listener{
		Address: protocol.CanonicalAddress(record.GetAddress()), Since: fromMilli(record.GetSinceMs()), Index: record.GetIndex(),
	}
	for _, b := range record.GetBinding() {
		if stateFromProto(b.GetState()) == protocol.Deaf || b.GetSession().GetNode() == "" {
			return nil, false
		}
		l.Bindings = append(l.Bindings, Binding{
			Session: SessionFromProto(b.GetSession()), Epoch: b.GetEpoch(), State: stateFromProto(b.GetState()), Note: b.GetNote(),
			Since: fromMilli(b.GetSinceMs()), Index: b.GetIndex(), Bound: b.GetBound(), Agent: b.GetAgent(), Client: b.GetClient(),
		})
	}
	return l, validAddress(record.GetAddress()) && len(l.Bindings) > 0 && slices.IsSortedFunc(l.Bindings, byBound)
}

// byBound orders bindings by the index of their session's first Bind.
func byBound(a, b Binding) int {
	return cmp.Or(cmp.Compare(a.Bound, b.Bound), a.Session.compare(b.Session))
}
