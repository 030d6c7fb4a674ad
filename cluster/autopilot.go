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

// autopilotDelegate decides for a leader which nodes vote. Autopilot monitors
// the nodes and changes Raft's configuration; the delegate chooses the
// changes.
//
// It never removes a node, since a node that is away for an hour must find
// its place when it returns. Only a voter that has been dead for long is
// demoted, and only if a healthy replica takes its vote.
type autopilotDelegate struct {
	*Node
	state *atomic.Pointer[autopilot.State]
}

// runAutopilot runs autopilot until ctx ends.
func (n *Node) runAutopilot(ctx context.Context) {
	p := autopilotDelegate{n, &n.autopilotState}
	a := autopilot.New(n.raft, p,
		autopilot.WithPromoter(p),
		autopilot.WithLogger(newRaftLogger(n.cfg.Logger)),
		autopilot.WithUpdateInterval(n.timeouts.healthInterval),
		autopilot.WithReconcileInterval(2*n.timeouts.healthInterval),
	)
	a.Start(ctx)
	<-ctx.Done()
	<-a.Stop()
	n.autopilotState.Store(nil)
}

// AutopilotConfig returns when a node is healthy.
func (p autopilotDelegate) AutopilotConfig() *autopilot.Config {
	return &autopilot.Config{
		LastContactThreshold:    3 * p.timeouts.healthInterval,
		MaxTrailingLogs:         maxLag,
		ServerStabilizationTime: p.timeouts.stableAfter,
	}
}

// NotifyState stores autopilot's view for status and metrics.
func (p autopilotDelegate) NotifyState(s *autopilot.State) { p.state.Store(s) }

// KnownServers returns the nodes of Raft's configuration, as this node
// reaches them.
func (p autopilotDelegate) KnownServers() map[raft.ServerID]*autopilot.Server {
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

// FetchServerStats asks the nodes for their progress.
func (p autopilotDelegate) FetchServerStats(ctx context.Context, servers map[raft.ServerID]*autopilot.Server) map[raft.ServerID]*autopilot.ServerStats {
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
		return n.statusResponse(), nil
	}
	return n.peers.Status(ctx, id)
}

// RemoveFailedServer is never called, because no server is to be removed.
func (autopilotDelegate) RemoveFailedServer(*autopilot.Server) {}

// FilterFailedServerRemovals allows no removal.
func (autopilotDelegate) FilterFailedServerRemovals(*autopilot.Config, *autopilot.State, *autopilot.FailedServers) *autopilot.FailedServers {
	return &autopilot.FailedServers{}
}

// GetServerExt and GetStateExt add nothing to autopilot's state.
func (autopilotDelegate) GetServerExt(*autopilot.Config, *autopilot.ServerState) any { return nil }

// GetStateExt adds nothing.
func (autopilotDelegate) GetStateExt(*autopilot.Config, *autopilot.State) any { return nil }

// GetNodeTypes makes every node a potential voter;
// CalculatePromotionsAndDemotions decides.
func (autopilotDelegate) GetNodeTypes(_ *autopilot.Config, s *autopilot.State) map[raft.ServerID]autopilot.NodeType {
	types := make(map[raft.ServerID]autopilot.NodeType)
	for id := range s.Servers {
		types[id] = autopilot.NodeVoter
	}
	return types
}

// IsPotentialVoter reports whether a node of that type may vote.
func (autopilotDelegate) IsPotentialVoter(t autopilot.NodeType) bool { return t == autopilot.NodeVoter }

// CalculatePromotionsAndDemotions gives a vote to one healthy replica if
// there are too few voters, or in place of a dead voter.
func (p autopilotDelegate) CalculatePromotionsAndDemotions(c *autopilot.Config, s *autopilot.State) (changes autopilot.RaftChanges) {
	spares := p.promotable(c, s)
	if len(spares) == 0 {
		return changes
	}
	if len(s.Voters) < p.maxVoters() {
		changes.Promotions = spares[:1]
	} else if dead := p.deadVoters(s); len(dead) > 0 {
		changes.Promotions, changes.Demotions = spares[:1], dead[:1]
	}
	return changes
}

// promotable returns the replicas that could vote, sorted by ID.
func (p autopilotDelegate) promotable(c *autopilot.Config, s *autopilot.State) (ids []raft.ServerID) {
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

// deadVoters returns the voters that have been unhealthy for a long time.
func (p autopilotDelegate) deadVoters(s *autopilot.State) (ids []raft.ServerID) {
	for id, server := range s.Servers {
		if server.State == autopilot.RaftVoter && !server.Health.Healthy && time.Since(server.Health.StableSince) >= p.timeouts.deadAfter {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b raft.ServerID) int { return strings.Compare(string(a), string(b)) })
	return ids
}

// maxVoters returns how many nodes vote; the others are replicas.
func (n *Node) maxVoters() int {
	if n.cfg.BootstrapExpect == 5 {
		return 5
	}
	return 3
}
