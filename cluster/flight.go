package cluster

import (
	"context"
	"errors"
	"slices"
	"time"

	storev1 "simpd/proto/simp/store/v1"
	"simpd/store"
)

// hand gives batches to the leader on this node, a few at a time.
func (p *proposer) hand(term uint64) {
	for {
		f := p.next(term, maxOpen)
		if f == nil {
			return
		}
		p.offer(f.batch, func(err error) { p.answered([]*flight{f}, err) })
	}
}

// call is an open call to a leader elsewhere.
type call struct {
	term   uint64
	hangUp context.CancelFunc
}

// ring calls a leader elsewhere with as many batches as it may have. There is
// one call at a time, which keeps them in order.
func (p *proposer) ring(ctx context.Context, leader string, term uint64) {
	if p.calling(term) {
		return
	}
	var flights []*flight
	var batches []*storev1.Batch
	for f := p.next(term, maxOpen); f != nil; f = p.next(term, maxOpen) {
		flights = append(flights, f)
		batches = append(batches, f.batch)
	}
	if len(flights) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, callFor)
	p.setCall(&call{term, cancel})
	p.wg.Go(func() {
		defer cancel()
		err := p.call(ctx, leader, batches)
		p.setCall(nil)
		p.answered(flights, err)
	})
}

// calling reports whether a call is open. One into a term that has ended is hung up.
func (p *proposer) calling(term uint64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open != nil && p.open.term < term {
		p.open.hangUp()
	}
	return p.open != nil
}

func (p *proposer) setCall(c *call) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open = c
}

// next makes the next batch, if there is anything to say and fewer than most
// are under way. An empty one ends the doubt about those before it.
func (p *proposer) next(term uint64, most int) *flight {
	p.mu.Lock()
	defer p.mu.Unlock()
	under := p.underWay()
	doubt := under == 0 && len(p.flights) > 0
	if p.paused || under >= most || len(p.queue) == 0 && !doubt {
		return nil
	}
	p.number++
	f := &flight{tickets: p.gather(), batch: &storev1.Batch{
		Origin: p.origin.node, Boot: p.origin.boot, Number: p.number, Term: term, TimeMs: time.Now().UnixMilli(),
	}}
	for _, t := range f.tickets {
		f.batch.Change = append(f.batch.Change, t.changes...)
	}
	p.flights = append(p.flights, f)
	return f
}

// underWay counts the flights that are not in doubt.
func (p *proposer) underWay() int {
	n := 0
	for _, f := range p.flights {
		if !f.doubt {
			n++
		}
	}
	return n
}

// gather takes the tickets of the next batch off the queue; none for a batch
// that only ends a doubt.
func (p *proposer) gather() []*ticket {
	n, changes, octets := 0, 0, 0
	for _, t := range p.queue {
		changes += len(t.changes)
		octets += t.size
		if n > 0 && (changes > maxChanges || octets > maxOctets) {
			break
		}
		p.waiting.remove(len(t.changes), t.size)
		n++
	}
	tickets := slices.Clone(p.queue[:n])
	p.queue = slices.Delete(p.queue, 0, n)
	return tickets
}

// answered is what the leader said of flights. That it has applied them says
// nothing yet of this node.
func (p *proposer) answered(flights []*flight, err error) {
	if err == nil {
		p.wake.now()
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if errors.Is(err, ErrUnavailable) || errors.Is(err, ErrRefused) {
		p.dead(func(f *flight) bool { return slices.Contains(flights, f) })
	}
	for _, f := range flights {
		f.doubt = true
	}
	p.pause()
}

// pause has nothing handed out for a while.
func (p *proposer) pause() {
	if p.paused {
		return
	}
	p.paused = true
	time.AfterFunc(retryAfter, func() {
		p.mu.Lock()
		p.paused = false
		p.mu.Unlock()
		p.wake.now()
	})
}

// dead proposes anew, in order and before all else, what was in flights that
// are certainly lost.
func (p *proposer) dead(lost func(*flight) bool) {
	var again []*ticket
	p.flights = slices.DeleteFunc(p.flights, func(f *flight) bool {
		if !lost(f) {
			return false
		}
		for _, t := range f.tickets {
			if !t.gone {
				again = append(again, t)
				p.waiting.add(len(t.changes), t.size)
			}
		}
		return true
	})
	p.queue = slices.Concat(again, p.queue)
}

// applied is what the table made of an entry of that term.
func (p *proposer) applied(term uint64, results []store.BatchResult) {
	p.mu.Lock()
	defer p.mu.Unlock()
	before := len(p.flights)
	if term > p.term {
		p.term = term
		p.dead(func(f *flight) bool { return f.batch.Term < term })
	}
	for _, r := range results {
		if r.Origin == p.origin.node && r.Incarnation == p.origin.boot {
			p.resolve(r.Number, r.Results)
		}
	}
	if len(p.flights) != before {
		p.wake.now()
	}
}

// resolve ends the flight of that number, and with it the doubt about all
// earlier ones.
func (p *proposer) resolve(number uint64, results []store.Result) {
	p.dead(func(f *flight) bool { return f.batch.Number < number })
	if len(p.flights) == 0 || p.flights[0].batch.Number != number {
		return
	}
	for _, t := range p.flights[0].tickets {
		n := len(t.changes)
		t.finish(results[:n:n], nil)
		results = results[n:]
	}
	p.flights = p.flights[1:]
}

// restored is told that this node took a snapshot in place of entries, among
// which its own may have been.
func (p *proposer) restored() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, f := range p.flights {
		for _, t := range f.tickets {
			t.finish(nil, unknown("this node had fallen behind, and took a snapshot"))
		}
	}
	p.flights = nil
}
