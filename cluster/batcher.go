package cluster

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	"google.golang.org/protobuf/proto"

	"simpd/cluster/peerrpc"
	storev1 "simpd/proto/simp/store/v1"
	"simpd/store"
)

const (
	enqueueTimeout = time.Second
	transferLimit  = 30 * time.Second
)

// leaderBatcher is the leader's side of proposals: it combines the batches of
// all nodes, in the order of arrival, into entries of the log.
type leaderBatcher struct {
	apply    func(cmd []byte, timeout time.Duration) raft.ApplyFuture
	onCommit func(term, index uint64) // called for each committed entry
	leader   func() string            // returns the leader, for callers that reached the wrong node
	fatal    func(error)
	metrics  *Metrics

	mu           sync.Mutex
	term         uint64 // in which this node leads; 0: it does not
	newest       map[proposerID]uint64
	queue        []*submission
	queued       queueSize // size of queue
	openEntries  int       // that wait for their commit
	refusedSince time.Time // since when Raft refuses all because of a leadership transfer
	wg           sync.WaitGroup
}

// proposerID identifies a process that proposes.
type proposerID struct {
	node        string
	incarnation uint64
}

// submission is a batch with its caller.
type submission struct {
	batch *storev1.Batch
	size  int
	done  func(error)
}

// start accepts batches for a term in which this node leads.
func (in *leaderBatcher) start(term uint64) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.term, in.newest = term, make(map[proposerID]uint64)
}

// stop refuses batches; those that are still queued are certainly not done.
func (in *leaderBatcher) stop() {
	in.mu.Lock()
	queue := in.queue
	in.term, in.queue, in.queued = 0, nil, queueSize{}
	in.mu.Unlock()
	for _, o := range queue {
		o.done(&peerrpc.NotLeaderError{Leader: in.leader()})
	}
}

// submit accepts a batch and calls done exactly once, from any goroutine:
// with nil when the batch is in this node's table, or with the error. It
// never blocks.
//
// The batches of one process are accepted only with increasing numbers. So
// whoever sees one applied knows that no earlier one will follow.
func (in *leaderBatcher) submit(b *storev1.Batch, done func(error)) {
	if err := in.enqueue(&submission{batch: b, size: proto.Size(b), done: done}); err != nil {
		done(err)
		return
	}
	in.flush()
}

func (in *leaderBatcher) enqueue(o *submission) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	from := proposerID{o.batch.Origin, o.batch.Boot}
	switch {
	case in.term == 0 || o.batch.Term != in.term:
		return &peerrpc.NotLeaderError{Leader: in.leader()}
	case len(o.batch.Change) > maxChanges || o.size > maxBatchOctets:
		return fmt.Errorf("%w: a batch of %d changes and %d octets: at most %d and %d", ErrRefused, len(o.batch.Change), o.size, maxChanges, maxBatchOctets)
	case !in.queued.fits(len(o.batch.Change), o.size):
		return ErrBusy
	case o.batch.Number <= in.newest[from]:
		return unavailable("batch %d of node %s came after a later one", o.batch.Number, from.node)
	}
	in.newest[from] = o.batch.Number
	in.queue = append(in.queue, o)
	in.queued.add(len(o.batch.Change), o.size)
	return nil
}

// flush makes entries of the queue while few are open. Raft's own queue has
// room for all of them, so the entries stay in order and nothing blocks.
func (in *leaderBatcher) flush() {
	in.mu.Lock()
	defer in.mu.Unlock()
	for in.openEntries < maxOpen && len(in.queue) > 0 {
		offers, term := in.nextEntry(), in.term
		begun := time.Now()
		f := in.apply(encode(offers), enqueueTimeout)
		in.openEntries++
		in.wg.Go(func() { in.awaitCommit(offers, f, term, begun) })
	}
}

func encode(offers []*submission) []byte {
	e := &storev1.Entry{MinSchema: minSchema}
	for _, o := range offers {
		e.Batch = append(e.Batch, o.batch)
	}
	return store.EncodeEntry(e)
}

// nextEntry takes the batches of the next entry from the queue: at least one.
func (in *leaderBatcher) nextEntry() []*submission {
	n, changes, octets := 0, 0, 0
	for _, o := range in.queue {
		changes += len(o.batch.Change)
		octets += o.size
		if n > 0 && (changes > maxChanges || octets > maxOctets) {
			break
		}
		in.queued.remove(len(o.batch.Change), o.size)
		n++
	}
	offers := in.queue[:n:n]
	in.queue = in.queue[n:]
	return offers
}

// awaitCommit waits for an entry and reports its result.
func (in *leaderBatcher) awaitCommit(offers []*submission, f raft.ApplyFuture, term uint64, begun time.Time) {
	err := proposalError(f)
	if err == nil {
		in.onCommit(term, f.Index())
	}
	in.metrics.Commit.ObserveSince(begun)
	in.metrics.Entries.Add(1)
	for _, o := range offers {
		in.metrics.Written.Add(uint64(len(o.batch.Change)))
		o.done(err)
	}
	in.mu.Lock()
	in.openEntries--
	in.watchTransfer(err)
	in.mu.Unlock()
	in.flush()
}

// watchTransfer stops the process if Raft reports a leadership transfer for
// far too long, because it may do so forever.
func (in *leaderBatcher) watchTransfer(err error) {
	switch {
	case !errors.Is(err, raft.ErrLeadershipTransferInProgress):
		in.refusedSince = time.Time{}
	case in.refusedSince.IsZero():
		in.refusedSince = time.Now()
	case time.Since(in.refusedSince) > transferLimit:
		in.fatal(fmt.Errorf("changes have been refused for %v, for a transfer of leadership that does not end", transferLimit))
	}
}

// proposalError converts the result of an entry for its proposers.
func proposalError(f raft.ApplyFuture) error {
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
