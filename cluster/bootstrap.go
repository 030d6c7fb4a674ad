package cluster

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/raft"

	"simpd/cluster/storage"
	clusterv1 "simpd/proto/simp/cluster/v1"
)

// bootstrap brings a node without data into a site: a new one, which it forms
// with others, or an existing one, once its leader admits it.
func (n *Node) bootstrap(ctx context.Context) {
	tick := time.NewTicker(n.timeouts.dutyInterval)
	defer tick.Stop()
	for !n.storage.Manifest.Get().Dirty {
		round := n.probePeers(ctx)
		if err := n.checkDataLoss(round.answers); err != nil {
			n.cfg.Fatal(err)
			return
		}
		var failed error
		if len(round.unanswered) == 0 && !anyHasState(round.answers) {
			failed = n.formCluster(ctx, round.answers)
		}
		n.observe(round, failed)
		select {
		case <-tick.C:
		case <-n.gossipChanged:
		case <-ctx.Done():
			return
		}
	}
}

// probeRound holds the answers of the other nodes to one round of probes, and the
// errors of those that did not answer.
type probeRound struct {
	answers    []*clusterv1.ProbeResponse
	unanswered map[string]error
}

// probePeers asks all members known to gossip what data they have.
func (n *Node) probePeers(ctx context.Context) *probeRound {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	round := &probeRound{unanswered: map[string]error{}}
	for _, m := range n.link.Members() {
		if m.ID == n.cfg.NodeID {
			continue
		}
		p, err := n.peers.Probe(ctx, m.ID)
		if err != nil {
			round.unanswered[m.ID] = err
			continue
		}
		round.answers = append(round.answers, p)
	}
	return round
}

func anyHasState(probes []*clusterv1.ProbeResponse) bool {
	return slices.ContainsFunc(probes, func(p *clusterv1.ProbeResponse) bool { return p.HasState })
}

// checkDataLoss finds that the site knows this node's id, though this node has no
// data: another life of it may have voted, and acknowledged, what this one
// has forgotten.
func (n *Node) checkDataLoss(probes []*clusterv1.ProbeResponse) error {
	if n.storage.Manifest.Get().Admitted {
		return nil
	}
	addr, runs := n.anotherRuns(probes)
	if n.formation.isCopied(runs, time.Now()) {
		return fmt.Errorf("another process runs as node %s, at %s, and this one does not have its data: end one of the two; "+
			"each node needs an id, a certificate and a data directory of its own", n.cfg.NodeID, cmp.Or(addr, "an unknown address"))
	}
	for _, p := range probes {
		if p.HasState && slices.Contains(p.Server, n.cfg.NodeID) && !runs {
			return fmt.Errorf("the site has a node %s already, and this one does not have its data: "+
				"bring the data directory back, or simpctl node remove %s, simpctl node admit %s and give it a new certificate, or start this node with another --node-id", n.cfg.NodeID, n.cfg.NodeID, n.cfg.NodeID)
		}
	}
	return nil
}

// formCluster forms a new site, if it is this node's turn to start: it has
// the lowest ID of the expected nodes. Each of them accepts only one list, so
// that no two sites result.
func (n *Node) formCluster(ctx context.Context, others []*clusterv1.ProbeResponse) error {
	list := n.initialVoters()
	if len(list) == 0 || list[0] != n.cfg.NodeID {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := n.proposeInitialConfig(ctx, list, n.chooseClusterID(others)); err != nil {
		n.cfg.Logger.Info("the new site can't be formed yet", "nodes", list, "error", err)
		return err
	}
	c, err := n.raftConfiguration(list)
	if err == nil {
		err = n.raft.BootstrapCluster(c).Error()
	}
	if err != nil {
		n.cfg.Logger.Error("forming the new site", "error", err)
		return err
	}
	n.cfg.Logger.Info("a new site is formed", "nodes", list)
	return nil
}

// initialVoters returns the IDs of the nodes that form the new site, in
// order; none while there are too few.
func (n *Node) initialVoters() []string {
	if list := n.storage.Manifest.Get().InitialVoters; len(list) > 0 {
		return list
	}
	expect := n.cfg.BootstrapExpect
	if expect == 1 {
		if len(n.cfg.Link.Gossip.Join) > 0 {
			return nil // it is to find others, not to found a site beside theirs
		}
		return []string{n.cfg.NodeID}
	}
	var list []string
	for _, m := range n.link.Members() {
		if m.BootstrapExpect == expect && expect > 0 && !m.Replica {
			list = append(list, m.ID)
		}
	}
	if len(list) < expect {
		return nil
	}
	slices.Sort(list)
	return list[:expect]
}

// proposeInitialConfig makes all initial voters accept the list, in its
// order, this node first.
func (n *Node) proposeInitialConfig(ctx context.Context, list []string, clusterID string) error {
	if err := n.acceptInitialConfig(list, clusterID); err != nil {
		return err
	}
	for _, id := range list[1:] {
		err := n.peers.Command(ctx, id, &clusterv1.CommandRequest{Kind: &clusterv1.CommandRequest_Form_{
			Form: &clusterv1.CommandRequest_Form{Server: list, Founding: clusterID}}})
		if err != nil {
			return fmt.Errorf("asking %s: %w", id, err)
		}
	}
	return nil
}

// acceptProposal accepts the list of the proposing node, which must be the
// first in it.
func (n *Node) acceptProposal(from string, list []string, clusterID string) error {
	if len(list) == 0 || from != list[0] {
		return fmt.Errorf("%w: node %s is not the first of %v", ErrRefused, from, list)
	}
	return n.acceptInitialConfig(list, clusterID)
}

// acceptInitialConfig makes this node an initial voter with these others, and
// with no others. The cluster ID may change as long as nothing was written
// under the first one.
func (n *Node) acceptInitialConfig(list []string, clusterID string) error {
	id := n.storage.Manifest.Get()
	switch {
	case slices.Equal(id.InitialVoters, list) && (id.ClusterID == clusterID || !id.Dirty):
	case !slices.Contains(list, n.cfg.NodeID):
		return fmt.Errorf("%w: node %s is not in the list %v", ErrRefused, n.cfg.NodeID, list)
	case id.Dirty || id.Admitted:
		return fmt.Errorf("%w: node %s is part of a site already", ErrRefused, n.cfg.NodeID)
	case len(id.InitialVoters) > 0:
		return fmt.Errorf("%w: node %s forms a site with %v", ErrRefused, n.cfg.NodeID, id.InitialVoters)
	}
	return n.markAdmitted(func(id *storage.Record) { id.InitialVoters, id.ClusterID = list, clusterID })
}

// acceptJoin accepts the leader's word that this node, which has no data, is
// new to the site.
func (n *Node) acceptJoin(leader, clusterID string) error {
	if n.storage.Manifest.Get().Dirty {
		return fmt.Errorf("%w: node %s has data of a site already", ErrRefused, n.cfg.NodeID)
	}
	if !n.link.IsMember(leader) {
		return fmt.Errorf("%w: other nodes say that %s is not part of their site", ErrRefused, leader)
	}
	n.cfg.Logger.Info("the site takes this node in", "leader", leader)
	return n.markAdmitted(func(id *storage.Record) { id.ClusterID = clusterID })
}

// markAdmitted records that this node may take part in Raft, and lets it.
func (n *Node) markAdmitted(also func(*storage.Record)) error {
	err := n.storage.Manifest.Change(func(id *storage.Record) {
		id.Admitted = true
		also(id)
	})
	if err == nil {
		n.publishMembership()
		n.transport.open()
	}
	return err
}

// raftConfiguration returns the initial voters as Raft's first configuration.
func (n *Node) raftConfiguration(list []string) (raft.Configuration, error) {
	addrs := map[string]string{n.cfg.NodeID: n.link.Addr()}
	for _, m := range n.link.Members() {
		addrs[m.ID] = m.ClusterAddr
	}
	var c raft.Configuration
	for _, id := range list {
		if addrs[id] == "" {
			return c, fmt.Errorf("gossip has lost node %s", id)
		}
		c.Servers = append(c.Servers, raft.Server{ID: raft.ServerID(id), Address: raft.ServerAddress(addrs[id])})
	}
	return c, nil
}

// probeResponse describes this node's data to another node. The cluster ID is
// only for nodes of the site, because whoever has it can speak Raft. Others
// receive what they need to see that it is not theirs.
func (n *Node) probeResponse(from string) *clusterv1.ProbeResponse {
	id := n.storage.Manifest.Get()
	p := &clusterv1.ProbeResponse{
		Node: n.cfg.NodeID, HasState: id.Dirty, BootstrapExpect: uint32(n.cfg.BootstrapExpect), Leader: n.Leader(),
		UptimeMs: uint64(time.Since(n.started).Milliseconds()) + 1,
	}
	if id.Dirty {
		p.FoundingSum = clusterIDSum(id.ClusterID)
	}
	p.RunningIncarnation, p.RunningAddr = n.link.RunningProcess(from)
	for _, s := range n.servers() {
		p.Server = append(p.Server, string(s.ID))
	}
	switch {
	case n.isServer(from) && n.link.IsMember(from):
		p.LastLog, p.History, p.Founding = n.raft.LastIndex(), n.table.History(), &id.ClusterID
	case !id.Dirty:
		p.Founding = new(string)
	}
	return p
}
