package api

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc"

	simpv1 "simpd/proto/simp/v1"
	"simpd/protocol"
	"simpd/store"
)

// Times of a Watch.
const (
	progressEvery = 8 * time.Second        // of silence; the contract says 10
	lookEvery     = 250 * time.Millisecond // at whether the node is cut off
	behindTimeout = 10 * time.Second       // for a node that is behind `after`
	slowTimeout   = 30 * time.Second       // for one response to be taken
	dumpTimeout   = 5 * time.Minute        // for everyone who listens to be told
	watchBatch    = 64                     // changes read from the table at once
	dumpBatch     = 64                     // users told between two looks at what they take
)

// Why a Watch begins anew, as its consumer is told.
const (
	resetHistory  = "the history is another one"
	resetRestored = "the site's accounts were restored"
	resetGone     = "the changes since that position are no longer kept"
	resetSlow     = "the consumer reads too slowly"
)

// watch is one Watch under way. What it needs of memory is one batch: what a
// slow consumer has yet to see stays in the table's history, which is shared.
type watch struct {
	*presenceService
	out    chan *simpv1.WatchResponse
	list   []protocol.Address // asked for, and the same as a set; none: all
	users  map[protocol.Address]bool
	domain string

	history string
	index   uint64    // everything up to here has been told
	sent    time.Time // when something was last told
	slow    bool      // the last response was not taken in time, and is lost
}

// Watch tells each change as it commits, until the caller goes away or the
// node does.
func (s *presenceService) Watch(r *simpv1.WatchRequest, stream grpc.ServerStreamingServer[simpv1.WatchResponse]) error {
	w, err := s.newWatch(r)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(stream.Context())
	defer cancel(nil)
	defer context.AfterFunc(s.closing, func() { cancel(errClosing) })()
	go func() {
		defer close(w.out)
		err = w.serve(ctx, r.After)
	}()
	if err := sendAll(stream, w.out); err != nil {
		cancel(err)
		for range w.out { // until run has ended
		}
		return err
	}
	if cause := context.Cause(ctx); errors.Is(err, context.Canceled) && cause != nil {
		return cause
	}
	return err
}

// sendAll sends what comes. Sending waits while the consumer reads nothing;
// that is why it is apart from what finds out what there is to send.
func sendAll(stream grpc.ServerStreamingServer[simpv1.WatchResponse], out <-chan *simpv1.WatchResponse) error {
	if err := stream.SendHeader(nil); err != nil {
		return err
	}
	for r := range out {
		if err := stream.Send(r); err != nil {
			return err
		}
	}
	return nil
}

var errClosing = unavailable(reasonClosing, "this node is going away; go on at another")

func (s *presenceService) newWatch(r *simpv1.WatchRequest) (*watch, error) {
	f := &fields{domains: s.Domains}
	w := &watch{presenceService: s, out: make(chan *simpv1.WatchResponse), domain: f.localDomain("domain", r.Domain)}
	w.list = f.localUsers("ima", r.Ima, protocol.MaxWatched)
	w.users = make(map[protocol.Address]bool, len(w.list))
	for _, a := range w.list {
		w.users[a] = true
	}
	if r.Domain != "" && len(r.Ima) > 0 {
		f.addViolation("domain", "may not be given together with ima")
	}
	if r.After != nil && r.After.History == "" {
		f.addViolation("after.history", "has to be given")
	}
	return w, f.err()
}

func (w *watch) serve(ctx context.Context, after *simpv1.Position) error {
	if err := w.inTouch(false); err != nil {
		return err
	}
	if err := w.startAfter(ctx, after); err != nil {
		return err
	}
	for {
		if err := w.inTouch(false); err != nil {
			return err
		}
		if err := w.sendNext(ctx); err != nil {
			return err
		}
	}
}

// startAfter goes on after a position, or begins with the present state.
func (w *watch) startAfter(ctx context.Context, after *simpv1.Position) error {
	if after == nil {
		return w.sendSnapshot(ctx, "")
	}
	at := w.Table.Position()
	if at.History != after.History {
		// The node may be behind: it knows its history once it is up to date.
		if err := w.confirmTable(ctx); err != nil {
			return err
		}
		at = w.Table.Position()
	}
	if at.History != after.History {
		return w.sendSnapshot(ctx, resetHistory)
	}
	w.history, w.index, w.sent = after.History, after.Index, time.Now()
	return w.catchUp(ctx)
}

// catchUp waits until the node has reached the position that it goes on after.
func (w *watch) catchUp(ctx context.Context) error {
	waiting, cancel := context.WithTimeout(ctx, behindTimeout)
	defer cancel()
	for w.Table.Index() < w.index {
		if err := w.inTouch(false); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if waiting.Err() != nil {
			return unavailable(reasonBehind, "this node has not reached that position yet; try again, or another node")
		}
		w.awaitIndex(waiting, w.index)
	}
	return nil
}

// awaitIndex returns when the table has reached index, or soon.
func (w *watch) awaitIndex(ctx context.Context, index uint64) {
	ctx, cancel := context.WithTimeout(ctx, lookEvery)
	defer cancel()
	// An error is ctx's end: the caller looks at that and at the table.
	_ = w.Table.Wait(ctx, index)
}

// sendNext tells the next changes, or waits a little for some.
func (w *watch) sendNext(ctx context.Context) error {
	if w.slow {
		return w.sendSnapshot(ctx, resetSlow)
	}
	events, ok := w.Table.Events(w.index, watchBatch)
	if w.Table.History() != w.history {
		return w.sendSnapshot(ctx, resetHistory)
	}
	if !ok {
		return w.sendSnapshot(ctx, resetGone)
	}
	return w.tellNext(ctx, events)
}

func (w *watch) tellNext(ctx context.Context, events []store.Event) error {
	for i := range events {
		if events[i].Kind == store.EventHistory {
			return w.sendSnapshot(ctx, resetRestored)
		}
		if err := w.sendEvent(ctx, &events[i]); err != nil || w.slow {
			return err
		}
	}
	if time.Since(w.sent) >= progressEvery {
		return w.sendWithin(ctx, &simpv1.WatchResponse{Position: w.currentPosition(), Event: &simpv1.WatchResponse_Progress{Progress: &simpv1.Progress{}}})
	}
	if len(events) == 0 {
		w.awaitIndex(ctx, w.index+1)
	}
	return ctx.Err()
}

// sendEvent tells one change, if it is of presence and was asked for.
func (w *watch) sendEvent(ctx context.Context, e *store.Event) error {
	w.index = e.Index
	if !aboutSessions(e) || !w.matches(e.Address) {
		return nil
	}
	return w.sendWithin(ctx, &simpv1.WatchResponse{
		Position: w.currentPosition(),
		Event:    &simpv1.WatchResponse_Presence{Presence: presenceMessage(e.Address, e.After)},
	})
}

// aboutSessions reports whether a change is one of a user's state, note or
// sessions. A change of an account may end sessions.
func aboutSessions(e *store.Event) bool {
	return e.Kind == store.EventPresence || e.Visible || e.Kind == store.EventAccount && e.After != nil
}

// sendSnapshot tells the present state, after a reset if there is a reason for one.
func (w *watch) sendSnapshot(ctx context.Context, reason string) error {
	w.slow = false
	if reason != "" {
		reset := &simpv1.WatchResponse_Reset_{Reset_: &simpv1.Reset{Reason: reason}}
		if err := w.sendWithin(ctx, &simpv1.WatchResponse{Event: reset}); err != nil || w.slow {
			return err
		}
	}
	v := w.Table.View()
	if err := w.tellAll(ctx, v); err != nil || w.slow {
		return err
	}
	w.history, w.index = v.History(), v.Index()
	return w.sendWithin(ctx, &simpv1.WatchResponse{Position: w.currentPosition(), Event: &simpv1.WatchResponse_Synced{Synced: &simpv1.Synced{}}})
}

// tellAll tells everyone who listens, as v has it. A consumer that takes too
// long is let off: the copy of the table is not kept for it.
func (w *watch) tellAll(ctx context.Context, v store.View) (err error) {
	begun, told := time.Now(), 0
	looked := begun
	tell := func(l *store.Listener) bool {
		if told++; told%dumpBatch == 0 || time.Since(looked) > pinnedEvery {
			looked = time.Now()
			if w.slow = looked.Sub(begun) > dumpTimeout || w.Table.PinnedBy(v) > maxPinned; w.slow {
				return false
			}
		}
		if w.matches(l.Address) {
			err = w.sendWithin(ctx, &simpv1.WatchResponse{Event: &simpv1.WatchResponse_Presence{Presence: presenceMessage(l.Address, l)}})
		}
		return err == nil && !w.slow
	}
	if len(w.list) == 0 {
		v.Listeners(protocol.Address{}, tell)
		return err
	}
	for _, a := range w.list {
		if l := v.Listener(a); l != nil && !tell(l) {
			break
		}
	}
	return err
}

func (w *watch) matches(a protocol.Address) bool {
	if len(w.list) > 0 {
		return w.users[a]
	}
	return inDomain(a, w.domain)
}

func (w *watch) currentPosition() *simpv1.Position {
	return &simpv1.Position{History: w.history, Index: w.index}
}

// sendWithin hands a response over. One that is not taken in time is lost, and the
// consumer will be told so: meanwhile nothing is kept for it.
func (w *watch) sendWithin(ctx context.Context, r *simpv1.WatchResponse) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	limit := time.NewTimer(slowTimeout)
	defer limit.Stop()
	select {
	case w.out <- r:
		w.sent = time.Now()
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-limit.C:
		w.slow = true
		return nil
	}
}
