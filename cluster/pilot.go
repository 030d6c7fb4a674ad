package cluster

import (
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
	autopilot "github.com/hashicorp/raft-autopilot"

	clusterv1 "simpd/proto/simp/cluster/v1"
)

const maxLag = 1000 // entries that a node may be behind, and yet count as well

// pilot decides who votes, for a leader. Autopilot watches how the nodes are
// and changes Raft's configuration; the pilot says which changes.
//
// It never removes a node: one that is away for an hour must find its place
// when it is back. Only a voter that has been dead for long is demoted, and
// only where a healthy replica takes its vote.
type pilot struct {
	*Node
	state *atomic.Pointer[autopilot.State]
}

// steer lets autopilot run until ctx ends.
func (n *Node) steer(ctx context.Context) {
	p := pilot{n, &n.piloted}
	a := autopilot.New(n.raft, p,
		autopilot.WithPromoter(p),
		autopilot.WithLogger(newRaftLogger(n.cfg.Logger)),
		autopilot.WithUpdateInterval(n.pace.watch),
		autopilot.WithReconcileInterval(2*n.pace.watch),
	)
	a.Start(ctx)
	<-ctx.Done()
	<-a.Stop()
	n.piloted.Store(nil)
}

// AutopilotConfig says when a node is well.
func (p pilot) AutopilotConfig() *autopilot.Config {
	return &autopilot.Config{
		LastContactThreshold:    3 * p.pace.watch,
		MaxTrailingLogs:         maxLag,
		ServerStabilizationTime: p.pace.settled,
	}
}

// NotifyState takes autopilot's view, for status and metrics.
func (p pilot) NotifyState(s *autopilot.State) { p.state.Store(s) }

// KnownServers are the nodes of Raft's configuration, as this node reaches them.
func (p pilot) KnownServers() map[raft.ServerID]*autopilot.Server {
	all := make(map[raft.ServerID]*autopilot.Server)
	for _, s := range p.servers() {
		id := string(s.ID)
		known := &autopilot.Server{
			ID: s.ID, Name: id, Address: s.Address, RaftVersion: int(raft.ProtocolVersionMax),
			IsLeader: id == p.cfg.NodeID, NodeStatus: autopilot.NodeAlive,
		}
		if !known.IsLeader && !p.link.Connectivity(id).Connected {
			known.NodeStatus = autopilot.NodeFailed
		}
		all[s.ID] = known
	}
	return all
}

// FetchServerStats asks the nodes how far they are.
func (p pilot) FetchServerStats(ctx context.Context, servers map[raft.ServerID]*autopilot.Server) map[raft.ServerID]*autopilot.ServerStats {
	var mu sync.Mutex
	all := make(map[raft.ServerID]*autopilot.ServerStats)
	var wg sync.WaitGroup
	for id := range servers {
		wg.Go(func() {
			s, err := p.statusOf(ctx, string(id))
			if err != nil {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			all[id] = &autopilot.ServerStats{
				LastContact: time.Duration(s.ContactMs) * time.Millisecond, LastTerm: s.Term, LastIndex: s.AppliedLog,
			}
		})
	}
	wg.Wait()
	return all
}

func (n *Node) statusOf(ctx context.Context, id string) (*clusterv1.StatusResponse, error) {
	if id == n.cfg.NodeID {
		return n.status(), nil
	}
	return n.link.Status(ctx, id)
}

// RemoveFailedServer is never asked for: no server is to be removed.
func (pilot) RemoveFailedServer(*autopilot.Server) {}

// FilterFailedServerRemovals lets no node be removed.
func (pilot) FilterFailedServerRemovals(*autopilot.Config, *autopilot.State, *autopilot.FailedServers) *autopilot.FailedServers {
	return &autopilot.FailedServers{}
}

// GetServerExt and GetStateExt add nothing to autopilot's state.
func (pilot) GetServerExt(*autopilot.Config, *autopilot.ServerState) any { return nil }

// GetStateExt adds nothing.
func (pilot) GetStateExt(*autopilot.Config, *autopilot.State) any { return nil }

// GetNodeTypes calls every node one that may vote; who does is decided below.
func (pilot) GetNodeTypes(_ *autopilot.Config, s *autopilot.State) map[raft.ServerID]autopilot.NodeType {
	types := make(map[raft.ServerID]autopilot.NodeType)
	for id := range s.Servers {
		types[id] = autopilot.NodeVoter
	}
	return types
}

// IsPotentialVoter reports whether a node of that type may vote.
func (pilot) IsPotentialVoter(t autopilot.NodeType) bool { return t == autopilot.NodeVoter }

// CalculatePromotionsAndDemotions gives a vote to one healthy replica where
// there are too few voters, or in place of a voter that is dead.
func (p pilot) CalculatePromotionsAndDemotions(c *autopilot.Config, s *autopilot.State) (changes autopilot.RaftChanges) {
	spares := p.spares(c, s)
	if len(spares) == 0 {
		return changes
	}
	if len(s.Voters) < p.maxVoters() {
		changes.Promotions = spares[:1]
	} else if dead := p.dead(s); len(dead) > 0 {
		changes.Promotions, changes.Demotions = spares[:1], dead[:1]
	}
	return changes
}

// spares are the replicas that could vote, in the order of their ids.
func (p pilot) spares(c *autopilot.Config, s *autopilot.State) (ids []raft.ServerID) {
	stable := s.ServerStabilizationTime(c)
	for _, m := range p.link.Members() {
		server := s.Servers[raft.ServerID(m.ID)]
		if server != nil && server.State == autopilot.RaftNonVoter && !m.Replica && !m.Draining &&
			server.Health.IsStable(time.Now(), stable) {
			ids = append(ids, server.Server.ID)
		}
	}
	return ids
}

// dead are the voters that have not been well for a long time.
func (p pilot) dead(s *autopilot.State) (ids []raft.ServerID) {
	for id, server := range s.Servers {
		if server.State == autopilot.RaftVoter && !server.Health.Healthy && time.Since(server.Health.StableSince) >= p.pace.dead {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b raft.ServerID) int { return strings.Compare(string(a), string(b)) })
	return ids
}

// maxVoters is how many nodes vote; all others are replicas.
func (n *Node) maxVoters() int {
	if n.cfg.BootstrapExpect == 5 {
		return 5
	}
	return 3
}
