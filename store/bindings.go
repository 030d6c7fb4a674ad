package store

import (
	"slices"

	"simpd/protocol"
)

// nodeCounts counts the bindings of one node: those of its current epoch, and
// those left by ended ones.
type nodeCounts struct{ live, stale int }

// countBinding adds n bindings like b to the counts of its node. When the
// last stale binding is gone, it clears the node's NeedsReap.
func (t *Table) countBinding(b *Binding, n int) {
	node, _ := t.current.nodes.Get(b.Session.Node)
	c := t.countsOf(b.Session.Node)
	if node.isCurrent(b.Epoch) {
		c.live += n
		return
	}
	if c.stale += n; c.stale == 0 && node.NeedsReap {
		t.setNode(node, func(n *Node) { n.NeedsReap, n.reapedThrough = false, "" })
	}
}

func (t *Table) countsOf(node string) *nodeCounts {
	c := t.nodeCounts[node]
	if c == nil {
		c = &nodeCounts{}
		t.nodeCounts[node] = c
	}
	return c
}

// loadListener decodes address's listener to be changed. The listener is the
// table's scratch space: it is valid until the next call.
func (t *Table) loadListener(address string) (old packed, l *Listener) {
	old = t.current.listeners.get(address)
	l = &t.scratch
	if old.isEmpty() {
		*l = Listener{Address: protocol.CanonicalAddress(address), Bindings: l.Bindings[:0]}
		return old, l
	}
	old.unpackInto(l)
	return old, l
}

// removeBindings removes the bindings for which gone returns true, and
// returns them.
func (t *Table) removeBindings(l *Listener, gone func(*Binding) bool) (left []Binding) {
	stay := l.Bindings[:0]
	for i := range l.Bindings {
		b := l.Bindings[i]
		if !gone(&b) {
			stay = append(stay, b)
			continue
		}
		t.countBinding(&b, -1)
		left = append(left, b)
	}
	l.Bindings = stay
	return left
}

// storeBinding puts b into l, replacing the binding of the same session if
// there is one, and otherwise in the order of Bound.
func (t *Table) storeBinding(l *Listener, b Binding) {
	if i := findBinding(l, b.Session); i >= 0 {
		t.countBinding(&l.Bindings[i], -1)
		l.Bindings[i] = b
	} else {
		i, _ := slices.BinarySearchFunc(l.Bindings, b, byBound)
		l.Bindings = slices.Insert(l.Bindings, i, b)
	}
	t.countBinding(&b, 1)
}

// commitBindings commits l as the next change. node is the node of the
// session that changed.
func (t *Table) commitBindings(old packed, l *Listener, node string) Result {
	after, visible := t.storeListener(old, l)
	return t.commitEvent(entry{kind: EventPresence, visible: visible, address: l.Address.String(), node: node, before: old, after: after})
}

// storeListener stores l, which was old; without bindings it removes the
// listener. visible reports whether watchers see a change.
func (t *Table) storeListener(old packed, l *Listener) (after packed, visible bool) {
	if len(l.Bindings) == 0 {
		if !old.isEmpty() {
			t.current.listeners.delete(old)
		}
		return packed{}, !old.isEmpty()
	}
	before, now := old.presence(), bestBinding(l.Bindings)
	if before.State != now.State {
		l.Since = t.batchTime
	}
	if visible = before.State != now.State || before.Note != now.Note; visible {
		l.Index = t.nextIndex()
	}
	t.packBuf = appendListener(t.packBuf[:0], l)
	after = newPacked(t.packBuf)
	t.current.listeners.set(after)
	return after, visible
}

// endUserBindings ends address's bindings, except for the session stay, as
// part of a change of the account.
func (t *Table) endUserBindings(address string, stay Session) (before, after packed, visible bool) {
	old, l := t.loadListener(address)
	if len(t.removeBindings(l, func(b *Binding) bool { return b.Session != stay })) == 0 {
		return old, old, false
	}
	after, visible = t.storeListener(old, l)
	return old, after, visible
}
