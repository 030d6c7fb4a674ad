package store

import (
	"cmp"
	"fmt"
	"slices"

	storev1 "simpd/proto/simp/store/v1"
	"simpd/protocol"
)

// restorer builds a table of a snapshot's records. Its parts come in a fixed
// order, and in each the names ascend: so it knows what is missing or double.
type restorer struct {
	newest uint32 // schema that is read

	view   View
	ring   ring
	tally  map[string]*tally
	shapes shapes
	part   int    // which part of the snapshot it is in
	last   string // the name of the record before, in this part

	history historyReader
	buf     []byte
}

// The parts of a snapshot, in their order.
const (
	partNone = iota // before the header
	partHeader
	partNodes
	partRemoved
	partAccounts
	partRules
	partContacts
	partListeners
	partEvents
)

func (b *restorer) add(r *storev1.Record) error {
	switch k := r.GetKind().(type) {
	case *storev1.Record_Header:
		return b.header(k.Header)
	case *storev1.Record_Node:
		return b.node(k.Node)
	case *storev1.Record_RemovedNode:
		return b.removedNode(k.RemovedNode)
	case *storev1.Record_Account:
		return b.account(k.Account)
	case *storev1.Record_Rules:
		return b.rules(k.Rules)
	case *storev1.Record_Contacts:
		return b.contacts(k.Contacts)
	case *storev1.Record_Listener:
		return b.listener(k.Listener)
	case *storev1.Record_Event:
		return b.event(k.Event)
	}
	return fmt.Errorf("a record of a kind that this program does not know: %w", ErrSchema)
}

// enter reports whether a record of that part and name may come now.
func (b *restorer) enter(part int, name string) error {
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

func (b *restorer) header(h *storev1.Header) error {
	if err := b.enter(partHeader, "header"); err != nil {
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

func (b *restorer) node(n *storev1.Node) error {
	if err := b.enter(partNodes, n.GetNode()); err != nil {
		return err
	}
	if !validName(n.GetNode()) {
		return corrupt("the node %q", n.GetNode())
	}
	certificates, ok := fingerprintsOf(n.GetCertificate())
	if !ok {
		return corrupt("the certificates of %q", n.GetNode())
	}
	b.tally[n.GetNode()] = &tally{}
	b.view.nodes.Load(n.GetNode(), &Node{
		ID: n.GetNode(), Epoch: n.GetEpoch(), Down: n.GetDown(), Draining: n.GetDraining(), Boot: n.GetBoot(), Version: n.GetVersion(),
		MinSchema: n.GetMinSchema(), MaxSchema: n.GetMaxSchema(), Dirty: n.GetDirty(), reaped: n.GetReaped(),
		Certificates: certificates,
	})
	return nil
}

func (b *restorer) account(record *storev1.Account) error {
	if err := b.enter(partAccounts, record.GetAddress()); err != nil {
		return err
	}
	a, ok := accountOf(record)
	if !ok {
		return corrupt("the account %q", record.GetAddress())
	}
	b.view.accounts.load(record.GetAddress(), a)
	b.shapes.replaceAccount(nil, a)
	return nil
}

func (b *restorer) rules(record *storev1.Rules) error {
	if err := b.enter(partRules, record.GetOwner()); err != nil {
		return err
	}
	rules, ok := rulesOf(record)
	if !ok || !b.view.hasAccount(record.GetOwner()) {
		return corrupt("the rules of %q", record.GetOwner())
	}
	b.view.rules.load(record.GetOwner(), newACL(rules))
	return nil
}

func (b *restorer) contacts(record *storev1.Contacts) error {
	if err := b.enter(partContacts, record.GetOwner()); err != nil {
		return err
	}
	contacts, ok := contactsOf(record)
	if !ok || !b.view.hasAccount(record.GetOwner()) {
		return corrupt("the contacts of %q", record.GetOwner())
	}
	b.view.contacts.load(record.GetOwner(), contacts)
	return nil
}

func (b *restorer) listener(record *storev1.Listener) error {
	if err := b.enter(partListeners, record.GetAddress()); err != nil {
		return err
	}
	l, ok := listenerOf(record)
	if !ok || !b.view.hasAccount(record.GetAddress()) || !b.tallyAll(l) {
		return corrupt("the listener %q", record.GetAddress())
	}
	b.view.listeners.load(keepPacked(pack(nil, l)))
	return nil
}

// tallyAll counts a listener's bindings with their nodes, which must be there.
func (b *restorer) tallyAll(l *Listener) bool {
	for i := range l.Bindings {
		node, ok := b.view.nodes.Get(l.Bindings[i].Session.Node)
		if !ok {
			return false
		}
		if c := b.tally[node.ID]; node.living(l.Bindings[i].Epoch) {
			c.living++
		} else {
			c.left++
		}
	}
	return true
}

// finish looks at what only the whole can tell.
func (b *restorer) finish() error {
	if b.part == partNone {
		return corrupt("a snapshot without a header")
	}
	if !b.history.isComplete(b.view.index) {
		return corrupt("a snapshot's events are not complete: event %d is missing", b.history.next)
	}
	b.finishHistory()
	for _, n := range b.view.Nodes() {
		if n.Dirty != (b.tally[n.ID].left > 0) {
			return corrupt("a snapshot errs in what %s has left", n.ID)
		}
	}
	return nil
}

func corrupt(format string, args ...any) error {
	return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), ErrCorrupt)
}

func accountOf(a *storev1.Account) (*Account, bool) {
	if !validAddress(a.GetAddress()) || !validVerifier(a.GetVerifier()) {
		return nil, false
	}
	return &Account{
		Address: protocol.CanonicalAddress(a.GetAddress()), Verifier: verifierOf(a.GetVerifier()), Disabled: a.GetDisabled(),
		Credential: a.GetCredential(), Exclusive: a.GetExclusive(), Created: fromMilli(a.GetCreatedMs()),
		LastDisabled: a.GetLastDisabled(),
	}, true
}

func rulesOf(record *storev1.Rules) ([]Rule, bool) {
	if len(record.GetRule()) > protocol.MaxRules {
		return nil, false
	}
	rules := make([]Rule, len(record.GetRule()))
	for i, r := range record.GetRule() {
		var ok bool
		if rules[i], ok = ruleOf(r); !ok || rules[i].Empty() || i > 0 && comparePattern(rules[i-1], r.GetPattern()) >= 0 {
			return nil, false
		}
	}
	return rules, len(rules) > 0
}

func contactsOf(record *storev1.Contacts) ([]Contact, bool) {
	if len(record.GetContact()) > protocol.MaxContacts {
		return nil, false
	}
	contacts := make([]Contact, len(record.GetContact()))
	for i, c := range record.GetContact() {
		var ok bool
		if contacts[i], ok = contactOf(c); !ok || i > 0 && compareContact(contacts[i-1], c.GetAddress()) >= 0 {
			return nil, false
		}
	}
	return contacts, len(contacts) > 0
}

func listenerOf(record *storev1.Listener) (*Listener, bool) {
	l := &Listener{
		Address: protocol.CanonicalAddress(record.GetAddress()), Since: fromMilli(record.GetSinceMs()), Index: record.GetIndex(),
	}
	for _, b := range record.GetBinding() {
		if stateOf(b.GetState()) == protocol.Deaf || b.GetSession().GetNode() == "" {
			return nil, false
		}
		l.Bindings = append(l.Bindings, Binding{
			Session: sessionOf(b.GetSession()), Epoch: b.GetEpoch(), State: stateOf(b.GetState()), Note: b.GetNote(),
			Since: fromMilli(b.GetSinceMs()), Index: b.GetIndex(), Bound: b.GetBound(), Agent: b.GetAgent(), Client: b.GetClient(),
		})
	}
	return l, validAddress(record.GetAddress()) && len(l.Bindings) > 0 && slices.IsSortedFunc(l.Bindings, byBound)
}

// byBound orders bindings by the index of the session's first Bind.
func byBound(a, b Binding) int {
	return cmp.Or(cmp.Compare(a.Bound, b.Bound), a.Session.compare(b.Session))
}
