package cluster

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/hashicorp/raft"

	"simpd/cluster/storage"
)

// newRaft starts Raft on a storage and a transport. Changes of leadership are
// sent to notify, which must be drained.
func newRaft(c *Config, f *fsm, d *storage.Storage, t raft.Transport, notify chan<- bool) (*raft.Raft, error) {
	r, err := raft.NewRaft(raftConfig(c, notify), f, d.Logs, d.Stable, d.Snapshots, t)
	if err != nil && d.Dir != "" {
		return nil, d.UnusableError(fmt.Errorf("raft: %w", err))
	}
	return r, err
}

// maxAppendEntries limits the entries of one call to a follower: 3 MiB,
// unless a restore writes larger ones.
const maxAppendEntries = 64

func raftConfig(c *Config, notify chan<- bool) *raft.Config {
	pace := c.Timing.timeouts()
	rc := raft.DefaultConfig()
	rc.LocalID = raft.ServerID(c.NodeID)
	rc.Logger = newRaftLogger(c.Logger)
	rc.NotifyCh = notify
	rc.HeartbeatTimeout, rc.ElectionTimeout = pace.heartbeat, pace.heartbeat
	rc.LeaderLeaseTimeout = pace.lease
	rc.CommitTimeout = 50 * time.Millisecond // for what the announcer does not tell: a call that is lost
	rc.MaxAppendEntries = maxAppendEntries
	rc.BatchApplyCh = true
	rc.SnapshotThreshold = math.MaxUint64 // compactLog takes them, and says what stays
	rc.TrailingLogs = trailingEntries
	rc.ShutdownOnRemove = false
	rc.NoLegacyTelemetry = true
	return rc
}

// servers returns the nodes in Raft's newest configuration.
func (n *Node) servers() []raft.Server {
	return n.raft.GetConfiguration().Configuration().Servers
}

// leaderAndTerm returns the leader and the term; "" if no leader is known.
// The two may be of different moments, because a proposal for the wrong term
// does nothing.
func (n *Node) leaderAndTerm() (leader string, term uint64) {
	term = n.raft.CurrentTerm()
	_, id := n.raft.LeaderWithID()
	return string(id), term
}

// Leader returns the node that leads, as far as this one knows; "" if there
// is none.
func (n *Node) Leader() string {
	leader, _ := n.leaderAndTerm()
	return leader
}

// watchLeader notifies leaderChanged when another node leads, or none, until
// ctx ends.
func (n *Node) watchLeader(ctx context.Context) {
	told := make(chan raft.Observation, 16) // one that finds it full has rung already
	o := raft.NewObserver(told, false, func(o *raft.Observation) bool {
		_, ok := o.Data.(raft.LeaderObservation)
		return ok
	})
	n.raft.RegisterObserver(o)
	defer n.raft.DeregisterObserver(o)
	for {
		select {
		case <-told:
			n.leaderChanged.notify()
			n.proposer.wake.notify()
		case <-ctx.Done():
			return
		}
	}
}

// whileLeads returns a context that ends when another node leads, or none. It
// is for the rounds of readIndexer, which waits for its goroutine.
func (n *Node) whileLeads(ctx context.Context, leader string) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	changed := n.leaderChanged.changed()
	if n.Leader() != leader {
		cancel()
	}
	n.readIndexer.wg.Go(func() {
		select {
		case <-changed:
			cancel()
		case <-ctx.Done():
		}
	})
	return ctx, cancel
}

// awaitLeader returns the leader once a node other than old leads.
func (n *Node) awaitLeader(ctx context.Context, old string) (string, error) {
	for {
		changed := n.leaderChanged.changed()
		if leader := n.Leader(); leader != "" && leader != old {
			return leader, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return "", unavailable("waiting for a leader: %w", ctx.Err())
		}
	}
}
