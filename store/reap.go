package store

import storev1 "simpd/proto/simp/store/v1"

// reapLimit is the maximum and the default of Reap's limit. reapScan is how
// many listeners are examined for each user of the limit, so that a step is
// short even if the node has left few bindings among many listeners. Both
// determine the result of a change, so they are part of the schema.
const (
	reapLimit = 1024
	reapScan  = 32
)

// reapNode removes the stale bindings of a node for the next users in the
// order of their addresses. It continues where the previous Reap ended.
func (t *Table) reapNode(c *storev1.Reap) Result {
	node, ok := t.current.nodes.Get(c.GetNode())
	if !ok {
		return refuse(NoNode, "there is no node %s", c.GetNode())
	}
	if !node.NeedsReap {
		return Result{}
	}
	var r Result
	for _, address := range t.nextStale(node, c.GetLimit()) {
		r = t.reapUser(node.ID, address)
	}
	node, _ = t.current.nodes.Get(c.GetNode())
	r.More = node.NeedsReap
	return r
}

// nextStale returns the next users with stale bindings of the node, and
// records how far it looked.
func (t *Table) nextStale(node *Node, limit uint32) (users []string) {
	if limit == 0 || limit > reapLimit {
		limit = reapLimit
	}
	last, scan := "", reapScan*int(limit)
	t.current.listeners.ascend(node.reapedThrough, func(p packed) bool {
		last, scan = p.address(), scan-1
		if p.hasStale(node) {
			users = append(users, last)
		}
		return len(users) < int(limit) && scan > 0
	})
	t.setNode(node, func(n *Node) { n.reapedThrough = last })
	return users
}

// hasStale reports whether p has a binding of an ended epoch of node.
func (p packed) hasStale(node *Node) bool {
	var l Listener
	c, n := p.decodeHead(&l)
	for range n {
		if b := c.binding(); b.Session.Node == node.ID && !node.isCurrent(b.Epoch) {
			return true
		}
	}
	return false
}

func (t *Table) reapUser(node, address string) Result {
	old, l := t.loadListener(address)
	n, _ := t.current.nodes.Get(node)
	t.removeBindings(l, func(b *Binding) bool { return b.Session.Node == node && !n.isCurrent(b.Epoch) })
	return t.commitBindings(old, l, node)
}
