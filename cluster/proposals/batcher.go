package proposals

import (
	"context"
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

// Batcher is the leader's side of proposals: it combines the batches of all
// nodes, in the order of arrival, into entries of the log. Any goroutine may
// call its methods.
type Batcher struct {
	config BatcherConfig

	mu           sync.Mutex
	term         uint64 // in which this node leads; 0: it does not
	newest       map[ProcessID]uint64
	queue        queue[*submission]
	openEntries  int       // that wait for their commit
	refusedSince time.Time // since when Raft refuses all because of a leadership transfer
	wg           sync.WaitGroup
}

// BatcherConfig connects a Batcher to the rest of its node.
type BatcherConfig struct {
	// Apply hands an entry to Raft.
	Apply func(cmd []byte, timeout time.Duration) raft.ApplyFuture
	// OnCommit is called for each committed entry.
	OnCommit func(term, index uint64)
	// OnEntry is called when it is known what became of an entry with so many
	// changes.
	OnEntry func(changes int, begun time.Time)
	// Leader returns the leader, for callers that reached the wrong node.
	Leader func() string
	// Fatal ends the process.
	Fatal func(error)
}

// NewBatcher returns a Batcher that accepts nothing before Start.
func NewBatcher(c BatcherConfig) *Batcher { return &Batcher{config: c} }

// ProcessID identifies a process that proposes.
type ProcessID struct {
	Node        string
	Incarnation uint64
}

// submission is a batch with its caller.
type submission struct {
	batch *storev1.Batch
	size  int
	done  func(error)
}

func (o *submission) extent() (changes, octets int) { return len(o.batch.Change), o.size }

// Start accepts batches for a term in which this node leads.
func (in *Batcher) Start(term uint64) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.term, in.newest = term, make(map[ProcessID]uint64)
}

// Stop refuses batches; those that are still queued are certainly not done.
func (in *Batcher) Stop() {
	in.mu.Lock()
	queue := in.queue.clear()
	in.term = 0
	in.mu.Unlock()
	for _, o := range queue {
		o.done(&peerrpc.NotLeaderError{Leader: in.config.Leader()})
	}
}

// Submit accepts a batch and calls done exactly once, from any goroutine:
// with nil when the batch is in this node's table, or with the error. It
// never blocks.
//
// The batches of one process are accepted only with increasing numbers. So
// whoever sees one applied knows that no earlier one will follow.
func (in *Batcher) Submit(b *storev1.Batch, done func(error)) {
	if err := in.enqueue(&submission{batch: b, size: proto.Size(b), done: done}); err != nil {
		done(err)
		return
	}
	in.flush()
}

// SubmitAll submits the batches of another node, and returns nil when all are
// in this node's table.
func (in *Batcher) SubmitAll(ctx context.Context, from string, batches []*storev1.Batch) error {
	answers := make(chan error, len(batches))
	for _, b := range batches {
		if b.Origin != from {
			answers <- peerrpc.ErrRefused
			continue
		}
		in.Submit(b, func(err error) { answers <- err })
	}
	return awaitAll(ctx, answers, len(batches))
}

// awaitAll combines the results of several batches. If only some succeeded,
// the result is unknown.
func awaitAll(ctx context.Context, answers <-chan error, n int) error {
	var failed error
	good := 0
	for range n {
		select {
		case err := <-answers:
			failed = moreUncertain(failed, err)
			if err == nil {
				good++
			}
		case <-ctx.Done():
			return peerrpc.Unknown("waiting for the log: %w", ctx.Err())
		}
	}
	if failed != nil && good > 0 {
		return peerrpc.Unknown("%d of %d batches: %w", n-good, n, failed)
	}
	return failed
}

func (in *Batcher) enqueue(o *submission) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	from := ProcessID{o.batch.Origin, o.batch.Incarnation}
	switch {
	case in.term == 0 || o.batch.Term != in.term:
		return &peerrpc.NotLeaderError{Leader: in.config.Leader()}
	case len(o.batch.Change) > maxChanges || o.size > maxBatchOctets:
		return fmt.Errorf("%w: a batch of %d changes and %d octets: at most %d and %d", peerrpc.ErrRefused, len(o.batch.Change), o.size, maxChanges, maxBatchOctets)
	case !in.queue.fits(len(o.batch.Change), o.size):
		return ErrBusy
	case o.batch.Number <= in.newest[from]:
		return peerrpc.Unavailable("batch %d of node %s came after a later one", o.batch.Number, from.Node)
	}
	in.newest[from] = o.batch.Number
	in.queue.add(o)
	return nil
}

// flush makes entries of the queue while few are open. Raft's own queue has
// room for all of them, so the entries stay in order and nothing blocks.
func (in *Batcher) flush() {
	in.mu.Lock()
	defer in.mu.Unlock()
	for in.openEntries < maxOpen && !in.queue.isEmpty() {
		offers, term := in.queue.takeBatch(), in.term
		begun := time.Now()
		f := in.config.Apply(encode(offers), enqueueTimeout)
		in.openEntries++
		in.wg.Go(func() { in.awaitCommit(offers, f, term, begun) })
	}
}

func encode(offers []*submission) []byte {
	e := &storev1.Entry{MinSchema: store.OldestSchema}
	for _, o := range offers {
		e.Batch = append(e.Batch, o.batch)
	}
	return store.EncodeEntry(e)
}

// awaitCommit waits for an entry and reports its result.
func (in *Batcher) awaitCommit(offers []*submission, f raft.ApplyFuture, term uint64, begun time.Time) {
	err := CommitError(f)
	if err == nil {
		in.config.OnCommit(term, f.Index())
	}
	changes := 0
	for _, o := range offers {
		changes += len(o.batch.Change)
	}
	in.config.OnEntry(changes, begun)
	for _, o := range offers {
		o.done(err)
	}
	in.mu.Lock()
	in.openEntries--
	in.watchTransfer(err)
	in.mu.Unlock()
	in.flush()
}

// Wait returns when it is known what became of all entries.
func (in *Batcher) Wait() { in.wg.Wait() }

// watchTransfer stops the process if Raft reports a leadership transfer for
// far too long, because it may do so forever.
func (in *Batcher) watchTransfer(err error) {
	switch {
	case !errors.Is(err, raft.ErrLeadershipTransferInProgress):
		in.refusedSince = time.Time{}
	case in.refusedSince.IsZero():
		in.refusedSince = time.Now()
	case time.Since(in.refusedSince) > transferLimit:
		in.config.Fatal(fmt.Errorf("changes have been refused for %v, for a transfer of leadership that does not end", transferLimit))
	}
}

// CommitError converts the result of an entry for its proposers.
func CommitError(f raft.ApplyFuture) error {
	err := f.Error()
	switch {
	case err == nil:
		err, _ = f.Response().(error)
		return err
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrEnqueueTimeout),
		errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return peerrpc.Unavailable("raft: %w", err)
	}
	return peerrpc.Unknown("raft: %w", err)
}
