package cluster

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/hashicorp/raft"
)

// newRaft starts Raft on a disk and a transport. Leadership won and lost is
// told to notify, which must be drained.
func newRaft(c *Config, f *fsm, d *disk, t raft.Transport, notify chan<- bool) (*raft.Raft, error) {
	r, err := raft.NewRaft(raftConfig(c, notify), f, d.logs, d.stable, d.snaps, t)
	if err != nil && d.dir != "" {
		return nil, d.refuse(fmt.Errorf("raft: %w", err))
	}
	return r, err
}

// maxAppendEntries bounds the entries of one call to a follower: 3 MiB, unless
// a restore writes larger ones.
const maxAppendEntries = 64

func raftConfig(c *Config, notify chan<- bool) *raft.Config {
	pace := c.Timing.pace()
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

// servers are the nodes in Raft's newest configuration.
func (n *Node) servers() []raft.Server {
	return n.raft.GetConfiguration().Configuration().Servers
}

// leads says who leads and in which term; "" if nobody is known to. The two
// may be of different moments: a proposal for the wrong term does nothing.
func (n *Node) leads() (leader string, term uint64) {
	term = n.raft.CurrentTerm()
	_, id := n.raft.LeaderWithID()
	return string(id), term
}

// Leader is the node that leads, as far as this one knows; "" if there is none.
func (n *Node) Leader() string {
	leader, _ := n.leads()
	return leader
}

// watchLeader rings when another node leads, or none, until ctx ends.
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
			n.leaders.ring()
			n.proposer.wake.now()
		case <-ctx.Done():
			return
		}
	}
}

// whileLeads is a context that ends when another node leads, or none. It is
// for rounds of confirms, which wait for what it starts.
func (n *Node) whileLeads(ctx context.Context, leader string) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	changed := n.leaders.wait()
	if n.Leader() != leader {
		cancel()
	}
	n.confirms.wg.Go(func() {
		select {
		case <-changed:
			cancel()
		case <-ctx.Done():
		}
	})
	return ctx, cancel
}

// awaitLeader returns who leads, once somebody other than old does.
func (n *Node) awaitLeader(ctx context.Context, old string) (string, error) {
	for {
		changed := n.leaders.wait()
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
