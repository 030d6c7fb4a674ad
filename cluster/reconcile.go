package cluster

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/raft"

	"simpd/cluster/link"
	clusterv1 "simpd/proto/simp/cluster/v1"
	storev1 "simpd/proto/simp/store/v1"
)

// configTimeout limits the time that a change of Raft's configuration takes.
const configTimeout = 5 * time.Second

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
	if clusterID != "" && p.ClusterId == nil {
		return fmt.Errorf("its version of simpd can't be part of a site that a newer one has founded: start a newer version there")
	}
	if err := t.leadership.verify(ctx); err != nil {
		return err
	}
	err = t.peers.Command(ctx, m.ID, &clusterv1.CommandRequest{Kind: &clusterv1.CommandRequest_Admit_{
		Admit: &clusterv1.CommandRequest_Admit{ClusterId: clusterID}}})
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
	t.configChanged.Notify()
	return nil
}
