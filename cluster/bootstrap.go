package cluster

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/raft"

	clusterv1 "simpd/proto/simp/cluster/v1"
)

// arrive brings a node without data into a site: into a new one, that it forms
// with others, or into the one that is there, once its leader admits it.
func (n *Node) arrive(ctx context.Context) {
	tick := time.NewTicker(n.pace.duties)
	defer tick.Stop()
	for !n.disk.marker.get().Begun {
		round := n.probeOthers(ctx)
		if err := n.lostData(round.answers); err != nil {
			n.cfg.Fatal(err)
			return
		}
		var failed error
		if len(round.unanswered) == 0 && !inSite(round.answers) {
			failed = n.form(ctx, round.answers)
		}
		n.observe(round, failed)
		select {
		case <-tick.C:
		case <-n.members:
		case <-ctx.Done():
			return
		}
	}
}

// probeRound is what the other nodes have, as they said, and why some did not.
type probeRound struct {
	answers    []*clusterv1.ProbeResponse
	unanswered map[string]error
}

// probeOthers asks all members that gossip knows what they have.
func (n *Node) probeOthers(ctx context.Context) *probeRound {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	round := &probeRound{unanswered: map[string]error{}}
	for _, m := range n.link.Members() {
		if m.ID == n.cfg.NodeID {
			continue
		}
		p, err := n.link.Probe(ctx, m.ID)
		if err != nil {
			round.unanswered[m.ID] = err
			continue
		}
		round.answers = append(round.answers, p)
	}
	return round
}

func inSite(probes []*clusterv1.ProbeResponse) bool {
	return slices.ContainsFunc(probes, func(p *clusterv1.ProbeResponse) bool { return p.HasState })
}

// lostData finds that the site knows this node's id, though this node has no
// data: another life of it may have voted, and acknowledged, what this one
// has forgotten.
func (n *Node) lostData(probes []*clusterv1.ProbeResponse) error {
	if n.disk.marker.get().Admitted {
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

// form forms a new site, if it is this node's to begin: it has the lowest id
// of as many as are expected. Each of these agrees to one list only, so that
// no two sites come of it. The error says why it could not.
func (n *Node) form(ctx context.Context, others []*clusterv1.ProbeResponse) error {
	list := n.founders()
	if len(list) == 0 || list[0] != n.cfg.NodeID {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := n.agree(ctx, list, n.foundingFor(others)); err != nil {
		n.cfg.Logger.Info("the new site can't be formed yet", "nodes", list, "error", err)
		return err
	}
	c, err := n.configurationOf(list)
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

// founders are the ids of the nodes that form the new site, in order; none
// while there are too few.
func (n *Node) founders() []string {
	if list := n.disk.marker.get().Form; len(list) > 0 {
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

// agree has all founders agree to the list, in its order, itself first.
func (n *Node) agree(ctx context.Context, list []string, founding string) error {
	if err := n.promise(list, founding); err != nil {
		return err
	}
	for _, id := range list[1:] {
		err := n.link.Command(ctx, id, &clusterv1.CommandRequest{Kind: &clusterv1.CommandRequest_Form_{
			Form: &clusterv1.CommandRequest_Form{Server: list, Founding: founding}}})
		if err != nil {
			return fmt.Errorf("asking %s: %w", id, err)
		}
	}
	return nil
}

// promiseTo is promise for the node that asks, which is to be the first of the list.
func (n *Node) promiseTo(from string, list []string, founding string) error {
	if len(list) == 0 || from != list[0] {
		return fmt.Errorf("%w: node %s is not the first of %v", ErrRefused, from, list)
	}
	return n.promise(list, founding)
}

// promise has this node be a founder with these others, and with no others.
// The word may be another as long as nothing was begun under the first.
func (n *Node) promise(list []string, founding string) error {
	id := n.disk.marker.get()
	switch {
	case slices.Equal(id.Form, list) && (id.Founding == founding || !id.Begun):
	case !slices.Contains(list, n.cfg.NodeID):
		return fmt.Errorf("%w: node %s is not in the list %v", ErrRefused, n.cfg.NodeID, list)
	case id.Begun || id.Admitted:
		return fmt.Errorf("%w: node %s is part of a site already", ErrRefused, n.cfg.NodeID)
	case len(id.Form) > 0:
		return fmt.Errorf("%w: node %s forms a site with %v", ErrRefused, n.cfg.NodeID, id.Form)
	}
	return n.admit(func(id *identity) { id.Form, id.Founding = list, founding })
}

// beAdmitted takes the leader's word that this node, which has no data, is new
// to the site.
func (n *Node) beAdmitted(leader, founding string) error {
	if n.disk.marker.get().Begun {
		return fmt.Errorf("%w: node %s has data of a site already", ErrRefused, n.cfg.NodeID)
	}
	if !n.link.IsMember(leader) {
		return fmt.Errorf("%w: other nodes say that %s is not part of their site", ErrRefused, leader)
	}
	n.cfg.Logger.Info("the site takes this node in", "leader", leader)
	return n.admit(func(id *identity) { id.Founding = founding })
}

// admit notes that this node may take part in Raft, and lets it.
func (n *Node) admit(also func(*identity)) error {
	err := n.disk.marker.change(func(id *identity) {
		id.Admitted = true
		also(id)
	})
	if err == nil {
		n.publish()
		n.gate.open()
	}
	return err
}

// configurationOf are the founders as Raft's first configuration.
func (n *Node) configurationOf(list []string) (raft.Configuration, error) {
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

// probe is what this node has, as it tells another one. The founding's word is
// for the nodes of the site alone: who bears it speaks Raft. Others are told
// what they need to see that it is not theirs.
func (n *Node) probe(from string) *clusterv1.ProbeResponse {
	id := n.disk.marker.get()
	p := &clusterv1.ProbeResponse{
		Node: n.cfg.NodeID, HasState: id.Begun, BootstrapExpect: uint32(n.cfg.BootstrapExpect), Leader: n.Leader(),
		UptimeMs: uint64(time.Since(n.started).Milliseconds()) + 1,
	}
	if id.Begun {
		p.FoundingSum = foundingSum(id.Founding)
	}
	p.RunningIncarnation, p.RunningAddr = n.link.RunningProcess(from)
	for _, s := range n.servers() {
		p.Server = append(p.Server, string(s.ID))
	}
	switch {
	case n.isServer(from) && n.link.IsMember(from):
		p.LastLog, p.History, p.Founding = n.raft.LastIndex(), n.table.History(), &id.Founding
	case !id.Begun:
		p.Founding = new(string)
	}
	return p
}
