package cluster

import (
	"fmt"
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

func raftConfig(c *Config, notify chan<- bool) *raft.Config {
	pace := c.Timing.pace()
	rc := raft.DefaultConfig()
	rc.LocalID = raft.ServerID(c.NodeID)
	rc.Logger = newRaftLogger(c.Logger)
	rc.NotifyCh = notify
	rc.HeartbeatTimeout, rc.ElectionTimeout = pace.heartbeat, pace.heartbeat
	rc.LeaderLeaseTimeout = pace.lease
	rc.CommitTimeout = 10 * time.Millisecond
	rc.MaxAppendEntries = maxChanges
	rc.BatchApplyCh = true
	rc.SnapshotInterval = time.Minute
	rc.SnapshotThreshold = 16384
	rc.TrailingLogs = 32768 // above any tail that a deposed leader may have
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
