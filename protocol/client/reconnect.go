package client

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"simpd/protocol"
	"simpd/protocol/internal/outbound"
	"simpd/protocol/wait"
)

// moveRequest is a MOVE.
type moveRequest struct {
	from   *conn
	to     string
	within time.Duration
}

// clampWithin returns the time that a MOVE allows, from one second to one
// hour.
func clampWithin(seconds int) time.Duration {
	return min(max(time.Duration(seconds)*time.Second, time.Second), time.Hour)
}

// maintain replaces each connection that ends, that the server asks to move, or
// whose token is about to expire, until the client gives up.
func (c *Client) maintain(cur *conn) {
	began, hops := time.Now(), 0
	for cur != nil {
		next := cur
		select {
		case <-cur.done:
			next = c.reconnect(cur, time.Since(began))
		case m := <-c.moves:
			if m.from != cur {
				continue
			}
			if hops++; time.Since(began) >= stableAfter {
				hops = 0
			}
			next = c.migrate(m, hops)
		case <-c.renewalTimer():
			next = c.migrate(moveRequest{from: cur, within: renewalWithin}, 0)
		case <-c.ctx.Done():
			return
		}
		if next != cur {
			cur, began = next, time.Now()
		}
	}
}

// reconnect tries to connect until it succeeds. It returns nil if the client
// has given up.
func (c *Client) reconnect(old *conn, lasted time.Duration) *conn {
	if c.Err() != nil {
		return nil
	}
	why := old.endReason()
	c.setDisconnected()
	var b backoff
	if lasted < stableAfter {
		b.failures = 1
	}
	pause, final := b.next(why, 0), isFinal(why)
	if c.endedWithToken(why) {
		final = false
	}
	if isKick(why) {
		pause, final = kickBackoff+rand.N(kickBackoff/2), false
	}
	if !final {
		c.notifyEvent(Event{Kind: Lost, Text: outbound.PlainText(why), Err: why})
	}
	for !final && wait.Sleep(c.ctx, pause) && c.Err() == nil {
		began := time.Now()
		conn, err := c.connectAndRestore(c.ctx, c.redial(old.Target))
		if err == nil {
			c.notifyEvent(Event{Kind: Connected, Text: "connected again"})
			return conn
		}
		why, final = err, isFinal(err)
		pause = b.next(why, time.Since(began))
		c.notifyEvent(Event{Kind: Retrying, Text: outbound.PlainText(err), Err: err})
	}
	c.fail(why)
	c.cancel()
	return nil
}

// isKick reports whether an operator closed a logged-in connection. A user
// who is to be kept out is disabled, which gives 401.
func isKick(why error) bool {
	var bye *protocol.Error
	return errors.As(why, &bye) && bye.Status == protocol.StatusForbidden
}

// redial returns how to dial after a loss: by the usual name and, if that
// fails, at the last target, to which MOVE may have led.
func (c *Client) redial(last outbound.Target) func(context.Context) (*outbound.Conn, error) {
	return func(ctx context.Context) (*outbound.Conn, error) {
		o, err := c.dial(ctx)
		if err == nil || isFinal(err) || last.String() == c.config.Server {
			return o, err
		}
		if o, there := c.dialAny(ctx, []outbound.Target{last}); there == nil {
			return o, nil
		}
		return nil, err
	}
}

// setDisconnected records that there is no connection.
func (c *Client) setDisconnected() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.current = nil
	c.changed.Notify()
}

const (
	stableAfter    = 30 * time.Second // a connection that lasted so long resets the backoff
	minBackoff     = 500 * time.Millisecond
	maxBackoff     = 15 * time.Second // including the attempt before it
	maxServerRetry = 5 * time.Minute  // that a server may request
	kickBackoff    = 10 * time.Second // after an operator closed the connection
	maxMoveDelay   = time.Second      // before a MOVE is followed
)

// backoff computes pauses between attempts. They are random, so that the
// clients of a failed server do not all return at once, with an upper limit
// that doubles.
type backoff struct{ failures int }

// next returns the pause after a failed attempt that took some time. A server
// may request a longer one.
func (b *backoff) next(why error, took time.Duration) time.Duration {
	bound := maxBackoff
	if b.failures < 5 {
		bound = min(bound, minBackoff<<b.failures)
	}
	b.failures++
	pause := min(rand.N(bound), max(maxBackoff-took, minBackoff))
	var refused *protocol.Error
	if errors.As(why, &refused) {
		pause = max(pause, min(time.Duration(refused.Retry)*time.Second, maxServerRetry))
	}
	return pause
}

// migrate connects elsewhere and leaves the old connection afterwards, so
// that the user is never deaf. If that does not succeed in time, the old
// connection is kept until it ends. hops is how many connections in a row
// were asked to move soon after they were made: a server that sends its
// clients in circles is followed more and more slowly.
func (c *Client) migrate(m moveRequest, hops int) *conn {
	ctx, cancel := context.WithTimeout(c.ctx, m.within)
	defer cancel()
	pause := rand.N(min(maxMoveDelay, m.within/4))
	if b := (backoff{failures: hops}); hops > 1 {
		pause += b.next(nil, 0)
	}
	var b backoff
	for sleepUnlessEnded(ctx, m.from, pause) {
		conn, err := c.connectAndRestore(ctx, c.dialMoveTarget(m, b.failures))
		if err == nil {
			c.notifyEvent(Event{Kind: Moved, Text: "moved to " + conn.String()})
			c.leaveOldConn(m)
			return conn
		}
		c.notifyEvent(Event{Kind: Retrying, Text: outbound.PlainText(err), Err: err})
		pause = b.next(err, 0)
	}
	return m.from
}

// leaveOldConn leaves the connection on which a MOVE arrived. Only one is
// being left at a time; the previous one is closed.
func (c *Client) leaveOldConn(m moveRequest) {
	if c.leaving != nil {
		c.leaving.endWith(ErrClosed)
	}
	c.leaving = m.from
	c.wg.Go(func() { c.drainOldConn(m) })
}

// dialMoveTarget returns how to dial: at the target of the MOVE, and every
// other time by the site's usual name.
func (c *Client) dialMoveTarget(m moveRequest, attempts int) func(context.Context) (*outbound.Conn, error) {
	if m.to == "" || attempts%2 == 1 {
		return c.dial
	}
	return func(ctx context.Context) (*outbound.Conn, error) {
		t, err := outbound.ParseTarget(m.to, m.from.Security)
		if err != nil {
			return nil, err
		}
		t.FromDNS = m.from.FromDNS // by DNS: then nothing that the server says leads inside
		return c.dialAny(ctx, []outbound.Target{t})
	}
}

// sleepUnlessEnded sleeps for d. It returns false, early, if the context or
// the connection ends.
func sleepUnlessEnded(ctx context.Context, old *conn, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-old.done:
	case <-ctx.Done():
	}
	return false
}

// drainOldConn leaves messages and requests on the old connection the time
// that the server allows.
func (c *Client) drainOldConn(m moveRequest) {
	ctx, cancel := context.WithTimeout(c.ctx, m.within)
	defer cancel()
	m.from.leave(ctx, c.desiredNow().listen != nil)
}

// connectAndRestore makes a connection, restores the desired state on it, and
// makes it the current one.
func (c *Client) connectAndRestore(ctx context.Context, dial func(context.Context) (*outbound.Conn, error)) (*conn, error) {
	o, err := dial(ctx)
	if err != nil {
		return nil, err
	}
	conn := newConn(o, c)
	c.setCandidate(conn)
	c.wg.Go(conn.readLoop)
	if err := c.restoreState(ctx, conn); err != nil {
		conn.endWith(err)
		return nil, err
	}
	return conn, nil
}

// setCandidate makes a connection the candidate, whose presences are
// buffered.
func (c *Client) setCandidate(conn *conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.candidate = conn
}

// restoreState restores the desired state on a new connection, and promotes
// it.
func (c *Client) restoreState(ctx context.Context, conn *conn) error {
	if err := c.lockDesired(ctx); err != nil {
		return err
	}
	defer c.unlockDesired()
	if err := c.restoreListen(ctx, conn); err != nil {
		return err
	}
	if err := c.restoreWatches(ctx, conn); err != nil {
		return err
	}
	return c.promote(conn)
}

// restoreListen listens again, but never exclusively: another session may
// have started since.
func (c *Client) restoreListen(ctx context.Context, conn *conn) error {
	w := c.desiredNow()
	if w.listen == nil {
		return nil
	}
	again := *w.listen
	again.Exclusive = false
	if _, _, err := c.roundTripOn(ctx, conn, listenRequest(again)); err != nil {
		return err
	}
	if c.desiredNow().listen == nil { // displaced meanwhile
		_, _, err := c.roundTripOn(ctx, conn, request{verb: "UNLISTEN"})
		return err
	}
	return nil
}

func (c *Client) restoreWatches(ctx context.Context, conn *conn) error {
	for _, r := range c.watchRequests(c.desiredNow()) {
		if _, _, err := c.roundTripOn(ctx, conn, r); err != nil {
			return err
		}
	}
	return nil
}

func (c *Client) desiredNow() desiredState {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.desired
}

// promote makes a connection the current one, and delivers what it has
// buffered.
func (c *Client) promote(conn *conn) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return c.err
	}
	c.current, c.candidate = conn, nil
	c.resetIndexesLocked(conn.Hello.History)
	c.showBufferedLocked(conn.buffered)
	conn.buffered = bufferedPresences{}
	c.changed.Notify()
	return nil
}
