package cluster

import (
	"fmt"
	"math"
	"time"

	"github.com/hashicorp/raft"

	"simpd/cluster/storage"
)

// newRaft starts Raft on a storage and a transport. Changes of leadership are
// sent to notify, which must be drained.
func newRaft(c *Config, f *fsm, d *storage.Storage, t *transport, notify chan<- bool) (*raft.Raft, error) {
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
	rc.CommitTimeout = 50 * time.Millisecond // for what commitBroadcaster does not tell: a call that is lost
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
