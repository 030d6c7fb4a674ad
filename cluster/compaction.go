package cluster

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// logBounds bounds Raft's log, in memory and on disk. The log has at most
// trailing and pending octets, with what is written while a snapshot is; held
// in the place of trailing while a node takes a snapshot over.
type logBounds struct {
	entries  uint64 // that stay behind a snapshot for nodes that lag
	trailing uint64 // their octets
	held     uint64 // octets that stay for a node that takes a snapshot over
	pending  uint64 // octets beyond the newest snapshot after which the next is taken
}

// The bounds that apply. The shortest log that stays has more entries than a
// deposed leader can have uncommitted: trailing / maxBatchOctets > maxOpen.
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

// compactLog takes snapshots, and with each has Raft drop the entries that it
// replaces, until ctx ends. Raft's own way goes by the number of entries alone.
func (n *Node) compactLog(ctx context.Context) {
	size := n.disk.size
	for {
		// By chance, as all nodes write the same log: they are not to be busy
		// with a snapshot at the same moment.
		limit := n.bounds.pending/2 + rand.N(n.bounds.pending/2)
		size.setLimit(limit)
		select {
		case <-size.exceeded:
			if _, octets := size.beyondSnapshot(); octets <= limit {
				continue // it was told while the newest snapshot was written
			}
		case <-time.After(snapshotInterval + rand.N(snapshotInterval)):
			if entries, _ := size.beyondSnapshot(); entries < snapshotEntries {
				continue
			}
		case <-ctx.Done():
			return
		}
		before := size.snapshotIndex()
		err := n.takeSnapshot()
		if err != nil && ctx.Err() == nil {
			n.cfg.Logger.Warn("no snapshot could be taken: the log grows until one is", "octets", size.total(), "error", err)
		}
		if size.snapshotIndex() == before {
			pause(ctx, snapshotRetry)
		}
	}
}

// takeSnapshot has Raft take a snapshot and shorten the log.
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

// trailingLogs is the number of entries that stay in the log behind a snapshot.
func (n *Node) trailingLogs() uint64 {
	stay := min(n.bounds.entries, n.disk.size.newest(n.bounds.trailing, 0))
	if from, ok := n.announcer.installs.needed(); ok {
		stay = max(stay, n.disk.size.newest(n.bounds.held, from))
	}
	return stay
}

// installs tracks the nodes that take a snapshot over from this one. What was
// written since has to stay in the log for them: were it replaced by another
// snapshot, they would need that one next, and so on for as long as somebody
// writes. Methods may be called from any goroutine.
type installs struct {
	count atomic.Uint64 // snapshots that were begun to be sent
	mu    sync.Mutex
	nodes map[raft.ServerID]*install
}

type install struct {
	last  uint64 // the newest entry that the node has
	open  int    // calls under way
	ended time.Time
}

// begin notes that a snapshot up to index is on its way to a node.
func (in *installs) begin(id raft.ServerID, index uint64) {
	in.mu.Lock()
	defer in.mu.Unlock()
	i := in.nodes[id]
	if i == nil {
		i = &install{}
		if in.nodes == nil {
			in.nodes = make(map[raft.ServerID]*install)
		}
		in.nodes[id] = i
	}
	i.last = index
	i.open++
	in.count.Add(1)
}

// end notes that it has arrived, or why not: then the newest is sent next.
func (in *installs) end(id raft.ServerID, err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	i := in.nodes[id]
	i.open--
	if err == nil {
		i.ended = time.Now()
	}
}

// advance notes that a node has all entries up to index.
func (in *installs) advance(id raft.ServerID, index uint64) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if i := in.nodes[id]; i != nil {
		i.last = max(i.last, index)
	}
}

// needed returns the first entry that has to stay for such nodes; false if there
// are none. It is the newest that the node has: Raft sends its term along with
// the next.
func (in *installs) needed() (first uint64, ok bool) {
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
