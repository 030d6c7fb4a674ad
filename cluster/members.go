package cluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/hashicorp/raft"

	"simpd/cluster/link"
	"simpd/cluster/peerrpc"
	clusterv1 "simpd/proto/simp/cluster/v1"
	storev1 "simpd/proto/simp/store/v1"
	"simpd/store"
)

// configTimeout is how long a change of Raft's configuration may take.
const configTimeout = 5 * time.Second

// server is a node in Raft's newest configuration.
func (n *Node) server(id string) (raft.Server, bool) {
	for _, s := range n.servers() {
		if string(s.ID) == id {
			return s, true
		}
	}
	return raft.Server{}, false
}

func (n *Node) isServer(id string) bool {
	_, ok := n.server(id)
	return ok
}

func (n *Node) notLeader() error { return &peerrpc.NotLeaderError{Leader: n.Leader()} }

// membershipInterval is how often the link is told the members without a
// known change, because Raft may take an entry back.
const membershipInterval = time.Second

// watchMembership tells the link which nodes belong to the site, and which
// are excluded, whenever that changes, until ctx ends.
func (n *Node) watchMembership(ctx context.Context) {
	tick := time.NewTicker(membershipInterval)
	defer tick.Stop()
	for {
		servers, nodes := n.configChanged.changed(), n.nodesChanged.changed()
		n.publishMembership()
		select {
		case <-servers:
		case <-nodes:
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (n *Node) publishMembership() {
	n.publishing.Lock()
	defer n.publishing.Unlock()
	if n.running.Load() == nil {
		return // it is told once Raft has read its log
	}
	if c := n.configuration(); !sameConfiguration(c, n.published) {
		n.published = c
		n.link.SetConfiguration(c)
	}
	if r := n.table.RemovedNodes(); !slices.EqualFunc(r, n.publishedRemoved, sameRemoved) {
		n.publishedRemoved = r
		n.link.SetRemoved(removedOf(r))
	}
}

// configuration returns Raft's newest configuration, with how far this node's
// log was applied before it was read, since a node that has come further
// knows better. Before there is one, the initial voters are the members.
func (n *Node) configuration() link.Configuration {
	c := link.Configuration{Index: n.fsm.progress.value(), Servers: map[string]string{}, Voters: map[string]bool{}}
	for _, s := range n.servers() {
		c.Servers[string(s.ID)] = string(s.Address)
		if s.Suffrage == raft.Voter {
			c.Voters[string(s.ID)] = true
		}
	}
	if len(c.Servers) > 0 {
		return c
	}
	for _, id := range n.storage.Manifest.Get().InitialVoters {
		c.Servers[id], c.Voters[id] = "", true
	}
	return c
}

func sameConfiguration(a, b link.Configuration) bool {
	return b.Servers != nil && a.Index == b.Index && maps.Equal(a.Servers, b.Servers) && maps.Equal(a.Voters, b.Voters)
}

func sameRemoved(a, b store.RemovedNode) bool {
	return a.ID == b.ID && a.Excluded == b.Excluded && len(a.Certificates) == len(b.Certificates)
}

func removedOf(nodes []store.RemovedNode) link.Removed {
	r := link.Removed{Nodes: map[string]bool{}, Certificates: map[store.Fingerprint]bool{}}
	for _, node := range nodes {
		if node.Excluded {
			r.Nodes[node.ID] = true
		}
		for _, f := range node.Certificates {
			r.Certificates[f] = true
		}
	}
	return r
}

// announceData announces by gossip which cluster this node's data belongs to,
// once there is data.
func (n *Node) announceData(ctx context.Context) {
	tick := time.NewTicker(membershipInterval)
	defer tick.Stop()
	for told := n.storage.Manifest.Get().Dirty; !told; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		told = n.storage.Manifest.Get().Dirty && n.link.UpdateMember(func(*link.Member) {}) == nil
	}
}

// trustTimeout is how long after the leader's last message this node's log
// counts as up to date about the members.
const trustTimeout = 3 * time.Second

// inTouch reports whether this node leads, or has just heard from a leader.
func (n *Node) inTouch() bool {
	r := n.running.Load()
	return r != nil && (r.State() == raft.Leader || time.Since(r.LastContact()) < trustTimeout)
}

// memberReconciler keeps Raft's configuration up to date for a leader.
type memberReconciler struct {
	*Node
	logged map[string]string // by node: why it is not added
}

// reconcileMembers adds the nodes that gossip finds to the site, and updates
// their addresses, while this node leads.
func (n *Node) reconcileMembers(ctx context.Context) {
	t := memberReconciler{Node: n, logged: make(map[string]string)}
	tick := time.NewTicker(n.timeouts.dutyInterval)
	defer tick.Stop()
	for {
		for _, m := range n.link.Members() {
			t.reconcileMember(ctx, m)
		}
		for _, s := range n.servers() {
			t.updateAddress(s)
			t.recordCertificates(ctx, string(s.ID))
		}
		select {
		case <-tick.C:
		case <-n.gossipChanged:
		case <-ctx.Done():
			return
		}
	}
}

// reconcileMember adds a member that does not belong to the site yet.
func (t *memberReconciler) reconcileMember(ctx context.Context, m link.Member) {
	if m.ID != t.cfg.NodeID && !t.isServer(m.ID) {
		t.logOnce("a node is not taken into the site", m.ID, m.ClusterAddr, t.addNewNode(ctx, m))
	}
}

// updateAddress changes a node's address in Raft's configuration if it has
// moved.
func (t *memberReconciler) updateAddress(s raft.Server) {
	id := string(s.ID)
	if at := t.link.AddrOf(id); at != "" && at != string(s.Address) {
		t.logOnce("a node's new address is not taken", id, at, t.addServer(s.Suffrage, id, at))
	}
}

// recordCertificates records in the table the certificates with which a node
// has proved its identity, so that they are refused once it is removed.
func (t *memberReconciler) recordCertificates(ctx context.Context, id string) {
	node, ok := t.table.Node(id)
	if !ok || !t.table.RemovesNodes() {
		return
	}
	for _, f := range t.link.Certificates(id) {
		if slices.Contains(node.Certificates, f) {
			continue
		}
		_, err := t.propose(ctx, &storev1.Change{Kind: &storev1.Change_AddCertificate{
			AddCertificate: &storev1.AddCertificate{Node: id, Fingerprint: f[:]}}})
		t.logOnce("a node's certificate is not recorded", id, "", err)
	}
}

// logOnce logs why something is not done for a node, once; nil means that it
// is done.
func (t *memberReconciler) logOnce(what, node, at string, err error) {
	if err == nil {
		delete(t.logged, node)
		return
	}
	if why := err.Error(); t.logged[node] != why {
		t.logged[node] = why
		t.cfg.Logger.Warn(what, "node", node, "address", at, "error", err)
	}
}

// addNewNode makes a node without data a replica.
func (t *memberReconciler) addNewNode(ctx context.Context, m link.Member) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if m.MaxSchema < t.table.Schema() {
		return fmt.Errorf("it reads schemas up to %d, and the site's is %d: start a newer version of simpd there", m.MaxSchema, t.table.Schema())
	}
	if m.MinSchema > t.table.Schema() {
		return fmt.Errorf("it reads schemas from %d on, and the site's is %d: upgrade the site one release at a time", m.MinSchema, t.table.Schema())
	}
	p, err := t.peers.Probe(ctx, m.ID)
	if err != nil {
		return err
	}
	if p.HasState {
		return fmt.Errorf("it has data, but is not a node of this site: on that machine run simpd wipe, and start it again")
	}
	clusterID := t.storage.Manifest.Get().ClusterID
	if clusterID != "" && p.Founding == nil {
		return fmt.Errorf("its version of simpd can't be part of a site that a newer one has founded: start a newer version there")
	}
	if err := t.verifyLeadership(ctx); err != nil {
		return err
	}
	err = t.peers.Command(ctx, m.ID, &clusterv1.CommandRequest{Kind: &clusterv1.CommandRequest_Admit_{
		Admit: &clusterv1.CommandRequest_Admit{Founding: clusterID}}})
	if err != nil {
		return err
	}
	return t.addServer(raft.Nonvoter, m.ID, m.ClusterAddr)
}

// addServer adds a node, or its new address, to Raft's configuration.
func (t *memberReconciler) addServer(as raft.ServerSuffrage, id, at string) error {
	for _, s := range t.servers() {
		if string(s.Address) == at && string(s.ID) != id {
			return fmt.Errorf("node %s has its address: if that node is gone for good, simpctl node remove %s", s.ID, s.ID)
		}
	}
	change := t.raft.AddNonvoter
	if as == raft.Voter {
		change = t.raft.AddVoter
	}
	if err := change(raft.ServerID(id), raft.ServerAddress(at), 0, configTimeout).Error(); err != nil {
		return err
	}
	t.cfg.Logger.Info("a node of the site", "node", id, "address", at, "as", as)
	t.configChanged.notify()
	return nil
}

// RemoveNode removes a node from the site permanently. It may be called on
// any node. The removed node's data is useless: to come back it has to be
// wiped.
func (n *Node) RemoveNode(ctx context.Context, id string) error {
	leader := n.Leader()
	if leader == id && len(n.servers()) > 1 {
		var err error
		if leader, err = n.replaceLeader(ctx, id); err != nil {
			return err
		}
	}
	switch leader {
	case "":
		return unavailable("%w", errNoLeader)
	case n.cfg.NodeID:
		return n.removeMember(ctx, id)
	}
	return n.peers.Command(ctx, leader, &clusterv1.CommandRequest{Kind: &clusterv1.CommandRequest_RemoveNode_{
		RemoveNode: &clusterv1.CommandRequest_RemoveNode{Node: id}}})
}

// replaceLeader transfers leadership away from a node that is to be removed,
// if that is allowed. An error concerns the removal, of which nothing was
// done.
func (n *Node) replaceLeader(ctx context.Context, id string) (leader string, err error) {
	if err := n.checkRemoval(ctx, id); err != nil {
		return "", err
	}
	leader, err = n.TransferLeadership(ctx, "")
	return leader, removalError(id, err)
}

// removalError converts the error of a leadership transfer to one of the
// removal that it was for. The result of the transfer may be unknown, but
// nothing was removed.
func removalError(id string, err error) error {
	if err == nil || errors.Is(err, ErrRefused) {
		return err
	}
	return unavailable("%s leads, and can't be removed before another node does; repeat the removal: %v", id, err)
}

// removeMember excludes a node, and removes it from Raft's configuration and
// then from the table. It is excluded first, so that an interrupted removal
// leaves no node that may join by itself.
func (n *Node) removeMember(ctx context.Context, id string) error {
	if err := n.awaitLeadership(ctx); err != nil {
		return err
	}
	node, inTable := n.table.Node(id)
	switch {
	case id == n.cfg.NodeID:
		return fmt.Errorf("%w: %s is the node that leads", ErrRefused, id)
	case !inTable && !n.isServer(id) && !n.isExcluded(id):
		return fmt.Errorf("%w: there is no node %s", ErrRefused, id)
	}
	if err := n.checkRemoval(ctx, id); err != nil {
		return err
	}
	if err := n.excludeNode(ctx, id); err != nil {
		return err
	}
	if err := n.raft.RemoveServer(raft.ServerID(id), 0, configTimeout).Error(); err != nil {
		return unknown("taking %s out of Raft's configuration: %w", id, err)
	}
	n.configChanged.notify()
	if !inTable {
		return nil
	}
	if !node.Down {
		n.markDown(ctx, node)
	}
	if err := n.removeFromTable(ctx, id); err != nil {
		return unknown("%s is no longer part of the site, but still in its table; repeat the removal: %w", id, err)
	}
	return nil
}

// excludeNode excludes a removed node and all its known certificates from the
// site. That is not possible while older versions are part of the site.
func (n *Node) excludeNode(ctx context.Context, id string) error {
	if !n.table.RemovesNodes() {
		n.cfg.Logger.Warn("the removed node may ask to join again: the site's schema is too old to keep it out", "node", id, "schema", n.table.Schema())
		return nil
	}
	c := &storev1.ExcludeNode{Node: id}
	for _, f := range n.link.Certificates(id) {
		c.Fingerprint = append(c.Fingerprint, f[:])
	}
	return n.proposeOne(ctx, &storev1.Change{Kind: &storev1.Change_ExcludeNode{ExcludeNode: c}})
}

// isExcluded reports whether the table excludes an ID from the site.
func (n *Node) isExcluded(id string) bool {
	return slices.ContainsFunc(n.table.RemovedNodes(), func(r store.RemovedNode) bool { return r.ID == id && r.Excluded })
}

// AdmitNode allows a removed node to join again, with an empty data directory
// and another certificate. It may be called on any node. An error that wraps
// ErrNotRemoved means that no node with that ID was removed.
func (n *Node) AdmitNode(ctx context.Context, id string) error {
	return n.proposeOne(ctx, &storev1.Change{Kind: &storev1.Change_AdmitNode{AdmitNode: &storev1.AdmitNode{Node: id}}})
}

// proposeOne proposes one change and converts its refusal to an error.
func (n *Node) proposeOne(ctx context.Context, c *storev1.Change) error {
	results, err := n.propose(ctx, c)
	switch {
	case err != nil:
		return err
	case results[0].Refusal == store.NoNode:
		return fmt.Errorf("%w: %s", ErrNotRemoved, results[0].Detail)
	case results[0].Refusal != store.None:
		return fmt.Errorf("%w: %s", ErrRefused, results[0].Detail)
	}
	return nil
}

// removeFromTable removes a node from the table after its bindings were
// reaped.
func (n *Node) removeFromTable(ctx context.Context, id string) error {
	for {
		changed := n.nodesChanged.changed()
		results, err := n.propose(ctx, &storev1.Change{Kind: &storev1.Change_RemoveNode{RemoveNode: &storev1.RemoveNode{Node: id}}})
		if err != nil {
			return err
		}
		switch r := results[0]; r.Refusal {
		case store.None, store.NoNode:
			return nil
		case store.NodeInUse:
		default:
			return fmt.Errorf("%w: %s", ErrRefused, r.Detail)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return unavailable("the users of %s are not all reaped yet: %w", id, ctx.Err())
		}
	}
}
