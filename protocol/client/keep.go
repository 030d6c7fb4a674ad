package client

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"simpd/protocol"
)

// moving is a MOVE.
type moving struct {
	from   *conn
	to     string
	within time.Duration
}

// clampWithin returns the time that a MOVE gives, which is one second at least.
func clampWithin(seconds int) time.Duration {
	return min(max(time.Duration(seconds)*time.Second, time.Second), time.Hour)
}

// keep replaces each connection that ends or that the server wants moved,
// until the client gives up.
func (c *Client) keep(cur *conn) {
	began, hops := time.Now(), 0
	for cur != nil {
		next := cur
		select {
		case <-cur.ended:
			next = c.reconnect(cur, time.Since(began))
		case m := <-c.moves:
			if m.from != cur {
				continue
			}
			if hops++; time.Since(began) >= steady {
				hops = 0
			}
			next = c.follow(m, hops)
		case <-c.ctx.Done():
			return
		}
		if next != cur {
			cur, began = next, time.Now()
		}
	}
}

// reconnect makes connections until one holds. It returns nil if the client
// has given up.
func (c *Client) reconnect(old *conn, lasted time.Duration) *conn {
	if c.Err() != nil {
		return nil
	}
	why := old.why()
	c.lose()
	var b backoff
	if lasted < steady {
		b.failures = 1
	}
	pause, final := b.next(why, 0), isFinal(why)
	if isKick(why) {
		pause, final = kickPause+rand.N(kickPause/2), false
	}
	if !final {
		c.tellEvent(Event{Kind: Lost, Text: forPeople(why), Err: why})
	}
	for !final && c.pause(pause) {
		began := time.Now()
		conn, err := c.attempt(c.ctx, c.wayBack(old.target))
		if err == nil {
			c.tellEvent(Event{Kind: Connected, Text: "connected again"})
			return conn
		}
		why, final = err, isFinal(err)
		pause = b.next(why, time.Since(began))
		c.tellEvent(Event{Kind: Retrying, Text: forPeople(err), Err: err})
	}
	c.giveUp(why)
	c.cancel()
	return nil
}

// isKick reports whether a connection that was logged in ended because an
// operator closed it. Whoever is to stay out is disabled, which is a 401.
func isKick(why error) bool {
	var bye *protocol.Error
	return errors.As(why, &bye) && bye.Status == protocol.StatusForbidden
}

// wayBack returns how to dial after a loss: by the usual name, and if that
// leads nowhere, where the connection was, to which MOVE may have led.
func (c *Client) wayBack(last target) func(context.Context) (*opening, error) {
	return func(ctx context.Context) (*opening, error) {
		o, err := c.dial(ctx)
		if err == nil || isFinal(err) || last.String() == c.Server {
			return o, err
		}
		if o, there := c.dialAny(ctx, []target{last}); there == nil {
			return o, nil
		}
		return nil, err
	}
}

// lose notes that there is no connection.
func (c *Client) lose() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cur = nil
	c.announce()
}

// pause waits; false if the client was closed meanwhile.
func (c *Client) pause(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return c.Err() == nil
	case <-c.ctx.Done():
		return false
	}
}

const (
	steady       = 30 * time.Second // a connection that lasted so long was a good one
	firstPause   = 500 * time.Millisecond
	longestPause = 15 * time.Second // with the attempt before it
	longestRetry = 5 * time.Minute  // that a server may ask for
	kickPause    = 10 * time.Second // after an operator closed the connection
	movingPause  = time.Second      // the longest before a MOVE is followed
)

// backoff makes pauses between attempts: random, so that the clients of a
// server that failed do not come back at once, up to a bound that doubles.
type backoff struct{ failures int }

// next returns the pause after a failure, which took some time. A server may
// want a longer one.
func (b *backoff) next(why error, took time.Duration) time.Duration {
	bound := longestPause
	if b.failures < 5 {
		bound = min(bound, firstPause<<b.failures)
	}
	b.failures++
	pause := min(rand.N(bound), max(longestPause-took, firstPause))
	var refused *protocol.Error
	if errors.As(why, &refused) {
		pause = max(pause, min(time.Duration(refused.Retry)*time.Second, longestRetry))
	}
	return pause
}

// follow makes a connection elsewhere and leaves the old one after: the user is
// never deaf. If none comes about in time, the old one is kept to its end. hops
// is how many connections in a row were to be left soon after they were made:
// a server that sends its clients in circles is followed more and more slowly.
func (c *Client) follow(m moving, hops int) *conn {
	ctx, cancel := context.WithTimeout(c.ctx, m.within)
	defer cancel()
	pause := rand.N(min(movingPause, m.within/4))
	if b := (backoff{failures: hops}); hops > 1 {
		pause += b.next(nil, 0)
	}
	var b backoff
	for wait(ctx, m.from, pause) {
		conn, err := c.attempt(ctx, c.wayOf(m, b.failures))
		if err == nil {
			c.tellEvent(Event{Kind: Moved, Text: "moved to " + conn.String()})
			c.leaveInTime(m)
			return conn
		}
		c.tellEvent(Event{Kind: Retrying, Text: forPeople(err), Err: err})
		pause = b.next(err, 0)
	}
	return m.from
}

// leaveInTime leaves the connection that a MOVE was said on. Only one is being
// left at a time: the one before it ends.
func (c *Client) leaveInTime(m moving) {
	if c.leaving != nil {
		c.leaving.end(ErrClosed)
	}
	c.leaving = m.from
	c.wg.Go(func() { c.leaveOld(m) })
}

// wayOf returns how to dial: where MOVE says, and every other time by the
// site's usual name.
func (c *Client) wayOf(m moving, attempts int) func(context.Context) (*opening, error) {
	if m.to == "" || attempts%2 == 1 {
		return c.dial
	}
	return func(ctx context.Context) (*opening, error) {
		t, err := named(m.to, m.from.security)
		if err != nil {
			return nil, err
		}
		t.found = m.from.found // by DNS: then nothing that the server says leads inside
		return c.dialAny(ctx, []target{t})
	}
}

// wait returns true after d, and false if the context or the connection ends
// before.
func wait(ctx context.Context, old *conn, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-old.ended:
	case <-ctx.Done():
	}
	return false
}

// leaveOld gives the messages and the requests on the old connection the time
// that the server gives them.
func (c *Client) leaveOld(m moving) {
	ctx, cancel := context.WithTimeout(c.ctx, m.within)
	defer cancel()
	m.from.leave(ctx, c.wanted().listen != nil)
}

// attempt makes a connection, and has it listen and watch as is wanted. With
// that it becomes the present one.
func (c *Client) attempt(ctx context.Context, dial func(context.Context) (*opening, error)) (*conn, error) {
	o, err := dial(ctx)
	if err != nil {
		return nil, err
	}
	conn := newConn(o, c, c.MaxMessage)
	c.become(conn)
	c.wg.Go(conn.read)
	if err := c.restore(ctx, conn); err != nil {
		conn.end(err)
		return nil, err
	}
	return conn, nil
}

// become makes a connection the candidate, whose presence is held back.
func (c *Client) become(conn *conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.candidate = conn
}

// restore tells a new connection what is wanted, and adopts it.
func (c *Client) restore(ctx context.Context, conn *conn) error {
	if err := c.lockArranged(ctx); err != nil {
		return err
	}
	defer c.unlockArranged()
	if err := c.listenAgain(ctx, conn); err != nil {
		return err
	}
	if err := c.watchAgain(ctx, conn); err != nil {
		return err
	}
	return c.adopt(conn)
}

// listenAgain never displaces: an exclusive LISTEN was a moment, and another
// session may have joined since.
func (c *Client) listenAgain(ctx context.Context, conn *conn) error {
	w := c.wanted()
	if w.listen == nil {
		return nil
	}
	again := *w.listen
	again.Exclusive = false
	if _, _, err := c.askOn(ctx, conn, listenRequest(again)); err != nil {
		return err
	}
	if c.wanted().listen == nil { // displaced meanwhile
		_, _, err := c.askOn(ctx, conn, request{verb: "UNLISTEN"})
		return err
	}
	return nil
}

func (c *Client) watchAgain(ctx context.Context, conn *conn) error {
	for _, r := range c.watchRequests(c.wanted()) {
		if _, _, err := c.askOn(ctx, conn, r); err != nil {
			return err
		}
	}
	return nil
}

func (c *Client) wanted() want {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.want
}

// adopt makes a connection the present one, and tells what it held back.
func (c *Client) adopt(conn *conn) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return c.err
	}
	c.cur, c.candidate = conn, nil
	c.forgetOtherHistory(conn.hello.history)
	c.showHeld(conn.held)
	conn.held = heldPresences{}
	c.announce()
	return nil
}
