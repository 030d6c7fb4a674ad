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
	clusterv1 "simpd/proto/simp/cluster/v1"
	storev1 "simpd/proto/simp/store/v1"
	"simpd/store"
)

// configFor is how long a change of Raft's configuration may take.
const configFor = 5 * time.Second

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

func (n *Node) notLeader() error { return &link.NotLeaderError{Leader: n.Leader()} }

// membersEvery is how often the link is told who is of the site although
// nothing has said that it changed: Raft may take an entry back.
const membersEvery = time.Second

// publishMembers tells the link who is of the site, and who is kept out of it,
// whenever that changes, until ctx ends.
func (n *Node) publishMembers(ctx context.Context) {
	tick := time.NewTicker(membersEvery)
	defer tick.Stop()
	for {
		servers, nodes := n.configured.wait(), n.nodes.wait()
		n.publish()
		select {
		case <-servers:
		case <-nodes:
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (n *Node) publish() {
	n.publishing.Lock()
	defer n.publishing.Unlock()
	if n.runs.Load() == nil {
		return // it is told once Raft has read its log
	}
	if c := n.configuration(); !sameConfiguration(c, n.published) {
		n.published = c
		n.link.SetConfiguration(c)
	}
	if r := n.table.RemovedNodes(); !slices.EqualFunc(r, n.kept, sameRemoved) {
		n.kept = r
		n.link.SetRemoved(removedOf(r))
	}
}

// configuration returns Raft's newest configuration, with how far this node's
// log was applied before it was read: whoever has got further knows better.
// Before there is one, those who form the site with this node are its members.
func (n *Node) configuration() link.Configuration {
	c := link.Configuration{Index: n.fsm.log.now(), Servers: map[string]string{}, Voters: map[string]bool{}}
	for _, s := range n.servers() {
		c.Servers[string(s.ID)] = string(s.Address)
		if s.Suffrage == raft.Voter {
			c.Voters[string(s.ID)] = true
		}
	}
	if len(c.Servers) > 0 {
		return c
	}
	for _, id := range n.disk.marker.get().Form {
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

// announceData has gossip tell of which founding this node's data is, once there
// is data.
func (n *Node) announceData(ctx context.Context) {
	tick := time.NewTicker(membersEvery)
	defer tick.Stop()
	for told := n.disk.marker.get().Begun; !told; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		told = n.disk.marker.get().Begun && n.link.UpdateMember(func(*link.Member) {}) == nil
	}
}

// trustFor is how long after the leader's last word this node's log counts as
// up to date with who is of the site.
const trustFor = 3 * time.Second

// inTouch reports whether this node leads, or has followed a leader just now.
func (n *Node) inTouch() bool {
	r := n.runs.Load()
	return r != nil && (r.State() == raft.Leader || time.Since(r.LastContact()) < trustFor)
}

// tender looks after Raft's configuration for a leader.
type tender struct {
	*Node
	said map[string]string // by node: why it is not taken in
}

// tend takes the nodes that gossip finds into the site, and follows their
// addresses, for as long as this node leads.
func (n *Node) tend(ctx context.Context) {
	t := tender{Node: n, said: make(map[string]string)}
	tick := time.NewTicker(n.pace.duties)
	defer tick.Stop()
	for {
		for _, m := range n.link.Members() {
			t.meet(ctx, m)
		}
		for _, s := range n.servers() {
			t.follow(s)
			t.record(ctx, string(s.ID))
		}
		select {
		case <-tick.C:
		case <-n.members:
		case <-ctx.Done():
			return
		}
	}
}

// meet takes a member in that is not of the site yet.
func (t *tender) meet(ctx context.Context, m link.Member) {
	if m.ID != t.cfg.NodeID && !t.isServer(m.ID) {
		t.say("a node is not taken into the site", m.ID, m.ClusterAddr, t.takeIn(ctx, m))
	}
}

// follow puts a node's address into Raft's configuration once it is another.
func (t *tender) follow(s raft.Server) {
	id := string(s.ID)
	if at := t.link.AddrOf(id); at != "" && at != string(s.Address) {
		t.say("a node's new address is not taken", id, at, t.add(s.Suffrage, id, at))
	}
}

// record has the table know the certificates by which a node has proved who it
// is: once it is removed they are refused.
func (t *tender) record(ctx context.Context, id string) {
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
		t.say("a node's certificate is not recorded", id, "", err)
	}
}

// say logs why something is not done for a node, once; nil: it is done.
func (t *tender) say(what, node, at string, err error) {
	if err == nil {
		delete(t.said, node)
		return
	}
	if why := err.Error(); t.said[node] != why {
		t.said[node] = why
		t.cfg.Logger.Warn(what, "node", node, "address", at, "error", err)
	}
}

// takeIn makes a node that has no data a replica.
func (t *tender) takeIn(ctx context.Context, m link.Member) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if m.MaxSchema < t.table.Schema() {
		return fmt.Errorf("it reads schemas up to %d, and the site's is %d: start a newer version of simpd there", m.MaxSchema, t.table.Schema())
	}
	if m.MinSchema > t.table.Schema() {
		return fmt.Errorf("it reads schemas from %d on, and the site's is %d: upgrade the site one release at a time", m.MinSchema, t.table.Schema())
	}
	p, err := t.link.Probe(ctx, m.ID)
	if err != nil {
		return err
	}
	if p.HasState {
		return fmt.Errorf("it has data, but is not a node of this site: on that machine run simpd wipe, and start it again")
	}
	founding := t.disk.marker.get().Founding
	if founding != "" && p.Founding == nil {
		return fmt.Errorf("its version of simpd can't be part of a site that a newer one has founded: start a newer version there")
	}
	if err := t.verify(ctx); err != nil {
		return err
	}
	err = t.link.Command(ctx, m.ID, &clusterv1.CommandRequest{Kind: &clusterv1.CommandRequest_Admit_{
		Admit: &clusterv1.CommandRequest_Admit{Founding: founding}}})
	if err != nil {
		return err
	}
	return t.add(raft.Nonvoter, m.ID, m.ClusterAddr)
}

// add puts a node into Raft's configuration, or its new address.
func (t *tender) add(as raft.ServerSuffrage, id, at string) error {
	for _, s := range t.servers() {
		if string(s.Address) == at && string(s.ID) != id {
			return fmt.Errorf("node %s has its address: if that node is gone for good, simpctl node remove %s", s.ID, s.ID)
		}
	}
	change := t.raft.AddNonvoter
	if as == raft.Voter {
		change = t.raft.AddVoter
	}
	if err := change(raft.ServerID(id), raft.ServerAddress(at), 0, configFor).Error(); err != nil {
		return err
	}
	t.cfg.Logger.Info("a node of the site", "node", id, "address", at, "as", as)
	t.configured.ring()
	return nil
}

// RemoveNode takes a node out of the site for good. It may be called on any
// node. The node's data is of no more use: to come back it has to be wiped.
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
		return n.remove(ctx, id)
	}
	return n.link.Command(ctx, leader, &clusterv1.CommandRequest{Kind: &clusterv1.CommandRequest_RemoveNode_{
		RemoveNode: &clusterv1.CommandRequest_RemoveNode{Node: id}}})
}

// replaceLeader hands the leadership over from a node that is to be removed, if
// it may be. The error is one of the removal, of which nothing was done then.
func (n *Node) replaceLeader(ctx context.Context, id string) (leader string, err error) {
	if err := n.checkRemoval(ctx, id); err != nil {
		return "", err
	}
	leader, err = n.TransferLeadership(ctx, "")
	return leader, notRemoved(id, err)
}

// notRemoved returns the error of a transfer as one of the removal that it was
// for. What became of the transfer may be unknown; nothing was removed.
func notRemoved(id string, err error) error {
	if err == nil || errors.Is(err, ErrRefused) {
		return err
	}
	return unavailable("%s leads, and can't be removed before another node does; repeat the removal: %v", id, err)
}

// remove keeps a node out of the site, takes it out of Raft's configuration, and
// then out of the table. It is kept out first: a removal that stops half way
// leaves no node that may join by itself.
func (n *Node) remove(ctx context.Context, id string) error {
	if err := n.reigns(ctx); err != nil {
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
	if err := n.exclude(ctx, id); err != nil {
		return err
	}
	if err := n.raft.RemoveServer(raft.ServerID(id), 0, configFor).Error(); err != nil {
		return unknown("taking %s out of Raft's configuration: %w", id, err)
	}
	n.configured.ring()
	if !inTable {
		return nil
	}
	if !node.Down {
		n.end(ctx, node)
	}
	if err := n.forget(ctx, id); err != nil {
		return unknown("%s is no longer part of the site, but still in its table; repeat the removal: %w", id, err)
	}
	return nil
}

// exclude keeps a removed node out of the site, with all certificates that it
// is known by. A site that older versions are part of can't.
func (n *Node) exclude(ctx context.Context, id string) error {
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

// isExcluded reports whether the table keeps an id out of the site.
func (n *Node) isExcluded(id string) bool {
	return slices.ContainsFunc(n.table.RemovedNodes(), func(r store.RemovedNode) bool { return r.ID == id && r.Excluded })
}

// AdmitNode lets a node that was removed join again, with an empty data
// directory and another certificate. It may be called on any node. An error
// that wraps ErrNotRemoved says that no node of that id was removed.
func (n *Node) AdmitNode(ctx context.Context, id string) error {
	return n.proposeOne(ctx, &storev1.Change{Kind: &storev1.Change_AdmitNode{AdmitNode: &storev1.AdmitNode{Node: id}}})
}

// proposeOne proposes one change, whose refusal is an error.
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

// forget takes a node out of the table, once what it left is reaped.
func (n *Node) forget(ctx context.Context, id string) error {
	for {
		changed := n.nodes.wait()
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
