package store

import storev1 "simpd/proto/simp/store/v1"

// nodeUp opens a new epoch of a node, which is the change's index, and ends
// the one before. The same process again, if its epoch lives: no change.
func (t *Table) nodeUp(c *storev1.NodeUp) Result {
	old, ok := t.now.nodes.Get(c.GetNode())
	switch {
	case !validName(c.GetNode()) || len(c.GetVersion()) > maxName || c.GetBoot() == 0:
		return refuse(Malformed, "a node without a name or a number of its process")
	case ok && !old.Down && old.Boot == c.GetBoot():
		return Result{Epoch: old.Epoch}
	case c.GetReplaces() != 0 && (!ok || old.Epoch != c.GetReplaces()):
		return refuse(Stale, "epoch %d is not the newest of %s", c.GetReplaces(), c.GetNode())
	case c.GetMinSchema() > t.now.schema || c.GetMaxSchema() < t.now.schema:
		return refuse(WrongSchema, "%s reads the schemas %d to %d, and the site's is %d", c.GetNode(), c.GetMinSchema(), c.GetMaxSchema(), t.now.schema)
	}
	if ok {
		t.endEpoch(old)
	}
	t.now.nodes.Set(c.GetNode(), &Node{
		ID: c.GetNode(), Epoch: t.next(), Boot: c.GetBoot(), Version: c.GetVersion(),
		MinSchema: c.GetMinSchema(), MaxSchema: c.GetMaxSchema(), Dirty: t.tallyOf(c.GetNode()).left > 0,
		Certificates: certificatesOf(old),
	})
	r := t.commit(entry{kind: EventNodeUp, node: c.GetNode()})
	r.Epoch = t.now.index
	return r
}

// nodeDown ends an epoch. It takes the same time however many bindings the
// node has.
func (t *Table) nodeDown(c *storev1.NodeDown) Result {
	node, ok := t.now.nodes.Get(c.GetNode())
	switch {
	case !ok:
		return refuse(NoNode, "there is no node %s", c.GetNode())
	case node.Epoch != c.GetEpoch():
		return refuse(EndedEpoch, "epoch %d is not the newest of %s", c.GetEpoch(), c.GetNode())
	case node.Down:
		return Result{}
	}
	t.endEpoch(node)
	return t.commit(entry{kind: EventNodeDown, node: node.ID})
}

// endEpoch makes what the node has bound what it has left.
func (t *Table) endEpoch(node *Node) {
	c := t.tallyOf(node.ID)
	c.left, c.living = c.left+c.living, 0
	t.setNode(node, func(n *Node) { n.Down, n.Draining, n.Dirty, n.reaped = true, false, c.left > 0, "" })
}

func (t *Table) setDraining(c *storev1.SetDraining) Result {
	if r := t.checkEpoch(c.GetNode(), c.GetEpoch()); r.Refusal != None {
		return r
	}
	node, _ := t.now.nodes.Get(c.GetNode())
	if node.Draining == c.GetDraining() {
		return Result{}
	}
	t.setNode(node, func(n *Node) { n.Draining = c.GetDraining() })
	return t.commit(entry{kind: EventDraining, node: node.ID})
}

// removeNode forgets a node that is down and reaped.
func (t *Table) removeNode(c *storev1.RemoveNode) Result {
	node, ok := t.now.nodes.Get(c.GetNode())
	switch {
	case !ok:
		return refuse(NoNode, "there is no node %s", c.GetNode())
	case !node.Down:
		return refuse(NodeInUse, "%s is up", c.GetNode())
	case node.Dirty:
		return refuse(NodeInUse, "%s is not reaped yet", c.GetNode())
	}
	t.now.nodes.Delete(c.GetNode())
	delete(t.tally, c.GetNode())
	return t.commit(entry{kind: EventNodeRemoved, node: node.ID})
}

// checkEpoch refuses what bears an epoch that is not its node's living one.
func (t *Table) checkEpoch(node string, epoch uint64) Result {
	n, ok := t.now.nodes.Get(node)
	switch {
	case !ok:
		return refuse(EndedEpoch, "there is no node %s", node)
	case !n.living(epoch):
		return refuse(EndedEpoch, "epoch %d of %s does not live", epoch, node)
	}
	return Result{}
}

func (t *Table) isDown(node string) bool {
	n, ok := t.now.nodes.Get(node)
	return !ok || n.Down
}

// setNode publishes a changed copy of a node: views may hold the old one.
func (t *Table) setNode(node *Node, change func(*Node)) {
	n := *node
	change(&n)
	t.now.nodes.Set(n.ID, &n)
}
