package cluster

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	"google.golang.org/protobuf/proto"

	"simpd/cluster/link"
	storev1 "simpd/proto/simp/store/v1"
	"simpd/store"
)

const (
	enqueueTimeout = time.Second
	transferLimit  = 30 * time.Second
)

// intake is the leader's side of proposals: it merges the batches of all
// nodes, in the order they came, into entries of the log.
type intake struct {
	apply     func(cmd []byte, timeout time.Duration) raft.ApplyFuture
	committed func(term, index uint64) // told of each entry that is
	leader    func() string            // who leads, for those who ask the wrong node
	fatal     func(error)
	counts    *Measures

	mu      sync.Mutex
	term    uint64 // in which this node leads; 0: it doesn't
	newest  map[origin]uint64
	queue   []*offer
	waiting backlog   // in queue
	open    int       // entries that wait for their commit
	stuck   time.Time // since when Raft refuses all, for a transfer of leadership
	wg      sync.WaitGroup
}

// origin is a process that proposes.
type origin struct {
	node string
	boot uint64
}

// offer is a batch and who waits for it.
type offer struct {
	batch *storev1.Batch
	size  int
	done  func(error)
}

// begin opens the intake for a term in which this node leads.
func (in *intake) begin(term uint64) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.term, in.newest = term, make(map[origin]uint64)
}

// end closes it; what still waits is certainly not done.
func (in *intake) end() {
	in.mu.Lock()
	queue := in.queue
	in.term, in.queue, in.waiting = 0, nil, backlog{}
	in.mu.Unlock()
	for _, o := range queue {
		o.done(&link.NotLeaderError{Leader: in.leader()})
	}
}

// offer takes a batch and calls done exactly once, from any goroutine: with
// nil once the batch is in this node's table, or why not. It never blocks.
//
// The batches of one process are taken with growing numbers only. So whoever
// sees one applied knows that no earlier one is still to come.
func (in *intake) offer(b *storev1.Batch, done func(error)) {
	if err := in.take(&offer{batch: b, size: proto.Size(b), done: done}); err != nil {
		done(err)
		return
	}
	in.pump()
}

func (in *intake) take(o *offer) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	from := origin{o.batch.Origin, o.batch.Boot}
	switch {
	case in.term == 0 || o.batch.Term != in.term:
		return &link.NotLeaderError{Leader: in.leader()}
	case len(o.batch.Change) > maxChanges || o.size > maxBatchOctets:
		return fmt.Errorf("%w: a batch of %d changes and %d octets: at most %d and %d", ErrRefused, len(o.batch.Change), o.size, maxChanges, maxBatchOctets)
	case !in.waiting.fits(len(o.batch.Change), o.size):
		return ErrBusy
	case o.batch.Number <= in.newest[from]:
		return unavailable("batch %d of node %s came after a later one", o.batch.Number, from.node)
	}
	in.newest[from] = o.batch.Number
	in.queue = append(in.queue, o)
	in.waiting.add(len(o.batch.Change), o.size)
	return nil
}

// pump makes entries of what waits while few are open. Raft's own queue has
// room for all of them, so that the entries stay in order and nothing blocks.
func (in *intake) pump() {
	in.mu.Lock()
	defer in.mu.Unlock()
	for in.open < maxOpen && len(in.queue) > 0 {
		offers, term := in.gather(), in.term
		begun := time.Now()
		f := in.apply(encode(offers), enqueueTimeout)
		in.open++
		in.wg.Go(func() { in.commit(offers, f, term, begun) })
	}
}

func encode(offers []*offer) []byte {
	e := &storev1.Entry{MinSchema: minSchema}
	for _, o := range offers {
		e.Batch = append(e.Batch, o.batch)
	}
	return store.EncodeEntry(e)
}

// gather takes the batches of the next entry off the queue: at least one.
func (in *intake) gather() []*offer {
	n, changes, octets := 0, 0, 0
	for _, o := range in.queue {
		changes += len(o.batch.Change)
		octets += o.size
		if n > 0 && (changes > maxChanges || octets > maxOctets) {
			break
		}
		in.waiting.remove(len(o.batch.Change), o.size)
		n++
	}
	offers := in.queue[:n:n]
	in.queue = in.queue[n:]
	return offers
}

// commit waits for an entry and tells those who wait for it.
func (in *intake) commit(offers []*offer, f raft.ApplyFuture, term uint64, begun time.Time) {
	err := outcome(f)
	if err == nil {
		in.committed(term, f.Index())
	}
	in.counts.Commit.Since(begun)
	in.counts.Entries.Add(1)
	for _, o := range offers {
		in.counts.Written.Add(uint64(len(o.batch.Change)))
		o.done(err)
	}
	in.mu.Lock()
	in.open--
	in.watchTransfer(err)
	in.mu.Unlock()
	in.pump()
}

// watchTransfer ends the process if Raft says for far too long that leadership
// is being transferred: it may then say so for ever.
func (in *intake) watchTransfer(err error) {
	switch {
	case !errors.Is(err, raft.ErrLeadershipTransferInProgress):
		in.stuck = time.Time{}
	case in.stuck.IsZero():
		in.stuck = time.Now()
	case time.Since(in.stuck) > transferLimit:
		in.fatal(fmt.Errorf("changes have been refused for %v, for a transfer of leadership that does not end", transferLimit))
	}
}

// outcome is what became of an entry, as those who proposed see it.
func outcome(f raft.ApplyFuture) error {
	err := f.Error()
	switch {
	case err == nil:
		err, _ = f.Response().(error)
		return err
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrEnqueueTimeout),
		errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return unavailable("raft: %w", err)
	}
	return unknown("raft: %w", err)
}
