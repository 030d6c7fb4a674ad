// Package proposals brings changes into the log: the Client of each node
// combines them into batches, and the Batcher of the leader combines the
// batches of all nodes into entries. It knows no network and no disk.
package proposals

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"simpd/cluster/peerrpc"
	storev1 "simpd/proto/simp/store/v1"
	"simpd/protocol/wait"
	"simpd/store"
)

// How long the proposer waits before it tries again what failed.
const (
	retryDelay       = 20 * time.Millisecond
	quorumCheckDelay = 100 * time.Millisecond // while something waits: is there still a majority?
	callTimeout      = 5 * time.Second        // a call to the leader
)

// Client is this node's side of proposals: it combines changes into numbered
// batches, sends them to the leader, and reports to each caller what the batch
// did in this node's own table. Any goroutine may call its methods.
//
// The outcome of a batch is never guessed. It is known when the batch is
// applied here. A batch is known to be lost, and may be proposed again, when
// this node has applied an entry of a later term than the one that the batch
// was meant for, or a later batch of this process: the table accepts no batch
// in another term than its own, and the leader none after a later one.
type Client struct {
	id     ProcessID
	config ClientConfig

	mu         sync.Mutex
	closed     bool
	queue      queue[*proposal]
	inflight   []*inflightBatch // by number: sent to a leader, or of unknown outcome
	number     uint64           // of the newest batch
	term       uint64           // of the newest entry applied here
	backingOff bool             // something has just failed
	openCall   *leaderCall      // to a leader on another node
	wake       wait.Signal
	wg         sync.WaitGroup
}

// proposal is what one caller proposes, or a part of it that fits into a
// batch.
type proposal struct {
	changes []*storev1.Change
	size    int
	done    chan struct{}
	results []store.Result
	err     error
	isDone  bool // nobody waits any more
}

func (t *proposal) extent() (changes, octets int) { return len(t.changes), t.size }

// inflightBatch is a batch that a leader may have.
type inflightBatch struct {
	batch     *storev1.Batch
	proposals []*proposal
	isUnknown bool // its outcome is unknown
}

// ClientConfig connects a Client to the rest of its node.
type ClientConfig struct {
	// Leader returns the leader and its term; "" if none is known.
	Leader func() (leader string, term uint64)
	// Submit submits a batch to the leader on this node.
	Submit func(b *storev1.Batch, done func(error))
	// CallLeader sends batches to a leader on another node.
	CallLeader func(ctx context.Context, leader string, b []*storev1.Batch) error
	// QuorumLost reports whether the quorum has been lost for so long that
	// everything queued is to be given up.
	QuorumLost func() bool
}

// NewClient returns a Client that proposes as that process.
func NewClient(id ProcessID, c ClientConfig) *Client {
	return &Client{id: id, config: c, wake: wait.NewSignal()}
}

// Wake makes the client look again, because another node leads, or none.
func (p *Client) Wake() { p.wake.Notify() }

// Propose returns when all changes are applied here, in order, or the error.
func (p *Client) Propose(ctx context.Context, changes []*storev1.Change) ([]store.Result, error) {
	tickets, err := splitProposals(changes)
	if err != nil {
		return nil, err
	}
	if err := p.enqueue(tickets); err != nil {
		return nil, err
	}
	p.Wake()
	if len(tickets) == 1 {
		return p.await(ctx, tickets[0])
	}
	results := make([]store.Result, 0, len(changes))
	var failed error
	for _, t := range tickets {
		r, err := p.await(ctx, t)
		results = append(results, r...)
		failed = moreUncertain(failed, err)
	}
	if failed != nil && len(results) > 0 && !errors.Is(failed, peerrpc.ErrUnknown) {
		failed = peerrpc.Unknown("only %d of %d changes were made: %w", len(results), len(changes), failed)
	}
	return results, failed
}

// moreUncertain returns the error that leaves more open.
func moreUncertain(a, b error) error {
	if a == nil || errors.Is(b, peerrpc.ErrUnknown) && !errors.Is(a, peerrpc.ErrUnknown) {
		return b
	}
	return a
}

// splitProposals divides changes into proposals that fit into one batch each.
// A change that is too large for any is peerrpc.ErrRefused.
func splitProposals(changes []*storev1.Change) ([]*proposal, error) {
	var tickets []*proposal
	var t *proposal
	for _, c := range changes {
		size := proto.Size(c)
		if size > maxChangeOctets {
			return nil, fmt.Errorf("%w: a change of %d octets: at most %d", peerrpc.ErrRefused, size, maxChangeOctets)
		}
		if t == nil || len(t.changes) == maxChanges || t.size+size > maxOctets {
			t = &proposal{done: make(chan struct{})}
			tickets = append(tickets, t)
		}
		t.changes = append(t.changes, c)
		t.size += size
	}
	return tickets, nil
}

func (p *Client) enqueue(tickets []*proposal) error {
	changes, octets := 0, 0
	for _, t := range tickets {
		changes += len(t.changes)
		octets += t.size
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return peerrpc.Unavailable("this node has shut down")
	}
	if !p.queue.fits(changes, octets) {
		return ErrBusy
	}
	p.queue.add(tickets...)
	return nil
}

// await waits for one proposal, and abandons it when ctx ends.
func (p *Client) await(ctx context.Context, t *proposal) ([]store.Result, error) {
	select {
	case <-t.done:
	case <-ctx.Done():
		p.abandon(t, context.Cause(ctx))
	}
	return t.results, t.err
}

// abandon ends a proposal that is still waiting. Before a leader may have it,
// it is certainly not done.
func (p *Client) abandon(t *proposal, why error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t.isDone {
		return
	}
	if i := slices.Index(p.queue.items, t); i >= 0 {
		p.queue.remove(i)
		t.complete(nil, peerrpc.Unavailable("no leader took it: %w", why))
		return
	}
	t.complete(nil, peerrpc.Unknown("the leader did not say: %w", why))
}

// complete reports the result to the caller; later results are ignored.
func (t *proposal) complete(results []store.Result, err error) {
	if t.isDone {
		return
	}
	t.isDone, t.results, t.err = true, results, err
	close(t.done)
}

// Run sends proposals until ctx ends, and then gives up the rest.
func (p *Client) Run(ctx context.Context) {
	defer p.close()
	for {
		var again <-chan time.Time
		if pause := p.step(ctx); pause > 0 {
			again = time.After(pause)
		}
		select {
		case <-p.wake:
			runtime.Gosched() // who is about to propose too goes along: one commit for all
		case <-again:
		case <-ctx.Done():
			return
		}
	}
}

// close waits for the pending call and gives up what waits.
func (p *Client) close() {
	p.wg.Wait()
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.failAll(errors.New("this node is shutting down"))
}

// step does what can be done now, and returns after what time to check again;
// 0: at the next wake-up.
func (p *Client) step(ctx context.Context) time.Duration {
	if p.isIdle() {
		return 0
	}
	if p.config.QuorumLost() {
		p.failAll(errors.New("this node is cut off from the majority of the site"))
		return 0
	}
	leader, term := p.config.Leader()
	if leader == "" {
		return retryDelay
	}
	if leader == p.id.Node {
		p.submitLocal(term)
	} else {
		p.sendToLeader(ctx, leader, term)
	}
	return quorumCheckDelay
}

func (p *Client) isIdle() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.queue.isEmpty() && len(p.inflight) == 0
}

// Queued returns how many changes wait for a leader.
func (p *Client) Queued() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.queue.changes
}

// failAll ends all proposals; those that no leader has seen are certainly not
// done.
func (p *Client) failAll(why error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, t := range p.queue.clear() {
		t.complete(nil, peerrpc.Unavailable("%w", why))
	}
	for _, f := range p.inflight {
		for _, t := range f.proposals {
			t.complete(nil, peerrpc.Unknown("%w", why))
		}
	}
}
