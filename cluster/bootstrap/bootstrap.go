// Package bootstrap brings a node without data into a site: into a new one,
// which it forms with the nodes that expect as many as it does, or into one
// that exists. It chooses the cluster ID of a new site, and ends a node whose
// data has another one than the site that it finds.
package bootstrap

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/hashicorp/raft"

	"simpd/cluster/link"
	"simpd/cluster/peerrpc"
	"simpd/cluster/storage"
	clusterv1 "simpd/proto/simp/cluster/v1"
)

// Config configures a Bootstrap.
type Config struct {
	NodeID      string
	Incarnation uint64   // of this process
	Expect      int      // how many nodes form a new site
	Join        []string // where other nodes are looked for
	DataDir     string
	Manifest    *storage.Manifest
	Started     time.Time     // when this process began
	Interval    time.Duration // between two rounds of probes
	Link        Link
	Peers       Peers
	// Changed receives when gossip has reported something.
	Changed <-chan struct{}
	// Form gives Raft its first configuration, and Servers returns its newest.
	Form    func(raft.Configuration) error
	Servers func() []raft.Server
	// Leader returns the node that leads; "" if none is known.
	Leader func() string
	// OnAdmitted is called when this node may take part in Raft.
	OnAdmitted func()
	// Fatal ends the process.
	Fatal  func(error)
	Logger *slog.Logger
}

// Link reports what gossip and the connections know about other nodes.
type Link interface {
	Addr() string
	Members() []link.Member
	IsMember(node string) bool
	ProbeForeign(ctx context.Context) []*clusterv1.ProbeResponse
}

// Peers calls other nodes.
type Peers interface {
	Probe(ctx context.Context, node string) (*clusterv1.ProbeResponse, error)
	Command(ctx context.Context, node string, c *clusterv1.CommandRequest) error
}

// Bootstrap brings a node into a site, and ends one whose data belongs to
// another. Any goroutine may call its methods.
type Bootstrap struct {
	config    Config
	formation formationWatch
}

// New returns a Bootstrap that has not begun.
func New(c Config) *Bootstrap { return &Bootstrap{config: c} }

// Waits says what this node waits for; "" if that is not known yet, or it does
// not wait.
func (b *Bootstrap) Waits() string { return b.formation.reason() }

// Run brings a node without data into a site: a new one, which it forms
// with others, or an existing one, once its leader admits it.
func (b *Bootstrap) Run(ctx context.Context) {
	tick := time.NewTicker(b.config.Interval)
	defer tick.Stop()
	for !b.config.Manifest.Get().Dirty {
		round := b.probePeers(ctx)
		if err := b.checkDataLoss(round.answers); err != nil {
			b.config.Fatal(err)
			return
		}
		var failed error
		if len(round.unanswered) == 0 && !anyHasState(round.answers) {
			failed = b.formCluster(ctx, round.answers)
		}
		b.observe(round, failed)
		select {
		case <-tick.C:
		case <-b.config.Changed:
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
func (b *Bootstrap) probePeers(ctx context.Context) *probeRound {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	round := &probeRound{unanswered: map[string]error{}}
	for _, m := range b.config.Link.Members() {
		if m.ID == b.config.NodeID {
			continue
		}
		p, err := b.config.Peers.Probe(ctx, m.ID)
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
func (b *Bootstrap) checkDataLoss(probes []*clusterv1.ProbeResponse) error {
	if b.config.Manifest.Get().Admitted {
		return nil
	}
	addr, runs := b.anotherRuns(probes)
	if b.formation.isCopied(runs, time.Now()) {
		return fmt.Errorf("another process runs as node %s, at %s, and this one does not have its data: end one of the two; "+
			"each node needs an id, a certificate and a data directory of its own", b.config.NodeID, cmp.Or(addr, "an unknown address"))
	}
	for _, p := range probes {
		if p.HasState && slices.Contains(p.Server, b.config.NodeID) && !runs {
			return fmt.Errorf("the site has a node %s already, and this one does not have its data: "+
				"bring the data directory back, or simpctl node remove %s, simpctl node admit %s and give it a new certificate, or start this node with another --node-id", b.config.NodeID, b.config.NodeID, b.config.NodeID)
		}
	}
	return nil
}

// formCluster forms a new site, if it is this node's turn to start: it has
// the lowest ID of the expected nodes. Each of them accepts only one list, so
// that no two sites result.
func (b *Bootstrap) formCluster(ctx context.Context, others []*clusterv1.ProbeResponse) error {
	list := b.initialVoters()
	if len(list) == 0 || list[0] != b.config.NodeID {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := b.proposeInitialConfig(ctx, list, b.chooseClusterID(others)); err != nil {
		b.config.Logger.Info("the new site can't be formed yet", "nodes", list, "error", err)
		return err
	}
	c, err := b.raftConfiguration(list)
	if err == nil {
		err = b.config.Form(c)
	}
	if err != nil {
		b.config.Logger.Error("forming the new site", "error", err)
		return err
	}
	b.config.Logger.Info("a new site is formed", "nodes", list)
	return nil
}

// initialVoters returns the IDs of the nodes that form the new site, in
// order; none while there are too few.
func (b *Bootstrap) initialVoters() []string {
	if list := b.config.Manifest.Get().InitialVoters; len(list) > 0 {
		return list
	}
	expect := b.config.Expect
	if expect == 1 {
		if len(b.config.Join) > 0 {
			return nil // it is to find others, not to found a site beside theirs
		}
		return []string{b.config.NodeID}
	}
	var list []string
	for _, m := range b.config.Link.Members() {
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
func (b *Bootstrap) proposeInitialConfig(ctx context.Context, list []string, clusterID string) error {
	if err := b.acceptInitialConfig(list, clusterID); err != nil {
		return err
	}
	for _, id := range list[1:] {
		err := b.config.Peers.Command(ctx, id, &clusterv1.CommandRequest{Kind: &clusterv1.CommandRequest_Form_{
			Form: &clusterv1.CommandRequest_Form{Server: list, ClusterId: clusterID}}})
		if err != nil {
			return fmt.Errorf("asking %s: %w", id, err)
		}
	}
	return nil
}

// AcceptProposal accepts the list of the proposing node, which must be the
// first in it.
func (b *Bootstrap) AcceptProposal(from string, list []string, clusterID string) error {
	if len(list) == 0 || from != list[0] {
		return fmt.Errorf("%w: node %s is not the first of %v", peerrpc.ErrRefused, from, list)
	}
	return b.acceptInitialConfig(list, clusterID)
}

// acceptInitialConfig makes this node an initial voter with these others, and
// with no others. The cluster ID may change as long as nothing was written
// under the first one.
func (b *Bootstrap) acceptInitialConfig(list []string, clusterID string) error {
	id := b.config.Manifest.Get()
	switch {
	case slices.Equal(id.InitialVoters, list) && (id.ClusterID == clusterID || !id.Dirty):
	case !slices.Contains(list, b.config.NodeID):
		return fmt.Errorf("%w: node %s is not in the list %v", peerrpc.ErrRefused, b.config.NodeID, list)
	case id.Dirty || id.Admitted:
		return fmt.Errorf("%w: node %s is part of a site already", peerrpc.ErrRefused, b.config.NodeID)
	case len(id.InitialVoters) > 0:
		return fmt.Errorf("%w: node %s forms a site with %v", peerrpc.ErrRefused, b.config.NodeID, id.InitialVoters)
	}
	return b.markAdmitted(func(id *storage.Record) { id.InitialVoters, id.ClusterID = list, clusterID })
}

// AcceptJoin accepts the leader's word that this node, which has no data, is
// new to the site.
func (b *Bootstrap) AcceptJoin(leader, clusterID string) error {
	if b.config.Manifest.Get().Dirty {
		return fmt.Errorf("%w: node %s has data of a site already", peerrpc.ErrRefused, b.config.NodeID)
	}
	if !b.config.Link.IsMember(leader) {
		return fmt.Errorf("%w: other nodes say that %s is not part of their site", peerrpc.ErrRefused, leader)
	}
	b.config.Logger.Info("the site takes this node in", "leader", leader)
	return b.markAdmitted(func(id *storage.Record) { id.ClusterID = clusterID })
}

// markAdmitted records that this node may take part in Raft, and lets it.
func (b *Bootstrap) markAdmitted(also func(*storage.Record)) error {
	err := b.config.Manifest.Change(func(id *storage.Record) {
		id.Admitted = true
		also(id)
	})
	if err == nil {
		b.config.OnAdmitted()
	}
	return err
}

// raftConfiguration returns the initial voters as Raft's first configuration.
func (b *Bootstrap) raftConfiguration(list []string) (raft.Configuration, error) {
	addrs := map[string]string{b.config.NodeID: b.config.Link.Addr()}
	for _, m := range b.config.Link.Members() {
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
