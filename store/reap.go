package store

import storev1 "simpd/proto/simp/store/v1"

// reapLimit is what Reap's limit is at most, and what 0 means. reapScan is how
// many listeners it looks at for each user of its limit, so that a piece takes
// a short time also where the node has left little among many. Both decide
// what a change does: they belong to the schema.
const (
	reapLimit = 1024
	reapScan  = 32
)

// reap ends what ended epochs of a node left, for the next users in the order
// of their addresses. It goes on where the reap before came to.
func (t *Table) reap(c *storev1.Reap) Result {
	node, ok := t.now.nodes.Get(c.GetNode())
	if !ok {
		return refuse(NoNode, "there is no node %s", c.GetNode())
	}
	if !node.Dirty {
		return Result{}
	}
	var r Result
	for _, address := range t.nextLeft(node, c.GetLimit()) {
		r = t.reapUser(node.ID, address)
	}
	node, _ = t.now.nodes.Get(c.GetNode())
	r.Left = node.Dirty
	return r
}

// nextLeft returns the next users of whom ended epochs of the node have left
// bindings, and notes how far it looked.
func (t *Table) nextLeft(node *Node, limit uint32) (users []string) {
	if limit == 0 || limit > reapLimit {
		limit = reapLimit
	}
	last, scan := "", reapScan*int(limit)
	t.now.listeners.ascend(node.reaped, func(p packed) bool {
		last, scan = p.address(), scan-1
		if p.left(node) {
			users = append(users, last)
		}
		return len(users) < int(limit) && scan > 0
	})
	t.setNode(node, func(n *Node) { n.reaped = last })
	return users
}

// left reports whether p has a binding of an ended epoch of node.
func (p packed) left(node *Node) bool {
	var l Listener
	c, n := p.open(&l)
	for range n {
		if b := c.binding(); b.Session.Node == node.ID && !node.living(b.Epoch) {
			return true
		}
	}
	return false
}

func (t *Table) reapUser(node, address string) Result {
	old, l := t.open(address)
	n, _ := t.now.nodes.Get(node)
	t.leave(l, func(b *Binding) bool { return b.Session.Node == node && !n.living(b.Epoch) })
	return t.commitBindings(old, l, node)
}
