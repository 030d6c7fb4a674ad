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
	"simpd/store"
)

// All nodes hash their tables at the same places of the log. One whose hash
// is not the majority's has gone wrong, by a fault of its memory, its disk or
// its program: it serves nobody until it has taken over another node's table.
const (
	digestEvery   = 10 * time.Second // while something changes
	digestPatient = 5 * time.Second  // for slower nodes to have hashed theirs
	copyTimeout   = 2 * time.Minute
	copyPiece     = 64 << 10
)

// digests is what a node knows of its table's hashes.
type digests struct {
	wanted poke
	wrong  atomic.Bool
	healed atomic.Uint64 // how often another node's table was taken over

	mu     sync.Mutex
	view   *store.View // what is to be hashed, as it was after entry log; nil: nothing
	log    uint64
	newest *clusterv1.TableDigest
}

// want has the table hashed as the entry left it that Raft calls log, beside
// what comes after it. Of several only the newest counts.
func (d *digests) want(log uint64, view store.View) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.log, d.view = log, &view
	d.wanted.now()
}

// take hashes what is wanted; nil if that was done already.
func (d *digests) take() *clusterv1.TableDigest {
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

func (d *digests) get() *clusterv1.TableDigest {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.newest
}

// askForDigests has all nodes hash their tables, for as long as this node
// leads. A site in which nothing changes is left in peace.
func (n *Node) askForDigests(ctx context.Context) {
	var last uint64
	for number := uint64(1); ctx.Err() == nil; number++ {
		pause(ctx, digestEvery)
		if n.table.Index() == last {
			continue
		}
		results, err := n.propose(ctx, &storev1.Change{Kind: &storev1.Change_Digest{Digest: &storev1.Digest{Number: number}}})
		if err == nil {
			last = results[0].Index
		}
	}
}

// compareDigests hashes this node's table and holds it against the others'.
func (n *Node) compareDigests(ctx context.Context) {
	for {
		select {
		case <-n.digests.wanted:
		case <-ctx.Done():
			return
		}
		mine := n.digests.take()
		if mine == nil {
			continue
		}
		if healthy := n.outvoted(ctx, mine); len(healthy) > 0 {
			n.heal(ctx, healthy)
		}
	}
}

// outvoted returns the nodes that agree on another hash than this one's, if
// they are the majority of the site.
func (n *Node) outvoted(ctx context.Context, mine *clusterv1.TableDigest) []string {
	ctx, cancel := context.WithTimeout(ctx, digestPatient)
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
		pause(ctx, time.Second)
	}
}

// heal stops serving and takes over the table of one of the healthy nodes.
func (n *Node) heal(ctx context.Context, healthy []string) {
	n.digests.wrong.Store(true)
	defer n.digests.wrong.Store(false)
	n.cfg.Logger.Error("this node's table is not what the majority has: it serves nobody until it has taken over theirs", "healthy", healthy)
	if n.leadsNow() {
		if err := n.handOver(ctx, ""); err != nil {
			n.cfg.Logger.Error("the leadership is not handed over", "error", err)
		}
	}
	for i := 0; ctx.Err() == nil; i++ {
		from := healthy[i%len(healthy)]
		err := n.fsm.replace(func(log uint64, w io.Writer) (uint64, error) {
			ctx, cancel := context.WithTimeout(ctx, copyTimeout)
			defer cancel()
			return n.link.Copy(ctx, from, log, w)
		})
		if err == nil {
			n.digests.healed.Add(1)
			n.cfg.Logger.Warn("this node's table is replaced by a copy of another's", "from", from)
			n.keepHealed(ctx)
			return
		}
		n.cfg.Logger.Error("no copy of the table", "from", from, "error", err)
		pause(ctx, time.Second)
	}
}

// keepHealed puts the healed table on the disk: what lies there may be wrong
// as well.
func (n *Node) keepHealed(ctx context.Context) {
	for ctx.Err() == nil {
		err := n.raft.Snapshot().Error()
		if err == nil {
			return
		}
		n.cfg.Logger.Warn("no snapshot of the healed table yet", "error", err)
		pause(ctx, time.Second)
	}
}

// leadsNow reports whether this node is the leader, as far as it knows.
func (n *Node) leadsNow() bool { return n.reign.Load() != nil }

var errOwnTableWrong = errors.New("this node's own table is wrong")

// Copy writes the table once it holds entry log of Raft's log.
func (in inbound) Copy(ctx context.Context, log uint64, write func(newest uint64, octets []byte) error) error {
	n := in.n
	if n.digests.wrong.Load() {
		return errOwnTableWrong
	}
	if err := n.fsm.log.wait(ctx, log); err != nil {
		return err
	}
	snapshot, newest := n.fsm.copy()
	_, err := snapshot.WriteTo(pieces(func(octets []byte) error { return write(newest, octets) }))
	return err
}

// pieces is a writer that hands on what it is given in pieces that a call can
// carry.
type pieces func(octets []byte) error

func (p pieces) Write(octets []byte) (int, error) {
	for rest := octets; len(rest) > 0; {
		piece := rest[:min(len(rest), copyPiece)]
		if err := p(piece); err != nil {
			return 0, err
		}
		rest = rest[len(piece):]
	}
	return len(octets), nil
}

// replace takes over a table that fetch writes, which holds at least what
// this one does. No entry is applied meanwhile; those that are in the copy
// already are not applied again.
func (f *fsm) replace(fetch func(log uint64, w io.Writer) (newest uint64, err error)) error {
	f.whole.Lock()
	defer f.whole.Unlock()
	at := f.log.now()
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
	f.skip = newest
	f.restored()
	f.nodesChanged.ring()
	f.log.reach(newest)
	return nil
}
