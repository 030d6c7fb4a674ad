package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"sync"

	"simpd/protocol"
)

// conn is one authenticated connection. Requests may be made from any
// goroutine; one reads.
type conn struct {
	*opening // of the reader alone, but for Close
	out      outbox
	owner    owner
	limit    int           // octets of a literal
	slots    chan struct{} // one for each request that is unanswered
	ended    chan struct{} // closed at the end, after err was set

	mu      sync.Mutex
	err     error
	calls   map[string]*call
	last    uint64        // tag
	inHand  int           // messages that the owner has and has not answered
	octets  int           // of those
	partial int           // octets that 100 lines take which came to calls
	settled chan struct{} // if somebody waits: closed when inHand is 0
	left    bool          // what is asked from now on belongs to another connection

	held heldPresences // of the owner: until it adopts the connection
}

// owner is told what a connection brings, in order, by the connection's
// reader. It must not block.
type owner interface {
	message(c *conn, tag string, m *protocol.Message)
	answer(c *conn, p []protocol.Presence, index uint64) // to WATCH
	change(c *conn, p protocol.Presence)                 // PRESENCE
	notice(c *conn, e Event)
	move(c *conn, to string, within int)
}

// Bounds on what a server may have this side keep.
const (
	maxRequests = 1000 // unanswered by the server, which takes 1024
	// 100 lines of WATCHERS, the shortest; of others there are as many as were asked for
	maxWatchers     = protocol.MaxWatchersOctets / 16
	maxPartial      = 16 << 20 // octets of the 100 lines of all calls of a connection
	maxReplies      = 1 << 20  // octets of answers that the server does not read
	maxInHand       = 2 * protocol.MaxUnanswered
	maxInHandOctets = 16 * protocol.MaxUnansweredOctets
)

// call is a request that waits for its final response.
type call struct {
	verb    string
	due     int // 100 lines that may come
	partial []response
	named   map[string]bool                   // by the 100 lines that came
	octets  int                               // that those take
	final   chan response                     // gets the final response, or is closed
	apply   func(*conn, []response, response) // called by the reader with a 2xx, before what comes next is read
}

// response is a line of its own.
type response struct{ protocol.Line }

func newConn(o *opening, owner owner, limit int) *conn {
	c := &conn{
		opening: o,
		owner:   owner,
		limit:   limit,
		slots:   make(chan struct{}, maxRequests),
		ended:   make(chan struct{}),
		calls:   make(map[string]*call),
	}
	c.out.conn, c.out.failed, c.out.mostReplies = o.Conn, c.end, maxReplies
	c.idle = o.hello.idle + aliveTimeout
	c.silent = func() { _, _ = c.out.put([]byte("ping PING\r\n")) }
	return c
}

// read serves the connection to its end.
func (c *conn) read() {
	for {
		l, body, err := c.next(c.limit)
		if err != nil {
			c.end(readError(err))
			_ = c.out.flushed(context.Background()) // soon, as the connection is closed
			return
		}
		if l.IsRequest() {
			c.serve(l, body)
		} else {
			c.answered(l)
		}
	}
}

func readError(err error) error {
	if errors.Is(err, io.EOF) {
		return errors.New("the server closed the connection")
	}
	return err
}

// over reports whether the connection has ended.
func (c *conn) over() bool { return c.why() != nil }

// end closes the connection, for the first reason given.
func (c *conn) end(why error) {
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
	c.out.stop(why)
	close(c.ended)
	return true
}

// why returns what ended the connection.
func (c *conn) why() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// answered takes a response. One to nothing asked is ignored, and so is an
// interim one that is no result.
func (c *conn) answered(l *protocol.Line) {
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
			c.end(err)
		}
		return
	}
	delete(c.calls, l.Tag)
	c.partial -= call.octets
	c.mu.Unlock()
	c.finish(call, r)
}

// addPartialLocked keeps a 100 line. There are no more than were asked for, none
// twice, and not more than a connection may hold. c.mu is held.
func (c *conn) addPartialLocked(call *call, r response) error {
	name := cmp.Or(textParam(&r.Line, "to"), textParam(&r.Line, "ima"), textParam(&r.Line, "who"))
	cost := c.lineCost()
	switch {
	case len(call.partial) >= call.due, call.named[name]:
		return protocolError("it answers %s with more than was asked for", call.verb)
	case c.partial+cost > maxPartial:
		return protocolError("its answers have more than %d octets", maxPartial)
	}
	if call.named == nil {
		call.named = make(map[string]bool)
	}
	call.named[name] = true
	call.partial = append(call.partial, r)
	call.octets += cost
	c.partial += cost
	return nil
}

func (c *conn) finish(call *call, r response) {
	if call.apply != nil && r.Status.OK() {
		call.apply(c, call.partial, r)
	}
	<-c.slots
	call.final <- r
}

// request is what is asked of a server.
type request struct {
	verb   string
	params func([]byte) []byte
	due    int                                               // 100 lines that may come
	body   []byte                                            // a literal, if not nil
	apply  func(c *conn, partial []response, final response) // if not nil: see call

	farewell bool // it is made even of a connection that is being left
}

// do makes a request and waits for its final response. The error is ErrLost
// if the connection ended first, ErrNotSent as well if the server certainly
// did not get the request, the context's if that ended, and a *protocol.Error
// if the server refused.
func (c *conn) do(ctx context.Context, r request) ([]response, response, error) {
	if err := c.admit(ctx); err != nil {
		return nil, response{}, notSent(err)
	}
	call := &call{verb: r.verb, due: r.due, final: make(chan response, 1), apply: r.apply}
	end, err := c.send(call, r)
	if err != nil {
		<-c.slots
		return nil, response{}, notSent(err)
	}
	select {
	case final, ok := <-call.final:
		return c.result(call, final, ok, end)
	case <-ctx.Done():
		return nil, response{}, ctx.Err()
	}
}

// admit waits until one more request may be made.
func (c *conn) admit(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case c.slots <- struct{}{}:
	case <-c.ended:
		return c.why()
	case <-ctx.Done():
		return ctx.Err()
	}
	err := c.out.room(ctx)
	if err != nil {
		<-c.slots
	}
	return err
}

// send registers the call and puts its octets out, in one order.
func (c *conn) send(call *call, r request) (end int64, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.err != nil:
		return 0, c.err
	case c.left && !r.farewell:
		return 0, errReplaced
	}
	c.last++
	tag := strconv.FormatUint(c.last, 10)
	b := r.encode(tag)
	if len(b)-len(r.body) > protocol.MaxLine {
		return 0, protocol.Errorf(protocol.StatusTooLarge, "the request does not fit a line of %d octets", protocol.MaxLine)
	}
	if end, err = c.out.put(b); err == nil {
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

func (c *conn) result(call *call, final response, ok bool, end int64) ([]response, response, error) {
	switch {
	case ok && final.Status.OK():
		return call.partial, final, nil
	case ok:
		return call.partial, final, refusal(&final.Line)
	case c.out.mayBeOut(end):
		return call.partial, response{}, fmt.Errorf("%w: %w", ErrLost, c.why())
	}
	return nil, response{}, notSent(c.why())
}

func notSent(err error) error {
	return fmt.Errorf("%w: %w", ErrNotSent, err)
}

// reply answers a request of the server's.
func (c *conn) reply(tag string, s protocol.Status, text string) {
	if tag == "*" {
		return
	}
	b := protocol.AppendResponse(nil, tag, s)
	if text != "" {
		b = protocol.AppendText(b, text)
	}
	if err := c.out.reply(protocol.AppendEnd(b)); errors.Is(err, errNoRoom) {
		c.end(err)
	}
}

// leave says QUIT once all that came was answered, and returns when the
// connection is over. When the context ends, the connection is closed. No
// request reaches it any more. One that listens is deafened before: a message
// that came in between would stay without its answer.
func (c *conn) leave(ctx context.Context, listens bool) {
	c.mu.Lock()
	c.left = true
	c.mu.Unlock()
	if listens {
		_, _, _ = c.do(ctx, request{verb: "UNLISTEN", farewell: true})
	}
	if c.answeredAll(ctx) == nil {
		_, _, _ = c.do(ctx, request{verb: "QUIT", farewell: true})
		_ = c.out.flushed(ctx)
	}
	c.end(ErrClosed)
}
