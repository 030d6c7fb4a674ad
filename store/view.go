package store

import (
	"github.com/tidwall/btree"

	"simpd/protocol"
)

// View is the whole table at one index. It never changes, costs next to
// nothing to make, and is read by any goroutine without a lock. What the
// table replaces later stays in memory for as long as a view of it does.
type View struct {
	history   string
	index     uint64
	schema    uint32
	secret    []byte
	replaced  uint64 // octets that changes have replaced
	restoring uint64 // index of the first piece of a restore that is not at its end

	accounts  directory[*Account]
	listeners listeners
	rules     directory[*ACL]
	contacts  directory[[]Contact]
	nodes     *btree.Map[string, *Node]
	removed   *btree.Map[string, *RemovedNode]
}

func newView() View {
	return View{
		schema:    1,
		accounts:  newDirectory[*Account](),
		listeners: newListeners(),
		rules:     newDirectory[*ACL](),
		contacts:  newDirectory[[]Contact](),
		nodes:     new(btree.Map[string, *Node]),
		removed:   new(btree.Map[string, *RemovedNode]),
	}
}

// copy returns a view that v's later changes leave alone. It writes to v's
// trees: they copy what they change from now on.
func (v *View) copy() View {
	c := *v
	c.accounts = v.accounts.copy()
	c.listeners = v.listeners.copy()
	c.rules = v.rules.copy()
	c.contacts = v.contacts.copy()
	c.nodes = v.nodes.Copy()
	c.removed = v.removed.Copy()
	return c
}

// Index returns the number of the newest change.
func (v View) Index() uint64 { return v.index }

// History names the log that the index counts in; "" until NewHistory.
func (v View) History() string { return v.history }

// Position returns History and Index.
func (v View) Position() Position { return Position{v.history, v.index} }

// Schema returns what the log's entries and snapshots may hold at present.
func (v View) Schema() uint32 { return v.schema }

// Secret returns the site's secret. It is not to be changed.
func (v View) Secret() []byte { return v.secret }

// Restoring reports whether a restore of accounts is under way.
func (v View) Restoring() bool { return v.restoring != 0 }

// Account returns a's account, which must not be changed.
func (v View) Account(a protocol.Address) (*Account, bool) { return v.accounts.get(a.String()) }

// Listener returns a as a listener, with what ended epochs have left and Reap
// has not ended; nil: deaf.
func (v View) Listener(a protocol.Address) *Listener {
	p := v.listeners.get(a.String())
	return p.unpack()
}

// Listens reports whether a listens in that session, without an allocation; what
// ended epochs have left and Reap has not ended counts.
func (v View) Listens(a protocol.Address, s Session) bool {
	p := v.listeners.get(a.String())
	if p.deaf() {
		return false
	}
	var l Listener
	c, n := p.open(&l)
	for range n {
		if b := c.binding(); b.Session == s {
			return true
		}
	}
	return false
}

// Presence returns what a watcher of a sees, without an allocation.
func (v View) Presence(a protocol.Address) protocol.Presence {
	p := v.listeners.get(a.String())
	at := p.presence()
	at.Address = a
	return at
}

// Routes appends to dst a's sessions that lead somewhere: those whose bindings
// are of the present, living epoch of their node, in the order of Bound. The
// table itself may take an address of which nobody listens for a listener's, once
// in 2^64 for each of them: who holds the session knows whose it is.
func (v View) Routes(dst []Session, a protocol.Address) []Session {
	if s, epoch, ok := v.listeners.sole(a.String()); ok {
		return v.appendLiving(dst, s, epoch)
	}
	p := v.listeners.get(a.String())
	if p.deaf() {
		return dst
	}
	var l Listener
	c, n := p.open(&l)
	for range n {
		b := c.binding()
		dst = v.appendLiving(dst, b.Session, b.Epoch)
	}
	return dst
}

func (v *View) appendLiving(dst []Session, s Session, epoch uint64) []Session {
	if node, _ := v.nodes.Get(s.Node); node.living(epoch) {
		return append(dst, s)
	}
	return dst
}

// Rules returns owner's rules in the order of their patterns. They must not be
// changed.
func (v View) Rules(owner protocol.Address) []Rule {
	return v.ACL(owner).Rules()
}

// ACL returns owner's rules for look-ups; nil if there are none.
func (v View) ACL(owner protocol.Address) *ACL {
	l, _ := v.rules.get(owner.String())
	return l
}

// Contacts returns owner's contacts in the order of their addresses. They must
// not be changed.
func (v View) Contacts(owner protocol.Address) []Contact {
	contacts, _ := v.contacts.get(owner.String())
	return contacts
}

// Allowed asks owner's rules whether who may do thing; see ACL.Allowed.
func (v View) Allowed(owner, who protocol.Address, whoIsLocal bool, thing Thing) (decided, allow bool) {
	return allowed(v.ACL(owner), who, whoIsLocal, thing)
}

// allowed folds who only where there is a rule to be asked.
func allowed(l *ACL, who protocol.Address, whoIsLocal bool, thing Thing) (decided, allow bool) {
	if l.IsEmpty() {
		return false, false
	}
	return l.Allowed(who.RuleKey(whoIsLocal), whoIsLocal, thing)
}

func (v *View) hasAccount(address string) bool {
	_, ok := v.accounts.get(address)
	return ok
}

// Node returns the node of that id.
func (v View) Node(id string) (Node, bool) {
	n, ok := v.nodes.Get(id)
	if !ok {
		return Node{}, false
	}
	return *n, true
}

// Nodes returns all nodes in the order of their ids.
func (v View) Nodes() []Node {
	nodes := make([]Node, 0, v.nodes.Len())
	v.nodes.Scan(func(_ string, n *Node) bool {
		nodes = append(nodes, *n)
		return true
	})
	return nodes
}

// Listeners calls yield for each listener whose address is not below from, in
// the order of addresses, until yield returns false.
func (v View) Listeners(from protocol.Address, yield func(*Listener) bool) {
	v.listeners.ascend(from.String(), func(p packed) bool { return yield(p.unpack()) })
}

// Accounts calls yield for each account whose address is not below from, in
// the order of addresses, until yield returns false.
func (v View) Accounts(from protocol.Address, yield func(*Account) bool) {
	v.accounts.ascend(from.String(), func(_ string, a *Account) bool { return yield(a) })
}

// SessionsOf calls yield for each session on node whose user's address is not
// below from, in the order of addresses, until yield returns false. It looks
// at every listener: it is for operators.
func (v View) SessionsOf(node string, from protocol.Address, yield func(protocol.Address, Binding) bool) {
	v.listeners.ascend(from.String(), func(p packed) bool {
		var l Listener
		c, n := p.open(&l)
		for range n {
			if b := c.binding(); b.Session.Node == node && !yield(l.Address, b) {
				return false
			}
		}
		return true
	})
}

// Len returns how many accounts there are, and how many users listen.
func (v View) Len() (accounts, listeners int) { return v.accounts.len(), v.listeners.len() }
