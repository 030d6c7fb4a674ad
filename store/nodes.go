package store

import storev1 "simpd/proto/simp/store/v1"

// nodeUp starts a new epoch of a node, which is the change's index, and ends
// the previous one. If the same process repeats it while its epoch is
// current, nothing changes.
func (t *Table) nodeUp(c *storev1.NodeUp) Result {
	old, ok := t.current.nodes.Get(c.GetNode())
	switch {
	case !validName(c.GetNode()) || len(c.GetVersion()) > maxName || c.GetIncarnation() == 0:
		return refuse(Malformed, "a node without a name or a number of its process")
	case ok && !old.Down && old.Incarnation == c.GetIncarnation():
		return Result{Epoch: old.Epoch}
	case c.GetReplaces() != 0 && (!ok || old.Epoch != c.GetReplaces()):
		return refuse(Stale, "epoch %d is not the newest of %s", c.GetReplaces(), c.GetNode())
	case c.GetMinSchema() > t.current.schema || c.GetMaxSchema() < t.current.schema:
		return refuse(WrongSchema, "%s reads the schemas %d to %d, and the site's is %d", c.GetNode(), c.GetMinSchema(), c.GetMaxSchema(), t.current.schema)
	}
	if ok {
		t.endEpoch(old)
	}
	t.current.nodes.Set(c.GetNode(), &Node{
		ID: c.GetNode(), Epoch: t.nextIndex(), Incarnation: c.GetIncarnation(), Version: c.GetVersion(),
		MinSchema: c.GetMinSchema(), MaxSchema: c.GetMaxSchema(), NeedsReap: t.countsOf(c.GetNode()).stale > 0,
		Certificates: certificatesOf(old),
	})
	r := t.commitEvent(entry{kind: EventNodeUp, node: c.GetNode()})
	r.Epoch = t.current.index
	return r
}

// nodeDown ends an epoch. It takes constant time, however many bindings the
// node has.
func (t *Table) nodeDown(c *storev1.NodeDown) Result {
	node, ok := t.current.nodes.Get(c.GetNode())
	switch {
	case !ok:
		return refuse(NoNode, "there is no node %s", c.GetNode())
	case node.Epoch != c.GetEpoch():
		return refuse(EndedEpoch, "epoch %d is not the newest of %s", c.GetEpoch(), c.GetNode())
	case node.Down:
		return Result{}
	}
	t.endEpoch(node)
	return t.commitEvent(entry{kind: EventNodeDown, node: node.ID})
}

// endEpoch turns the node's live bindings into stale ones.
func (t *Table) endEpoch(node *Node) {
	c := t.countsOf(node.ID)
	c.stale, c.live = c.stale+c.live, 0
	t.setNode(node, func(n *Node) { n.Down, n.Draining, n.NeedsReap, n.reapedThrough = true, false, c.stale > 0, "" })
}

func (t *Table) setDraining(c *storev1.SetDraining) Result {
	if r := t.checkEpoch(c.GetNode(), c.GetEpoch()); r.Refusal != None {
		return r
	}
	node, _ := t.current.nodes.Get(c.GetNode())
	if node.Draining == c.GetDraining() {
		return Result{}
	}
	t.setNode(node, func(n *Node) { n.Draining = c.GetDraining() })
	return t.commitEvent(entry{kind: EventDraining, node: node.ID})
}

// removeNode removes a node that is down and reaped.
func (t *Table) removeNode(c *storev1.RemoveNode) Result {
	node, ok := t.current.nodes.Get(c.GetNode())
	switch {
	case !ok:
		return refuse(NoNode, "there is no node %s", c.GetNode())
	case !node.Down:
		return refuse(NodeInUse, "%s is up", c.GetNode())
	case node.NeedsReap:
		return refuse(NodeInUse, "%s is not reaped yet", c.GetNode())
	}
	t.current.nodes.Delete(c.GetNode())
	delete(t.nodeCounts, c.GetNode())
	return t.commitEvent(entry{kind: EventNodeRemoved, node: node.ID})
}

// checkEpoch refuses a change whose epoch is not its node's current one.
func (t *Table) checkEpoch(node string, epoch uint64) Result {
	n, ok := t.current.nodes.Get(node)
	switch {
	case !ok:
		return refuse(EndedEpoch, "there is no node %s", node)
	case !n.isCurrent(epoch):
		return refuse(EndedEpoch, "epoch %d of %s does not live", epoch, node)
	}
	return Result{}
}

// Bindings returns how many bindings a node has, with stale ones. It takes
// constant time.
func (t *Table) Bindings(node string) int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if c := t.nodeCounts[node]; c != nil {
		return c.live + c.stale
	}
	return 0
}

func (t *Table) isDown(node string) bool {
	n, ok := t.current.nodes.Get(node)
	return !ok || n.Down
}

// setNode stores a changed copy of a node. Views may hold the old one.
func (t *Table) setNode(node *Node, change func(*Node)) {
	n := *node
	change(&n)
	t.current.nodes.Set(n.ID, &n)
}
