package store

import "github.com/tidwall/btree"

// listeners holds the users who listen, in two ways. The tree is ordered by
// address, and is copied in constant time. The index, which only the live
// table has and no copy, serves the look-ups that every message needs.
type listeners struct {
	tree   *btree.BTreeG[packed]
	lookup *hashIndex // nil in a copy
}

func newListeners() listeners {
	byAddress := func(p, o packed) bool { return p.address() < o.address() }
	return listeners{
		tree:   btree.NewBTreeGOptions(byAddress, btree.Options{NoLocks: true}), // the table's lock is enough
		lookup: newHashIndex(),
	}
}

// snapshot returns a copy that later calls of set and delete do not change.
// It marks the tree's nodes as shared, so it needs the write lock.
func (l *listeners) snapshot() listeners { return listeners{tree: l.tree.Copy()} }

// get returns a listener, empty if there is none.
func (l *listeners) get(address string) packed {
	if l.lookup == nil {
		p, _ := l.tree.Get(searchKey(address))
		return p
	}
	return l.lookup.get(address)
}

// singleSession returns a listener's only session, if that is known without
// decoding the listener, and the epoch in which it was bound last.
func (l *listeners) singleSession(address string) (s Session, epoch uint64, ok bool) {
	if l.lookup == nil {
		return Session{}, 0, false
	}
	return l.lookup.singleSession(address)
}

// searchKey returns a packed value that compares equal to the listener with
// that address.
func searchKey(address string) packed { return newPacked(appendString(nil, address)) }

func (l *listeners) set(p packed) {
	l.tree.Set(p)
	l.lookup.insert(p)
}

// load is set for addresses in ascending order, which is faster.
func (l *listeners) load(p packed) {
	l.tree.Load(p)
	l.lookup.insert(p)
}

func (l *listeners) delete(p packed) {
	l.tree.Delete(p)
	l.lookup.delete(p)
}

// ascend calls yield for each listener from address from on, in ascending
// order, until yield returns false.
func (l *listeners) ascend(from string, yield func(packed) bool) {
	if from == "" {
		l.tree.Scan(yield)
		return
	}
	l.tree.Ascend(searchKey(from), yield)
}

func (l *listeners) len() int { return l.tree.Len() }
