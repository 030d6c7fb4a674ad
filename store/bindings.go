package store

import (
	"slices"

	"simpd/protocol"
)

// tally counts the bindings of one node: those of its living epoch, and those
// that its ended epochs left.
type tally struct{ living, left int }

// count adds n bindings like b to what its node has. When the last one that
// ended epochs left is gone, so is the node's Dirty.
func (t *Table) count(b *Binding, n int) {
	node, _ := t.now.nodes.Get(b.Session.Node)
	c := t.tallyOf(b.Session.Node)
	if node.living(b.Epoch) {
		c.living += n
		return
	}
	if c.left += n; c.left == 0 && node.Dirty {
		t.setNode(node, func(n *Node) { n.Dirty, n.reaped = false, "" })
	}
}

func (t *Table) tallyOf(node string) *tally {
	c := t.tally[node]
	if c == nil {
		c = &tally{}
		t.tally[node] = c
	}
	return c
}

// open unpacks address's listener to be changed. The listener is the table's
// scratch: it is good until the next open.
func (t *Table) open(address string) (old packed, l *Listener) {
	old = t.now.listeners.get(address)
	l = &t.scratch
	if old.deaf() {
		*l = Listener{Address: protocol.CanonicalAddress(address), Bindings: l.Bindings[:0]}
		return old, l
	}
	old.unpackInto(l)
	return old, l
}

// leave takes from l the bindings that gone tells, and returns them.
func (t *Table) leave(l *Listener, gone func(*Binding) bool) (left []Binding) {
	stay := l.Bindings[:0]
	for i := range l.Bindings {
		b := l.Bindings[i]
		if !gone(&b) {
			stay = append(stay, b)
			continue
		}
		t.count(&b, -1)
		left = append(left, b)
	}
	l.Bindings = stay
	return left
}

// insert puts b into l, in place of the binding of the same session if there
// is one, and otherwise in the order of Bound.
func (t *Table) insert(l *Listener, b Binding) {
	if i := find(l, b.Session); i >= 0 {
		t.count(&l.Bindings[i], -1)
		l.Bindings[i] = b
	} else {
		i, _ := slices.BinarySearchFunc(l.Bindings, b, byBound)
		l.Bindings = slices.Insert(l.Bindings, i, b)
	}
	t.count(&b, 1)
}

// commitBindings keeps l as the next change. node is whose session changed.
func (t *Table) commitBindings(old packed, l *Listener, node string) Result {
	after, visible := t.keep(old, l)
	return t.commit(entry{kind: EventPresence, visible: visible, address: l.Address.String(), node: node, before: old, after: after})
}

// keep puts l, which was old, back into the table: deaf, if it has no bindings
// any more. visible reports whether those who may watch see a change.
func (t *Table) keep(old packed, l *Listener) (after packed, visible bool) {
	if len(l.Bindings) == 0 {
		if !old.deaf() {
			t.now.listeners.delete(old)
		}
		return packed{}, !old.deaf()
	}
	before, now := old.presence(), best(l.Bindings)
	if before.State != now.State {
		l.Since = t.at
	}
	if visible = before.State != now.State || before.Note != now.Note; visible {
		l.Index = t.next()
	}
	t.buf = pack(t.buf[:0], l)
	after = keepPacked(t.buf)
	t.now.listeners.set(after)
	return after, visible
}

// endAll ends address's bindings, but for the session stay, as part of a
// change of the account.
func (t *Table) endAll(address string, stay Session) (before, after packed, visible bool) {
	old, l := t.open(address)
	if len(t.leave(l, func(b *Binding) bool { return b.Session != stay })) == 0 {
		return old, old, false
	}
	after, visible = t.keep(old, l)
	return old, after, visible
}
