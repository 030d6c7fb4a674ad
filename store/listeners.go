package store

import "github.com/tidwall/btree"

// listeners are the users who listen, kept in two ways. The tree is in the
// order of addresses, and is copied at once however many there are. The index,
// which only the living table has and no copy of it, is for the look-ups that
// every message takes.
type listeners struct {
	tree *btree.BTreeG[packed]
	fast *index // nil in a copy
}

func newListeners() listeners {
	byAddress := func(p, o packed) bool { return p.address() < o.address() }
	return listeners{
		tree: btree.NewBTreeGOptions(byAddress, btree.Options{NoLocks: true}), // the table's lock is enough
		fast: newIndex(),
	}
}

// copy returns the listeners as they are now, which set and delete leave
// alone. It writes to the tree: from now on that copies what it changes.
func (l *listeners) copy() listeners { return listeners{tree: l.tree.Copy()} }

// get returns a listener; deaf if there is none.
func (l *listeners) get(address string) packed {
	if l.fast == nil {
		p, _ := l.tree.Get(named(address))
		return p
	}
	return l.fast.get(address)
}

// sole returns a listener's only session, if that is known without reading the
// listener, and the epoch in which it was bound last.
func (l *listeners) sole(address string) (s Session, epoch uint64, ok bool) {
	if l.fast == nil {
		return Session{}, 0, false
	}
	return l.fast.sole(address)
}

// named returns a packed value that compares equal to the listener with that
// address.
func named(address string) packed { return keepPacked(appendString(nil, address)) }

func (l *listeners) set(p packed) {
	l.tree.Set(p)
	l.fast.set(p)
}

// load is set for addresses that come in their order.
func (l *listeners) load(p packed) {
	l.tree.Load(p)
	l.fast.set(p)
}

func (l *listeners) delete(p packed) {
	l.tree.Delete(p)
	l.fast.delete(p)
}

// ascend calls yield for each listener whose address is not below from, in
// their order.
func (l *listeners) ascend(from string, yield func(packed) bool) {
	if from == "" {
		l.tree.Scan(yield)
		return
	}
	l.tree.Ascend(named(from), yield)
}

func (l *listeners) len() int { return l.tree.Len() }
