package proposals

import (
	"context"
	"errors"
	"slices"
	"time"

	"simpd/cluster/peerrpc"
	storev1 "simpd/proto/simp/store/v1"
	"simpd/store"
)

// submitLocal submits batches to the leader on this node, a few at a time.
func (p *Client) submitLocal(term uint64) {
	for {
		f := p.nextBatch(term, maxOpen)
		if f == nil {
			return
		}
		p.config.Submit(f.batch, func(err error) { p.onAnswer([]*inflightBatch{f}, err) })
	}
}

// leaderCall is a pending call to a leader on another node.
type leaderCall struct {
	term   uint64
	cancel context.CancelFunc
}

// sendToLeader sends as many batches as allowed to a leader on another node.
// There is one call at a time, which keeps them in order.
func (p *Client) sendToLeader(ctx context.Context, leader string, term uint64) {
	if p.hasOpenCall(term) {
		return
	}
	var flights []*inflightBatch
	var batches []*storev1.Batch
	for f := p.nextBatch(term, maxOpen); f != nil; f = p.nextBatch(term, maxOpen) {
		flights = append(flights, f)
		batches = append(batches, f.batch)
	}
	if len(flights) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	p.setCall(&leaderCall{term, cancel})
	p.wg.Go(func() {
		defer cancel()
		err := p.config.CallLeader(ctx, leader, batches)
		p.setCall(nil)
		p.onAnswer(flights, err)
	})
}

// hasOpenCall reports whether a call is pending. It cancels a call of an
// earlier term.
func (p *Client) hasOpenCall(term uint64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.openCall != nil && p.openCall.term < term {
		p.openCall.cancel()
	}
	return p.openCall != nil
}

func (p *Client) setCall(c *leaderCall) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.openCall = c
}

// nextBatch returns the next batch, if there is anything to propose and fewer
// than most are in flight. An empty one resolves the unknown outcome of those
// before it.
func (p *Client) nextBatch(term uint64, most int) *inflightBatch {
	p.mu.Lock()
	defer p.mu.Unlock()
	under := p.inflightCount()
	doubt := under == 0 && len(p.inflight) > 0
	if p.backingOff || under >= most || p.queue.isEmpty() && !doubt {
		return nil
	}
	p.number++
	f := &inflightBatch{proposals: p.queue.takeBatch(), batch: &storev1.Batch{
		Origin: p.id.Node, Incarnation: p.id.Incarnation, Number: p.number, Term: term, TimeMs: time.Now().UnixMilli(),
	}}
	for _, t := range f.proposals {
		f.batch.Change = append(f.batch.Change, t.changes...)
	}
	p.inflight = append(p.inflight, f)
	return f
}

// inflightCount counts the batches in flight whose outcome is not unknown.
func (p *Client) inflightCount() int {
	n := 0
	for _, f := range p.inflight {
		if !f.isUnknown {
			n++
		}
	}
	return n
}

// onAnswer handles the leader's answer for batches. That the leader has
// applied them says nothing about this node's table yet.
func (p *Client) onAnswer(flights []*inflightBatch, err error) {
	if err == nil {
		p.Wake()
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if errors.Is(err, peerrpc.ErrUnavailable) || errors.Is(err, peerrpc.ErrRefused) {
		p.requeueLost(func(f *inflightBatch) bool { return slices.Contains(flights, f) })
	}
	for _, f := range flights {
		f.isUnknown = true
	}
	p.backoff()
}

// backoff stops proposing for a while.
func (p *Client) backoff() {
	if p.backingOff {
		return
	}
	p.backingOff = true
	time.AfterFunc(retryDelay, func() {
		p.mu.Lock()
		p.backingOff = false
		p.mu.Unlock()
		p.Wake()
	})
}

// requeueLost proposes again, in order and before everything else, what was
// in batches that are certainly lost.
func (p *Client) requeueLost(lost func(*inflightBatch) bool) {
	var again []*proposal
	p.inflight = slices.DeleteFunc(p.inflight, func(f *inflightBatch) bool {
		if !lost(f) {
			return false
		}
		for _, t := range f.proposals {
			if !t.isDone {
				again = append(again, t)
			}
		}
		return true
	})
	p.queue.prepend(again)
}

// OnApplied handles the results of an entry of that term in this node's
// table.
func (p *Client) OnApplied(term uint64, results []store.BatchResult) {
	p.mu.Lock()
	defer p.mu.Unlock()
	before := len(p.inflight)
	if term > p.term {
		p.term = term
		p.requeueLost(func(f *inflightBatch) bool { return f.batch.Term < term })
	}
	for _, r := range results {
		if r.Origin == p.id.Node && r.Incarnation == p.id.Incarnation {
			p.completeBatch(r.Number, r.Results)
		}
	}
	if len(p.inflight) != before {
		p.Wake()
	}
}

// completeBatch completes the batch with that number, which also resolves the
// unknown outcome of all earlier ones.
func (p *Client) completeBatch(number uint64, results []store.Result) {
	p.requeueLost(func(f *inflightBatch) bool { return f.batch.Number < number })
	if len(p.inflight) == 0 || p.inflight[0].batch.Number != number {
		return
	}
	for _, t := range p.inflight[0].proposals {
		n := len(t.changes)
		t.complete(results[:n:n], nil)
		results = results[n:]
	}
	p.inflight = p.inflight[1:]
}

// OnRestored is called when this node has received a snapshot instead of
// entries, which may have included its own.
func (p *Client) OnRestored() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, f := range p.inflight {
		for _, t := range f.proposals {
			t.complete(nil, peerrpc.Unknown("this node had fallen behind, and took a snapshot"))
		}
	}
	p.inflight = nil
}
