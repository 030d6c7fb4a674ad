package cluster

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"simpd/cluster/link"
	clusterv1 "simpd/proto/simp/cluster/v1"
)

// The roles of a node.
const (
	RoleLeader    = "leader"
	RoleFollower  = "follower"
	RoleCandidate = "candidate"
	RoleReplica   = "replica" // has the log, but no vote
	RoleNone      = "none"    // not part of the site yet, or any more
)

// NodeStatus describes a node.
type NodeStatus struct {
	ID   string
	Role string // of the Role… constants; as Raft's configuration says if the node does not answer
	// Answers reports whether the node itself answered; otherwise what follows
	// Member is unknown.
	Answers bool
	Member  link.Member // what it tells by gossip, zero if gossip misses it
	Addr    string      // where other nodes reach it
	Version string
	Leader  string // who leads, in its eyes
	Term    uint64
	// AppliedLog is Raft's index of the newest entry in its table, Lag by
	// how many entries that is behind the leader's newest as the node that
	// was asked for the status knows it.
	AppliedLog, Lag uint64
	Index           uint64 // of its table
	History         string
	Epoch           uint64
	Sessions        uint64
	Connections     uint64
	Draining        bool
	Unready         string // why it is not ready; empty if it is
	Contact         time.Duration
	Started         time.Time
	Incarnation     uint64
	MinSchema       uint32
	MaxSchema       uint32
	Certificates    CertificateStatus
	UnsetAddresses  []string             // settings without which it does not know where clients reach it
	Settings        []*clusterv1.Setting // that must be the same on all nodes
	Warnings        []string             // what does not work as it is configured
	ConsoleAddress  string               // a URL; empty: it serves no console
	Outcomes        []*clusterv1.OutcomeCount
	Digest          *clusterv1.TableDigest // the newest; nil: none yet
}

// Ready returns nil once the node is part of a site with a leader, in contact
// with it, caught up and registered; otherwise why not, for people.
func (n *Node) Ready() error {
	switch {
	case n.consistency.isWrong.Load():
		return errors.New("this node's table is wrong: it is taking over another node's")
	case !n.isServer(n.cfg.NodeID) && n.table.History() != "":
		return errors.New("this node is no longer part of the site")
	case !n.isServer(n.cfg.NodeID):
		return errors.New(cmp.Or(n.bootstrap.Waits(), "waiting to form a site, or to be taken into one"))
	case n.QuorumLostFor() > 0:
		return fmt.Errorf("cut off from the majority for %v", n.QuorumLostFor().Round(100*time.Millisecond))
	case n.Leader() == "":
		return errors.New("the site has no leader at present")
	case n.Epoch() == 0:
		return errors.New("catching up with the site")
	}
	return nil
}

// Status asks all nodes, for at most a second, and returns them sorted by ID.
func (n *Node) Status(ctx context.Context) []NodeStatus {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	all := n.knownNodes()
	var wg sync.WaitGroup
	for i := range all {
		wg.Go(func() { n.fillStatus(ctx, &all[i]) })
	}
	wg.Wait()
	return all
}

// knownNodes returns all nodes that Raft, gossip or the table knows.
func (n *Node) knownNodes() []NodeStatus {
	nodes := map[string]*NodeStatus{}
	get := func(id string) *NodeStatus {
		if nodes[id] == nil {
			nodes[id] = &NodeStatus{ID: id, Role: RoleNone}
		}
		return nodes[id]
	}
	for _, s := range n.servers() {
		get(string(s.ID)).Role, get(string(s.ID)).Addr = suffrageRole(s.Suffrage), string(s.Address)
	}
	for _, m := range n.link.Members() {
		s := get(m.ID)
		s.Member, s.Addr, s.Version = m, m.ClusterAddr, m.Version
	}
	for id, s := range nodes {
		s.Addr = cmp.Or(n.link.AddrOf(id), s.Addr)
	}
	for _, t := range n.table.Nodes() {
		s := get(t.ID)
		s.Epoch, s.Draining = t.Epoch, t.Draining
	}
	all := make([]NodeStatus, 0, len(nodes))
	for _, s := range nodes {
		all = append(all, *s)
	}
	slices.SortFunc(all, func(a, b NodeStatus) int { return strings.Compare(a.ID, b.ID) })
	return all
}

func suffrageRole(s raft.ServerSuffrage) string {
	if s == raft.Voter {
		return RoleFollower
	}
	return RoleReplica
}

// fillStatus fills in a node's own answer.
func (n *Node) fillStatus(ctx context.Context, s *NodeStatus) {
	r, err := n.statusOf(ctx, s.ID)
	if err != nil {
		s.Unready = "it does not answer"
		return
	}
	s.Answers, s.Role, s.Version, s.Leader, s.Term = true, r.Role, r.Version, r.Leader, r.Term
	s.AppliedLog, s.Index, s.History, s.Epoch = r.AppliedLog, r.Index, r.History, r.Epoch
	s.Sessions, s.Connections, s.Draining, s.Unready = r.Sessions, r.Connections, r.Draining, r.Unready
	s.MinSchema, s.MaxSchema, s.Incarnation = r.MinSchema, r.MaxSchema, r.Incarnation
	s.UnsetAddresses, s.Settings, s.Warnings = r.UnsetAddress, r.Setting, r.Warning
	s.ConsoleAddress, s.Outcomes, s.Digest = r.ConsoleAddress, r.Outcome, r.Digest
	s.Certificates = CertificateStatus{r.Expiring, r.UncoveredDomain, r.ForeignCertificate}
	s.Contact, s.Started = time.Duration(r.ContactMs)*time.Millisecond, startTime(r, time.Now())
	if newest := n.raft.CommitIndex(); newest > r.AppliedLog {
		s.Lag = newest - r.AppliedLog
	}
}

// startTime returns when a node's process began, by this node's clock: two nodes
// are compared by it, and a node may have started with a wrong clock. Versions
// that do not tell their uptime are believed.
func startTime(r *clusterv1.StatusResponse, now time.Time) time.Time {
	if r.UptimeMs == 0 {
		return time.UnixMilli(r.StartedMs)
	}
	return now.Add(-time.Duration(r.UptimeMs) * time.Millisecond)
}

// statusResponse returns this node's status.
func (n *Node) statusResponse() *clusterv1.StatusResponse {
	leader, term := n.leadership.leaderAndTerm()
	position := n.table.Position()
	s := &clusterv1.StatusResponse{
		Node: n.cfg.NodeID, Version: n.cfg.Version, Role: n.role(), Leader: leader, Term: term,
		AppliedLog: n.fsm.progress.Value(), Index: position.Index, History: position.History, Epoch: n.Epoch(),
		MinSchema: minSchema, MaxSchema: n.table.Newest(), Incarnation: n.incarnation, StartedMs: n.started.UnixMilli(),
		UptimeMs:  uint64(time.Since(n.started).Milliseconds()) + 1,
		ContactMs: uint64(n.QuorumLostFor().Milliseconds()), Digest: n.consistency.get(),
	}
	if !n.isServer(n.cfg.NodeID) {
		s.ContactMs = 0 // there is no majority that it is cut off from
	}
	if node, ok := n.table.Node(n.cfg.NodeID); ok {
		s.Draining = node.Draining
	}
	if n.cfg.Load != nil {
		s.Sessions, s.Connections = n.cfg.Load()
	}
	s.Setting, s.ConsoleAddress = n.settings(), n.cfg.ConsoleAddress
	if n.cfg.Outcomes != nil {
		s.Outcome = n.cfg.Outcomes()
	}
	if n.cfg.UnsetAddresses != nil {
		s.UnsetAddress = n.cfg.UnsetAddresses()
	}
	if n.cfg.Warnings != nil {
		s.Warning = n.cfg.Warnings()
	}
	if n.cfg.Certificates != nil {
		c := n.cfg.Certificates()
		s.Expiring, s.UncoveredDomain, s.ForeignCertificate = c.Expiring, c.UncoveredDomains, c.ForeignCertificates
	}
	if err := n.Ready(); err != nil {
		s.Unready = err.Error()
	}
	return s
}

func (n *Node) role() string {
	switch n.raft.State() {
	case raft.Leader:
		return RoleLeader
	case raft.Candidate:
		return RoleCandidate
	}
	s, ok := n.server(n.cfg.NodeID)
	if !ok {
		return RoleNone
	}
	return suffrageRole(s.Suffrage)
}

// Stats are numbers for the node's metrics. They are Raft's indexes unless
// stated otherwise.
type Stats struct {
	Term, CommitLog, AppliedLog, LastLog uint64
	Leads                                bool
	Voters, Replicas                     int
	Index                                uint64        // of the table
	Epoch                                uint64        // 0: none
	Contact                              time.Duration // 0: in touch
	Waiting                              int           // changes that wait for the leader
	LogOctets                            uint64        // of the entries of this node's log
	SnapshotsSent                        uint64        // to nodes that had fallen behind
	// Digest has the first six octets of the table's newest hash, after entry
	// DigestLog; Healed is how often another node's table was taken over.
	Digest, DigestLog, Healed uint64 // the first six octets of the table's newest hash, after entry DigestLog
	// Tolerance is how many more voters the site can lose, according to the
	// leader; -1 on other nodes.
	Tolerance int
}

// Stats returns the present numbers.
func (n *Node) Stats() Stats {
	s := Stats{
		Term: n.raft.CurrentTerm(), CommitLog: n.raft.CommitIndex(), AppliedLog: n.fsm.progress.Value(), LastLog: n.raft.LastIndex(),
		Leads: n.leadership.isElected(), Index: n.table.Index(), Epoch: n.Epoch(), Contact: n.QuorumLostFor(), Waiting: n.proposer.Queued(), LogOctets: n.storage.Size.Total(), SnapshotsSent: n.transport.snapshots.count.Load(), Tolerance: -1,
	}
	if piloted := n.autopilotState.Load(); piloted != nil {
		s.Tolerance = piloted.FailureTolerance
	}
	s.Healed = n.consistency.repairs.Load()
	if d := n.consistency.get(); d != nil {
		s.DigestLog, s.Digest = d.Log, binary.BigEndian.Uint64(d.Sum)>>16
	}
	for _, server := range n.servers() {
		if server.Suffrage == raft.Voter {
			s.Voters++
		} else {
			s.Replicas++
		}
	}
	return s
}
