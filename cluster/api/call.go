package api

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"simpd/protocol/budget"
)

// retryAfter is the delay after which a caller that holds too much may try again.
const retryAfter = 2 * time.Second

// Why the server ends a call, as its caller is told.
var (
	errLateBody   = statusWithDetails(codes.DeadlineExceeded, "the request did not arrive in time", reasonTimedOut.errorInfo())
	errNoTimeLeft = statusWithDetails(codes.DeadlineExceeded, "the deadline had passed when the call came; nothing was done", reasonTimedOut.errorInfo())
	errBusy       = resourceExhausted("this caller holds too much of this node's memory: end other calls first, or try again later", retryAfter)
	errTooLarge   = statusWithDetails(codes.ResourceExhausted, fmt.Sprintf("the request is too large: at most %d octets", maxReceive), reasonTooLarge.errorInfo())
	errGone       = status.Error(codes.Canceled, "the caller went away") // nobody reads it
)

// call is a call under way, and the memory that it holds on its caller's
// behalf: from its header on, until its handler has returned and all of the
// answer was written.
type call struct {
	conn   *conn
	caller *caller
	path   string
	method method
	cancel context.CancelFunc
	total  *time.Timer

	// Under conn.mu.
	payer     *budget.Owner
	drop      func()
	fixed     int          // octets for the call itself and its header
	waiting   int          // octets of the body that arrived and were not read
	waitsCost int          // what they cost
	body      int          // octets of the message that the handler has
	out       int          // octets of the answer that were not written
	stream    statusWriter // of the handler that runs; nil: none does
	why       error        // why the server has ended the call; nil: it has not
	messages  messages     // of the body, as they arrive
	done      string       // what was done of it, though it may fail; "": nothing
	gone      bool         // the stream has ended on the wire
	settled   bool         // nothing is held any more
}

type callKey struct{}

// callOf returns the call of ctx, or nil.
func callOf(ctx context.Context) *call {
	c, _ := ctx.Value(callKey{}).(*call)
	return c
}

// beginCall admits a call of caller whose header was read last on c, or tells why
// not. The context that it returns ends with the call's limits.
func (c *conn) beginCall(ctx context.Context, who *caller, path string, m method, header metadata.MD) (context.Context, error) {
	if who.key != "" && !c.setPayer(who.key) {
		return ctx, errBusy
	}
	r := &call{conn: c, caller: who, path: path, method: m, fixed: callCost + headerCost(header)}
	ctx, r.cancel = context.WithCancel(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.caller == "" && len(c.calls) >= anonymousCallsLimit {
		return ctx, resourceExhausted("too many calls at once without a client certificate or a token", retryAfter)
	}
	if who.key != "" {
		r.payer, r.drop = c.server.programs.Acquire(who.key), func() { c.server.programs.Drop(who.key) }
	} else {
		r.payer, r.drop = c.server.sources.Acquire(c.source), func() { c.server.sources.Drop(c.source) }
	}
	if c.ended || !r.payer.Reserve(r.fixed) {
		r.drop()
		return ctx, errBusy
	}
	c.calls[c.lastHeaders] = r
	if c.caller == "" {
		c.idle.Reset(anonymousIdle)
	}
	if m.limit > 0 {
		r.total = time.AfterFunc(m.limit, func() { r.endWith(timedOut(m, "the call took too long")) })
	}
	return context.WithValue(ctx, callKey{}, r), nil
}

func headerCost(header metadata.MD) (octets int) {
	for name, values := range header {
		for _, v := range values {
			octets += len(name) + len(v) + fieldCost
		}
	}
	return octets
}

// countReceived counts octets of a call's body. A call that its caller's share does
// not allow them ends.
func (c *conn) countReceived(stream uint32, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.calls[stream]
	if r == nil {
		return // gRPC drops them
	}
	if !r.payer.Reserve(n + frameCost) {
		r.endLocked(errBusy)
		return
	}
	r.waiting += n
	r.waitsCost += n + frameCost
}

// takenLocked counts n octets of the answer that were written. conn.mu is held.
func (r *call) takenLocked(n int) {
	n = min(n, r.out)
	r.out -= n
	r.payer.Release(n)
}

// countMessage counts a message of wire octets that the handler has read, and that
// takes size octets. The one before is no longer used.
func (r *call) countMessage(wire, size int) error {
	r.conn.mu.Lock()
	defer r.conn.mu.Unlock()
	if r.settled {
		return context.Canceled
	}
	if r.waiting > 0 {
		cost := int(int64(r.waitsCost) * int64(min(wire, r.waiting)) / int64(r.waiting))
		r.waiting -= min(wire, r.waiting)
		r.waitsCost -= cost
		r.payer.Release(cost)
	}
	r.payer.Release(r.body)
	r.body = 0
	if !r.payer.Reserve(size) {
		return errBusy
	}
	r.body = size
	return nil
}

// reserveAnswer counts what is added to the answer that the call of ctx is preparing,
// and refuses what the caller's share does not allow.
func reserveAnswer(ctx context.Context, m proto.Message) error {
	r := callOf(ctx)
	if r == nil {
		return nil
	}
	n := messageFactor * proto.Size(m)
	r.conn.mu.Lock()
	defer r.conn.mu.Unlock()
	if r.settled {
		return context.Canceled
	}
	if !r.payer.Reserve(n) {
		return errBusy
	}
	r.body += n
	return nil
}

// countSent counts a message of the answer, before it is sent. What was asked for
// is answered, also where that goes above the caller's share: see begin.
func (r *call) countSent(n int) {
	r.conn.mu.Lock()
	defer r.conn.mu.Unlock()
	if !r.gone && !r.settled {
		r.payer.Charge(n)
		r.out += n
	}
}

// endStreamLocked counts the end of a stream on the wire. c.mu is held.
func (c *conn) endStreamLocked(id uint32) {
	r := c.calls[id]
	if r == nil {
		return
	}
	delete(c.calls, id)
	r.gone = true
	r.payer.Release(r.waitsCost + r.out)
	r.waiting, r.waitsCost, r.out = 0, 0, 0
	if r.stream == nil {
		r.settleLocked()
	}
}

// statusWriter ends a stream with a status, whatever its handler does. gRPC's
// streams are such: what they would say of a context that was cancelled tells
// the caller nothing.
type statusWriter interface {
	WriteStatus(*status.Status) error
}

// noStatus is for a stream that can't be ended with a status.
type noStatus struct{}

func (noStatus) WriteStatus(*status.Status) error { return nil }

// startHandler returns nil if the call of ctx is still there to be handled. Then finishHandler
// must be called when its handler has returned.
func (r *call) startHandler(ctx context.Context) error {
	stream, ok := grpc.ServerTransportStreamFromContext(ctx).(statusWriter)
	if !ok {
		stream = noStatus{}
	}
	r.conn.mu.Lock()
	defer r.conn.mu.Unlock()
	switch {
	case r.settled:
		return errGone
	case r.why != nil:
		return r.why
	}
	r.stream = stream
	return nil
}

// endWith ends the call with an error, unless its handler has returned.
func (r *call) endWith(err error) {
	r.conn.mu.Lock()
	defer r.conn.mu.Unlock()
	r.endLocked(err)
}

// endLocked is end with conn.mu held. The status is written first: gRPC itself
// writes another as soon as reading fails in the handler.
func (r *call) endLocked(err error) {
	if r.why == nil {
		r.why = err
	}
	if r.stream != nil {
		_ = r.stream.WriteStatus(status.Convert(r.truthLocked(err))) // it fails if the stream has ended
	}
	r.cancel()
}

// finalError returns the error that the call ends with, for that of its handler.
func (r *call) finalError(err error) error {
	r.conn.mu.Lock()
	defer r.conn.mu.Unlock()
	if r.why != nil && status.Code(err) == codes.Canceled {
		err = r.why
	}
	return r.truthLocked(err)
}

// truthLocked returns an error of the call that says what was done all the same.
// conn.mu is held.
func (r *call) truthLocked(err error) error {
	if err == nil || r.done == "" {
		return err
	}
	return partlyDone(err, r.done)
}

// setDone notes what the call of ctx has done so far, in case it fails.
func setDone(ctx context.Context, format string, args ...any) {
	r := callOf(ctx)
	if r == nil {
		return
	}
	r.conn.mu.Lock()
	defer r.conn.mu.Unlock()
	r.done = fmt.Sprintf(format, args...)
}

// finishHandler counts the end of the handler.
func (r *call) finishHandler() {
	r.conn.mu.Lock()
	defer r.conn.mu.Unlock()
	r.stream = nil
	r.payer.Release(r.body)
	r.body = 0
	if r.gone {
		r.settleLocked()
	}
}

// settleLocked gives back what is left. conn.mu is held.
func (r *call) settleLocked() {
	if r.settled {
		return
	}
	r.settled = true
	r.payer.Release(r.fixed)
	r.drop()
	if r.total != nil {
		r.total.Stop()
	}
	r.cancel()
}
