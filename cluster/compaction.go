package cluster

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"simpd/protocol/wait"
)

// logBounds limits Raft's log, in memory and on disk. The log has at most
// trailing and pending octets, plus what is written during a snapshot; held
// instead of trailing while a node receives a snapshot.
type logBounds struct {
	entries  uint64 // kept behind a snapshot for nodes that lag
	trailing uint64 // their octets
	held     uint64 // octets kept for a node that receives a snapshot
	pending  uint64 // octets after the newest snapshot at which the next one is taken
}

// The bounds that apply. The shortest log that stays has more entries than a
// deposed leader can have uncommitted: trailing / proposals.maxBatchOctets > proposals.maxOpen.
const (
	trailingEntries = 32768
	trailingOctets  = 64 << 20
	heldOctets      = 192 << 20
	pendingOctets   = 64 << 20
)

func defaultBounds() logBounds {
	return logBounds{entries: trailingEntries, trailing: trailingOctets, held: heldOctets, pending: pendingOctets}
}

const (
	snapshotInterval = time.Minute // between two looks at the number of entries
	snapshotEntries  = 16384       // entries beyond a snapshot after which the next is taken
	snapshotRetry    = 10 * time.Second
	heldFor          = 30 * time.Second // after a node has taken a snapshot over
)

// compactLog takes snapshots, after which Raft drops the entries that they
// contain, until ctx ends. Raft's own compaction considers only the number of
// entries.
func (n *Node) compactLog(ctx context.Context) {
	size := n.storage.Size
	for {
		// By chance, as all nodes write the same log: they are not to be busy
		// with a snapshot at the same moment.
		limit := n.bounds.pending/2 + rand.N(n.bounds.pending/2)
		size.SetLimit(limit)
		select {
		case <-size.Exceeded():
			if _, octets := size.BeyondSnapshot(); octets <= limit {
				continue // it was told while the newest snapshot was written
			}
		case <-time.After(snapshotInterval + rand.N(snapshotInterval)):
			if entries, _ := size.BeyondSnapshot(); entries < snapshotEntries {
				continue
			}
		case <-ctx.Done():
			return
		}
		before := size.SnapshotIndex()
		err := n.takeSnapshot()
		if err != nil && ctx.Err() == nil {
			n.cfg.Logger.Warn("no snapshot could be taken: the log grows until one is", "octets", size.Total(), "error", err)
		}
		if size.SnapshotIndex() == before {
			wait.Sleep(ctx, snapshotRetry)
		}
	}
}

// takeSnapshot makes Raft take a snapshot and shorten the log.
func (n *Node) takeSnapshot() error {
	c := n.raft.ReloadableConfig()
	c.TrailingLogs = n.trailingLogs()
	if err := n.raft.ReloadConfig(c); err != nil {
		return err
	}
	err := n.raft.Snapshot().Error()
	if errors.Is(err, raft.ErrNothingNewToSnapshot) {
		return nil
	}
	return err
}

// trailingLogs returns the number of entries kept in the log behind a
// snapshot.
func (n *Node) trailingLogs() uint64 {
	stay := min(n.bounds.entries, n.storage.Size.Newest(n.bounds.trailing, 0))
	if from, ok := n.transport.snapshots.firstNeeded(); ok {
		stay = max(stay, n.storage.Size.Newest(n.bounds.held, from))
	}
	return stay
}

// snapshotTransfers tracks the nodes that receive a snapshot from this one.
// What was written since must stay in the log for them: if it were replaced
// by another snapshot, they would need that one next, and so on as long as
// somebody writes. Any goroutine may call its methods.
type snapshotTransfers struct {
	count atomic.Uint64 // snapshots whose sending has begun
	mu    sync.Mutex
	nodes map[raft.ServerID]*snapshotTransfer
}

type snapshotTransfer struct {
	last  uint64 // the newest entry that the node has
	open  int    // calls in progress
	ended time.Time
}

// begin records that a snapshot up to index is being sent to a node.
func (in *snapshotTransfers) begin(id raft.ServerID, index uint64) {
	in.mu.Lock()
	defer in.mu.Unlock()
	i := in.nodes[id]
	if i == nil {
		i = &snapshotTransfer{}
		if in.nodes == nil {
			in.nodes = make(map[raft.ServerID]*snapshotTransfer)
		}
		in.nodes[id] = i
	}
	i.last = index
	i.open++
	in.count.Add(1)
}

// end records that it has arrived, or that it failed; then the newest one is
// sent next.
func (in *snapshotTransfers) end(id raft.ServerID, err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	i := in.nodes[id]
	i.open--
	if err == nil {
		i.ended = time.Now()
	}
}

// advance records that a node has all entries up to index.
func (in *snapshotTransfers) advance(id raft.ServerID, index uint64) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if i := in.nodes[id]; i != nil {
		i.last = max(i.last, index)
	}
}

// firstNeeded returns the first entry that must be kept for such nodes; false
// if there are none. It is the newest that the node has, because Raft sends
// its term with the next.
func (in *snapshotTransfers) firstNeeded() (first uint64, ok bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for id, i := range in.nodes {
		if i.open == 0 && time.Since(i.ended) > heldFor {
			delete(in.nodes, id)
			continue
		}
		if !ok || i.last < first {
			first, ok = i.last, true
		}
	}
	return first, ok
}
