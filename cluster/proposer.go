package cluster

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	storev1 "simpd/proto/simp/store/v1"
	"simpd/store"
)

// How long the proposer waits before it tries again what failed.
const (
	retryAfter = 20 * time.Millisecond
	lookAfter  = 100 * time.Millisecond // while something waits: is there still a majority?
	callFor    = 5 * time.Second        // a call to the leader
)

// proposer is this node's side of proposals: it gathers changes into numbered
// batches, hands them to the leader, and tells each caller what the batch did
// in this node's own table.
//
// What became of a batch is never guessed. It is known once the batch is
// applied here; and it is known to be dead, and may be proposed anew, once
// this node has applied an entry of a later term than the one that it was
// meant for, or a later batch of this process: the table takes no batch in
// another term than its own, and the leader none after a later one.
type proposer struct {
	origin origin
	// leads says who leads, in which term; "" if nobody is known to.
	leads func() (leader string, term uint64)
	// offer hands a batch to the leader on this node.
	offer func(b *storev1.Batch, done func(error))
	// call hands batches to a leader elsewhere.
	call func(ctx context.Context, leader string, b []*storev1.Batch) error
	// lost reports whether the majority has been out of reach for so long that
	// what waits is given up.
	lost func() bool

	mu      sync.Mutex
	closed  bool
	queue   []*ticket
	waiting backlog   // in queue
	flights []*flight // by number: with the leader, or in doubt
	number  uint64    // of the newest batch
	term    uint64    // of the newest entry applied here
	paused  bool      // something failed just now
	open    *call     // to a leader elsewhere
	wake    poke
	wg      sync.WaitGroup
}

// ticket is what one caller proposes, in pieces that fit into a batch.
type ticket struct {
	changes []*storev1.Change
	size    int
	done    chan struct{}
	results []store.Result
	err     error
	gone    bool // nobody waits any more
}

// flight is a batch that a leader may have.
type flight struct {
	batch   *storev1.Batch
	tickets []*ticket
	doubt   bool // nobody has said what became of it
}

func newProposer(o origin) *proposer {
	return &proposer{origin: o, wake: newPoke()}
}

// propose returns once all changes are applied here, in order, or why not.
func (p *proposer) propose(ctx context.Context, changes []*storev1.Change) ([]store.Result, error) {
	tickets, err := cut(changes)
	if err != nil {
		return nil, err
	}
	if err := p.enqueue(tickets); err != nil {
		return nil, err
	}
	p.wake.now()
	if len(tickets) == 1 {
		return p.await(ctx, tickets[0])
	}
	results := make([]store.Result, 0, len(changes))
	var failed error
	for _, t := range tickets {
		r, err := p.await(ctx, t)
		results = append(results, r...)
		failed = worse(failed, err)
	}
	if failed != nil && len(results) > 0 && !errors.Is(failed, ErrUnknown) {
		failed = unknown("only %d of %d changes were made: %w", len(results), len(changes), failed)
	}
	return results, failed
}

// worse prefers the error that leaves more open.
func worse(a, b error) error {
	if a == nil || errors.Is(b, ErrUnknown) && !errors.Is(a, ErrUnknown) {
		return b
	}
	return a
}

// cut makes tickets that fit into one batch each. A change that is too large
// for any is ErrRefused.
func cut(changes []*storev1.Change) ([]*ticket, error) {
	var tickets []*ticket
	var t *ticket
	for _, c := range changes {
		size := proto.Size(c)
		if size > maxChangeOctets {
			return nil, fmt.Errorf("%w: a change of %d octets: at most %d", ErrRefused, size, maxChangeOctets)
		}
		if t == nil || len(t.changes) == maxChanges || t.size+size > maxOctets {
			t = &ticket{done: make(chan struct{})}
			tickets = append(tickets, t)
		}
		t.changes = append(t.changes, c)
		t.size += size
	}
	return tickets, nil
}

func (p *proposer) enqueue(tickets []*ticket) error {
	changes, octets := 0, 0
	for _, t := range tickets {
		changes += len(t.changes)
		octets += t.size
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return unavailable("this node has shut down")
	}
	if !p.waiting.fits(changes, octets) {
		return ErrBusy
	}
	p.queue = append(p.queue, tickets...)
	p.waiting.add(changes, octets)
	return nil
}

// await waits for one ticket, and gives it up when ctx ends.
func (p *proposer) await(ctx context.Context, t *ticket) ([]store.Result, error) {
	select {
	case <-t.done:
	case <-ctx.Done():
		p.giveUp(t, context.Cause(ctx))
	}
	return t.results, t.err
}

// giveUp ends a ticket that still waits. Before a leader may have it, that
// is certain.
func (p *proposer) giveUp(t *ticket, why error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t.gone {
		return
	}
	if i := slices.Index(p.queue, t); i >= 0 {
		p.queue = slices.Delete(p.queue, i, i+1)
		p.waiting.remove(len(t.changes), t.size)
		t.finish(nil, unavailable("no leader took it: %w", why))
		return
	}
	t.finish(nil, unknown("the leader did not say: %w", why))
}

// finish tells the caller; what comes later comes too late.
func (t *ticket) finish(results []store.Result, err error) {
	if t.gone {
		return
	}
	t.gone, t.results, t.err = true, results, err
	close(t.done)
}

// run hands out what waits until ctx ends; then it gives up the rest.
func (p *proposer) run(ctx context.Context) {
	defer p.close()
	for {
		var again <-chan time.Time
		if wait := p.step(ctx); wait > 0 {
			again = time.After(wait)
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

// close waits for the open call and gives up what waits.
func (p *proposer) close() {
	p.wg.Wait()
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.fail(errors.New("this node is shutting down"))
}

// step does what can be done now and says after what time to look again; 0:
// at the next wake-up.
func (p *proposer) step(ctx context.Context) time.Duration {
	if p.idle() {
		return 0
	}
	if p.lost() {
		p.fail(errors.New("this node is cut off from the majority of the site"))
		return 0
	}
	leader, term := p.leads()
	if leader == "" {
		return retryAfter
	}
	if leader == p.origin.node {
		p.hand(term)
	} else {
		p.ring(ctx, leader, term)
	}
	return lookAfter
}

func (p *proposer) idle() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.queue) == 0 && len(p.flights) == 0
}

// backlog is how many changes wait for a leader.
func (p *proposer) backlog() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.waiting.changes
}

// fail ends all tickets: certainly undone those that no leader has seen.
func (p *proposer) fail(why error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, t := range p.queue {
		t.finish(nil, unavailable("%w", why))
	}
	p.queue, p.waiting = nil, backlog{}
	for _, f := range p.flights {
		for _, t := range f.tickets {
			t.finish(nil, unknown("%w", why))
		}
	}
}
