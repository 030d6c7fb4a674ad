package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"

	"simpd/protocol"
	"simpd/protocol/internal/outbound"
	"simpd/protocol/wait"
)

// conn is one authenticated connection. Any goroutine may make requests; one
// goroutine reads.
type conn struct {
	*outbound.Conn // used by the reader only, except Close
	out            outbound.WriteQueue
	owner          owner
	slots          chan struct{} // one for each unanswered request
	done           chan struct{} // closed at the end, after err was set

	mu               sync.Mutex
	err              error
	calls            map[string]*call
	lastTag          uint64         // number of the last request
	unanswered       int            // messages passed to the owner and not answered yet
	unansweredOctets int            // their size
	partialOctets    int            // size of the 100 lines of pending calls
	allAnswered      wait.Broadcast // unanswered is 0 again
	leaving          bool           // new requests belong on another connection

	buffered bufferedPresences // used by the owner until it promotes the connection
}

// owner receives what arrives on a connection, in order, from the
// connection's reader. Its methods must not block.
type owner interface {
	onMessage(c *conn, tag string, m *protocol.Message)
	onWatchAnswer(c *conn, p []protocol.Presence, index uint64) // to WATCH
	onPresence(c *conn, p protocol.Presence)                    // PRESENCE
	onKeys(c *conn, n protocol.KeyNotice)                       // KEYS
	onContact(c *conn, n protocol.ContactNotice)                // CONTACT
	onEvent(c *conn, e Event)
	onMove(c *conn, to string, within int)
}

// Limits on what a server can make this side store.
const (
	maxRequests = 1000 // unanswered by the server, which takes 1024
	// 100 lines of WATCHERS, the shortest; of others there are as many as were asked for
	maxWatchers         = protocol.MaxWatchersOctets / 16
	maxPartialOctets    = 16 << 20 // octets of the 100 lines of all calls of a connection
	maxReplies          = 1 << 20  // octets of answers that the server does not read
	maxUnanswered       = 2 * protocol.MaxUnanswered
	maxUnansweredOctets = 16 * protocol.MaxUnansweredOctets
)

// call is a request that waits for its final response.
type call struct {
	verb       string
	maxPartial int // limit of 100 lines
	partial    []response
	named      map[string]bool                   // by the 100 lines received so far
	octets     int                               // size of those lines
	final      chan response                     // receives the final response, or is closed
	apply      func(*conn, []response, response) // called by the reader for a 2xx response, before the next line is read
}

// response is a line with its own memory.
type response struct{ protocol.Line }

func newConn(o *outbound.Conn, owner owner) *conn {
	c := &conn{
		Conn:  o,
		owner: owner,
		slots: make(chan struct{}, maxRequests),
		done:  make(chan struct{}),
		calls: make(map[string]*call),
	}
	c.out.Init(o.Conn, maxReplies, c.endWith)
	o.LimitIdle(o.Hello.Idle+outbound.AliveTimeout, &c.out)
	return c
}

// readLoop handles what arrives until the connection ends.
func (c *conn) readLoop() {
	for {
		l, body, err := c.ReadNext(maxMessage)
		if err != nil {
			c.endWith(outbound.ReadError(err))
			_ = c.out.AwaitFlushed(context.Background()) // soon, as the connection is closed
			return
		}
		if l.IsRequest() {
			c.handleRequest(l, body)
		} else {
			c.onResponse(l)
		}
	}
}

// hasEnded reports whether the connection has ended.
func (c *conn) hasEnded() bool { return c.endReason() != nil }

// endWith closes the connection. The first reason given is kept.
func (c *conn) endWith(why error) {
	if c.markEnded(why) {
		_ = c.Close()
	}
}

func (c *conn) markEnded(why error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return false
	}
	c.err = why
	for tag, call := range c.calls {
		delete(c.calls, tag)
		close(call.final)
	}
	c.out.Stop(why)
	close(c.done)
	return true
}

// endReason returns why the connection ended, or nil.
func (c *conn) endReason() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// onResponse handles a response. It ignores responses to unknown requests,
// and interim ones that carry no result.
func (c *conn) onResponse(l *protocol.Line) {
	c.mu.Lock()
	call := c.calls[l.Tag]
	if call == nil || l.Status.Interim() && l.Status != protocol.StatusPartial {
		c.mu.Unlock()
		return
	}
	r := response{*l}
	r.Params = slices.Clone(l.Params)
	if l.Status.Interim() {
		err := c.addPartialLocked(call, r)
		c.mu.Unlock()
		if err != nil {
			c.endWith(err)
		}
		return
	}
	delete(c.calls, l.Tag)
	c.partialOctets -= call.octets
	c.mu.Unlock()
	c.complete(call, r)
}

// addPartialLocked stores a 100 line. There must not be more than were
// requested, none twice, and their size is limited.
func (c *conn) addPartialLocked(call *call, r response) error {
	name := cmp.Or(outbound.TextParam(&r.Line, "to"), outbound.TextParam(&r.Line, "ima"), outbound.TextParam(&r.Line, "who"),
		outbound.TextParam(&r.Line, "id"), outbound.TextParam(&r.Line, "kid"))
	cost := c.LineCost()
	switch {
	case len(call.partial) >= call.maxPartial, call.named[name]:
		return outbound.ProtocolError("it answers %s with more than was asked for", call.verb)
	case c.partialOctets+cost > maxPartialOctets:
		return outbound.ProtocolError("its answers have more than %d octets", maxPartialOctets)
	}
	if call.named == nil {
		call.named = make(map[string]bool)
	}
	call.named[name] = true
	call.partial = append(call.partial, r)
	call.octets += cost
	c.partialOctets += cost
	return nil
}

func (c *conn) complete(call *call, r response) {
	if call.apply != nil && r.Status.OK() {
		call.apply(c, call.partial, r)
	}
	<-c.slots
	call.final <- r
}

// request describes a request to a server.
type request struct {
	verb       string
	params     func([]byte) []byte
	maxPartial int                                               // limit of 100 lines
	body       []byte                                            // a literal, or nil
	apply      func(c *conn, partial []response, final response) // may be nil; see call

	farewell bool // allowed on a connection that is being left
}

// roundTrip makes a request and waits for its final response. The error is
// ErrLost if the connection ended first; ErrNotSent if the server certainly
// did not receive the request; ctx's error if that ended; and a
// *protocol.Error if the server refused.
func (c *conn) roundTrip(ctx context.Context, r request) ([]response, response, error) {
	p, err := c.startRequest(ctx, r)
	if err != nil {
		return nil, response{}, err
	}
	return p.awaitFinal(ctx)
}

// pendingRequest is a request that was queued for writing.
type pendingRequest struct {
	conn *conn
	call *call
	end  int64 // position of its last octet in the write queue
}

// startRequest queues a request. The only error is ErrNotSent.
func (c *conn) startRequest(ctx context.Context, r request) (*pendingRequest, error) {
	if err := c.acquireSlot(ctx); err != nil {
		return nil, notSent(err)
	}
	call := &call{verb: r.verb, maxPartial: r.maxPartial, final: make(chan response, 1), apply: r.apply}
	end, err := c.writeRequest(call, r)
	if err != nil {
		<-c.slots
		return nil, notSent(err)
	}
	return &pendingRequest{c, call, end}, nil
}

// awaitFinal waits for the final response, with the errors of roundTrip.
func (p *pendingRequest) awaitFinal(ctx context.Context) ([]response, response, error) {
	select {
	case final, ok := <-p.call.final:
		return p.conn.callResult(p.call, final, ok, p.end)
	case <-ctx.Done():
		return nil, response{}, ctx.Err()
	}
}

// acquireSlot waits until another request may be made.
func (c *conn) acquireSlot(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case c.slots <- struct{}{}:
	case <-c.done:
		return c.endReason()
	case <-ctx.Done():
		return ctx.Err()
	}
	err := c.out.AwaitRoom(ctx)
	if err != nil {
		<-c.slots
	}
	return err
}

// writeRequest registers the call and queues its octets, in the same order.
func (c *conn) writeRequest(call *call, r request) (end int64, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.err != nil:
		return 0, c.err
	case c.leaving && !r.farewell:
		return 0, errReplaced
	}
	c.lastTag++
	tag := strconv.FormatUint(c.lastTag, 10)
	b := r.encode(tag)
	if len(b)-len(r.body) > protocol.MaxLine {
		return 0, protocol.Errorf(protocol.StatusTooLarge, "the request does not fit a line of %d octets", protocol.MaxLine)
	}
	if end, err = c.out.Write(b); err == nil {
		c.calls[tag] = call
	}
	return end, err
}

func (r request) encode(tag string) []byte {
	b := make([]byte, 0, 256+len(r.body))
	b = protocol.AppendRequest(b, tag, r.verb)
	if r.params != nil {
		b = r.params(b)
	}
	if r.body != nil {
		b = protocol.AppendLiteral(b, len(r.body))
	}
	return append(protocol.AppendEnd(b), r.body...)
}

func (c *conn) callResult(call *call, final response, ok bool, end int64) ([]response, response, error) {
	switch {
	case ok && final.Status.OK():
		return call.partial, final, nil
	case ok:
		return call.partial, final, outbound.Refusal(&final.Line)
	case c.out.MayBeSent(end):
		return call.partial, response{}, fmt.Errorf("%w: %w", ErrLost, c.endReason())
	}
	return nil, response{}, notSent(c.endReason())
}

func notSent(err error) error {
	return fmt.Errorf("%w: %w", ErrNotSent, err)
}

// reply answers a request of the server.
func (c *conn) reply(tag string, s protocol.Status, text string) {
	if err := c.out.Reply(tag, s, text); errors.Is(err, outbound.ErrNoRoom) {
		c.endWith(err)
	}
}

// leave sends QUIT once all messages have been answered, and returns when the
// connection has ended, or closes it when ctx ends. New requests fail with
// errReplaced. A connection that listens stops listening first, because a
// message that arrived later would remain unanswered.
func (c *conn) leave(ctx context.Context, listens bool) {
	c.mu.Lock()
	c.leaving = true
	c.mu.Unlock()
	if listens {
		_, _, _ = c.roundTrip(ctx, request{verb: "UNLISTEN", farewell: true})
	}
	if c.awaitAnswered(ctx) == nil {
		_, _, _ = c.roundTrip(ctx, request{verb: "QUIT", farewell: true})
		_ = c.out.AwaitFlushed(ctx)
	}
	c.endWith(ErrClosed)
}
