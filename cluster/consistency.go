package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	clusterv1 "simpd/proto/simp/cluster/v1"
	storev1 "simpd/proto/simp/store/v1"
	"simpd/protocol/wait"
	"simpd/store"
)

// All nodes hash their tables at the same places of the log. One whose hash
// is not the majority's has gone wrong, by a fault of its memory, its disk or
// its program: it serves nobody until it has taken over another node's table.
const (
	checkInterval = 10 * time.Second // while something changes
	checkPatience = 5 * time.Second  // for slower nodes to have hashed theirs
	copyTimeout   = 2 * time.Minute
	copyChunk     = 64 << 10
)

// consistencyChecker hashes this node's table. All nodes hash their tables at
// the same log index. A node whose hash differs from the majority's has been
// corrupted, by its memory, its disk or its program: it serves nobody until
// it has copied another node's table.
type consistencyChecker struct {
	wanted  wait.Signal
	isWrong atomic.Bool
	repairs atomic.Uint64 // how often another node's table was copied

	mu     sync.Mutex
	view   *store.View // to be hashed, as it was after entry log; nil: none
	log    uint64
	newest *clusterv1.TableDigest
}

// requestHash requests the hash of the table after Raft's entry log. It is
// computed concurrently; of several requests only the newest counts.
func (d *consistencyChecker) requestHash(log uint64, view store.View) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.log, d.view = log, &view
	d.wanted.Notify()
}

// hashRequested computes the requested hash; nil if there is none.
func (d *consistencyChecker) hashRequested() *clusterv1.TableDigest {
	d.mu.Lock()
	log, view := d.log, d.view
	d.view = nil
	d.mu.Unlock()
	if view == nil {
		return nil
	}
	sum := view.Digest()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.newest = &clusterv1.TableDigest{Log: log, Sum: sum[:]}
	return d.newest
}

func (d *consistencyChecker) get() *clusterv1.TableDigest {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.newest
}

// scheduleChecks makes all nodes hash their tables at intervals while this
// node leads. Without changes it does nothing.
func (n *Node) scheduleChecks(ctx context.Context) {
	var last uint64
	for number := uint64(1); ctx.Err() == nil; number++ {
		wait.Sleep(ctx, checkInterval)
		if n.table.Index() == last {
			continue
		}
		results, err := n.propose(ctx, &storev1.Change{Kind: &storev1.Change_Digest{Digest: &storev1.Digest{Number: number}}})
		if err == nil {
			last = results[0].Index
		}
	}
}

// runChecks hashes this node's table on request and compares it with the
// others'.
func (n *Node) runChecks(ctx context.Context) {
	for {
		select {
		case <-n.consistency.wanted:
		case <-ctx.Done():
			return
		}
		mine := n.consistency.hashRequested()
		if mine == nil {
			continue
		}
		if healthy := n.disagreeingMajority(ctx, mine); len(healthy) > 0 {
			n.repair(ctx, healthy)
		}
	}
}

// disagreeingMajority returns the nodes that agree on another hash than this
// one's, if they are a majority of the site.
func (n *Node) disagreeingMajority(ctx context.Context, mine *clusterv1.TableDigest) []string {
	ctx, cancel := context.WithTimeout(ctx, checkPatience)
	defer cancel()
	servers := n.servers()
	for {
		agree, behind := map[string][]string{}, 0
		for _, s := range servers {
			if string(s.ID) == n.cfg.NodeID {
				continue
			}
			status, err := n.statusOf(ctx, string(s.ID))
			switch theirs := status.GetDigest(); {
			case err != nil || theirs.GetLog() < mine.Log:
				behind++
			case theirs.Log == mine.Log:
				agree[string(theirs.Sum)] = append(agree[string(theirs.Sum)], string(s.ID))
			}
		}
		for sum, nodes := range agree {
			if sum == string(mine.Sum) {
				continue
			}
			n.cfg.Logger.Error("tables differ", "entry", mine.Log, "from", nodes)
			if len(nodes) > len(servers)/2 {
				return nodes
			}
		}
		if behind == 0 || ctx.Err() != nil {
			return nil
		}
		wait.Sleep(ctx, time.Second)
	}
}

// repair stops serving and copies the table of one of the healthy nodes.
func (n *Node) repair(ctx context.Context, healthy []string) {
	n.consistency.isWrong.Store(true)
	defer n.consistency.isWrong.Store(false)
	n.cfg.Logger.Error("this node's table is not what the majority has: it serves no clients until it has copied theirs", "healthy", healthy)
	if n.leadership.isEstablished() {
		if err := n.transferAway(ctx, ""); err != nil {
			n.cfg.Logger.Error("the leadership is not handed over", "error", err)
		}
	}
	for i := 0; ctx.Err() == nil; i++ {
		from := healthy[i%len(healthy)]
		err := n.fsm.replaceTable(func(log uint64, w io.Writer) (uint64, error) {
			ctx, cancel := context.WithTimeout(ctx, copyTimeout)
			defer cancel()
			return n.peers.Copy(ctx, from, log, w)
		})
		if err == nil {
			n.consistency.repairs.Add(1)
			n.cfg.Logger.Warn("this node's table is replaced by a copy of another's", "from", from)
			n.persistRepair(ctx)
			return
		}
		n.cfg.Logger.Error("no copy of the table", "from", from, "error", err)
		wait.Sleep(ctx, time.Second)
	}
}

// persistRepair writes the repaired table to disk, since the data there may
// be wrong as well.
func (n *Node) persistRepair(ctx context.Context) {
	for ctx.Err() == nil {
		err := n.raft.Snapshot().Error()
		if err == nil {
			return
		}
		n.cfg.Logger.Warn("no snapshot of the healed table yet", "error", err)
		wait.Sleep(ctx, time.Second)
	}
}

var errOwnTableWrong = errors.New("this node's own table is wrong")

// writeTable writes the table once it contains Raft's entry log, in pieces of
// at most 64 KiB. Each piece names the newest entry in the copy.
func (n *Node) writeTable(ctx context.Context, log uint64, write func(newest uint64, octets []byte) error) error {
	if n.consistency.isWrong.Load() {
		return errOwnTableWrong
	}
	if err := n.fsm.progress.Await(ctx, log); err != nil {
		return err
	}
	snapshot, newest := n.fsm.snapshotWithIndex()
	_, err := snapshot.WriteTo(chunkWriter(func(octets []byte) error { return write(newest, octets) }))
	return err
}

// chunkWriter divides what is written to it into chunks that fit into a call.
type chunkWriter func(octets []byte) error

func (p chunkWriter) Write(octets []byte) (int, error) {
	for rest := octets; len(rest) > 0; {
		piece := rest[:min(len(rest), copyChunk)]
		if err := p(piece); err != nil {
			return 0, err
		}
		rest = rest[len(piece):]
	}
	return len(octets), nil
}

// replaceTable replaces the table with one that fetch writes, which contains
// at least what this one does. No entry is applied meanwhile; those already
// in the copy are not applied again.
func (f *fsm) replaceTable(fetch func(log uint64, w io.Writer) (newest uint64, err error)) error {
	f.applyMu.Lock()
	defer f.applyMu.Unlock()
	at := f.progress.Value()
	var octets bytes.Buffer
	newest, err := fetch(at, &octets)
	if err != nil {
		return err
	}
	if newest < at {
		return fmt.Errorf("the copy ends with entry %d, and this node's table with %d", newest, at)
	}
	if err := f.table.Restore(&octets); err != nil {
		return err
	}
	f.skipThrough = newest
	f.onRestored()
	f.nodesChanged.Notify()
	f.progress.Advance(newest)
	return nil
}
