package store

import (
	"github.com/tidwall/btree"

	"simpd/protocol"
)

// View is the whole table at one index. It never changes, takes constant time
// to make, and can be read by any goroutine without a lock. What the table
// replaces later stays in memory as long as a view of it does.
type View struct {
	history   string
	index     uint64
	schema    uint32
	secret    []byte
	replaced  uint64 // octets that changes have replaced so far
	restoring uint64 // index of the first piece of an unfinished restore; else 0

	accounts  orderedMap[*Account]
	listeners listeners
	rules     orderedMap[*ACL]
	contacts  orderedMap[[]Contact]
	nodes     *btree.Map[string, *Node]
	removed   *btree.Map[string, *RemovedNode]
	// invitations are found by the hashes of their codes, in hexadecimal.
	invitations *btree.Map[string, *Invitation]
	blocks      *btree.Map[string, *Block] // by Block.Key
	blockOctets int
	sealed      *btree.Map[string, *SealedValue]
	// groups are contact groups by source, NUL and key.
	groups      *btree.Map[string, *ContactGroup]
	groupOctets int      // of groups
	console     *Console // nil: no link was ever used or revoked
	reports     *btree.Map[uint64, *Report]

	reportOctets int
	reportsIndex uint64 // of the newest change of reports
}

func newView() View {
	return View{
		schema:    1,
		accounts:  newOrderedMap[*Account](),
		listeners: newListeners(),
		rules:     newOrderedMap[*ACL](),
		contacts:  newOrderedMap[[]Contact](),
		nodes:     new(btree.Map[string, *Node]),
		removed:   new(btree.Map[string, *RemovedNode]),

		invitations: new(btree.Map[string, *Invitation]),
		blocks:      new(btree.Map[string, *Block]),
		sealed:      new(btree.Map[string, *SealedValue]),
		groups:      new(btree.Map[string, *ContactGroup]),
		reports:     new(btree.Map[uint64, *Report]),
	}
}

// copy returns a view that later changes of v do not affect. It marks the
// nodes of v's trees as shared.
func (v *View) copy() View {
	c := *v
	c.accounts = v.accounts.snapshot()
	c.listeners = v.listeners.snapshot()
	c.rules = v.rules.snapshot()
	c.contacts = v.contacts.snapshot()
	c.nodes = v.nodes.Copy()
	c.removed = v.removed.Copy()
	c.invitations = v.invitations.Copy()
	c.blocks = v.blocks.Copy()
	c.sealed = v.sealed.Copy()
	c.groups = v.groups.Copy()
	c.reports = v.reports.Copy()
	return c
}

// Index returns the index of the newest change.
func (v View) Index() uint64 { return v.index }

// History returns the name of the history that the index counts in; "" before
// NewHistory.
func (v View) History() string { return v.history }

// Position returns History and Index.
func (v View) Position() Position { return Position{v.history, v.index} }

// Schema returns the schema of the log's entries and snapshots.
func (v View) Schema() uint32 { return v.schema }

// Secret returns the site's secret. It must not be changed.
func (v View) Secret() []byte { return v.secret }

// Restoring reports whether a restore of accounts is in progress.
func (v View) Restoring() bool { return v.restoring != 0 }

// Account returns a's account, which must not be changed.
func (v View) Account(a protocol.Address) (*Account, bool) { return v.accounts.get(a.String()) }

// Listener returns a as a listener, including stale bindings that Reap has
// not removed yet; nil if deaf.
func (v View) Listener(a protocol.Address) *Listener {
	p := v.listeners.get(a.String())
	return p.unpack()
}

// Listens reports whether a has a binding of that session, including stale
// ones. It does not allocate.
func (v View) Listens(a protocol.Address, s Session) bool {
	p := v.listeners.get(a.String())
	if p.isEmpty() {
		return false
	}
	var l Listener
	c, n := p.decodeHead(&l)
	for range n {
		if b := c.binding(); b.Session == s {
			return true
		}
	}
	return false
}

// Presence returns what a watcher of a sees. It does not allocate.
func (v View) Presence(a protocol.Address) protocol.Presence {
	p := v.listeners.get(a.String())
	at := p.presence()
	at.Address = a
	return at
}

// Routes appends to dst the sessions of a that messages can be routed to:
// those whose bindings are of their node's current epoch, in the order of
// Bound. The live table may mistake an address for that of a given listener
// with a probability of 2^-64; the node that holds the session checks whose
// it is.
func (v View) Routes(dst []Session, a protocol.Address) []Session {
	if s, epoch, ok := v.listeners.singleSession(a.String()); ok {
		return v.appendLiving(dst, s, epoch)
	}
	p := v.listeners.get(a.String())
	if p.isEmpty() {
		return dst
	}
	var l Listener
	c, n := p.decodeHead(&l)
	for range n {
		b := c.binding()
		dst = v.appendLiving(dst, b.Session, b.Epoch)
	}
	return dst
}

func (v *View) appendLiving(dst []Session, s Session, epoch uint64) []Session {
	if node, _ := v.nodes.Get(s.Node); node.isCurrent(epoch) {
		return append(dst, s)
	}
	return dst
}

// Rules returns owner's rules sorted by pattern. They must not be changed.
func (v View) Rules(owner protocol.Address) []Rule {
	return v.ACL(owner).Rules()
}

// ACL returns owner's rules for evaluation; nil if there are none.
func (v View) ACL(owner protocol.Address) *ACL {
	l, _ := v.rules.get(owner.String())
	return l
}

// Contacts returns owner's contacts sorted by address. They must not be
// changed.
func (v View) Contacts(owner protocol.Address) []Contact {
	contacts, _ := v.contacts.get(owner.String())
	return contacts
}

// Allowed evaluates owner's rules for an action of who; see ACL.Allowed.
func (v View) Allowed(owner, who protocol.Address, whoIsLocal bool, thing Action) (decided, allow bool) {
	return allowedBy(v.ACL(owner), who, whoIsLocal, thing)
}

// allowedBy computes who's comparison key only if there are rules.
func allowedBy(l *ACL, who protocol.Address, whoIsLocal bool, thing Action) (decided, allow bool) {
	if l.IsEmpty() {
		return false, false
	}
	return l.Allowed(who.RuleKey(whoIsLocal), whoIsLocal, thing)
}

func (v *View) hasAccount(address string) bool {
	_, ok := v.accounts.get(address)
	return ok
}

// Node returns the node with that ID.
func (v View) Node(id string) (Node, bool) {
	n, ok := v.nodes.Get(id)
	if !ok {
		return Node{}, false
	}
	return *n, true
}

// Nodes returns all nodes in the order of their IDs.
func (v View) Nodes() []Node {
	nodes := make([]Node, 0, v.nodes.Len())
	v.nodes.Scan(func(_ string, n *Node) bool {
		nodes = append(nodes, *n)
		return true
	})
	return nodes
}

// Listeners calls yield for each listener from address from on, in ascending
// order, until yield returns false.
func (v View) Listeners(from protocol.Address, yield func(*Listener) bool) {
	v.listeners.ascend(from.String(), func(p packed) bool { return yield(p.unpack()) })
}

// Accounts calls yield for each account from address from on, in ascending
// order, until yield returns false.
func (v View) Accounts(from protocol.Address, yield func(*Account) bool) {
	v.accounts.ascend(from.String(), func(_ string, a *Account) bool { return yield(a) })
}

// AccountsFrom calls yield for each account whose address, as a string, is from
// or greater, in ascending order, until yield returns false.
func (v View) AccountsFrom(from string, yield func(*Account) bool) {
	v.accounts.ascend(from, func(_ string, a *Account) bool { return yield(a) })
}

// SessionsOf calls yield for each session on node whose user's address is
// from or greater, in ascending order, until yield returns false. It reads
// every listener, so it is for operators.
func (v View) SessionsOf(node string, from protocol.Address, yield func(protocol.Address, Binding) bool) {
	v.listeners.ascend(from.String(), func(p packed) bool {
		var l Listener
		c, n := p.decodeHead(&l)
		for range n {
			if b := c.binding(); b.Session.Node == node && !yield(l.Address, b) {
				return false
			}
		}
		return true
	})
}

// Len returns the number of accounts and of users who listen.
func (v View) Len() (accounts, listeners int) { return v.accounts.len(), v.listeners.len() }
