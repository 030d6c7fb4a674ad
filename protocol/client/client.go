package client

import (
	"cmp"
	"context"
	"errors"
	"sync"

	"simpd/protocol"
	"simpd/protocol/internal/outbound"
	"simpd/protocol/wait"
)

// Client keeps one user connected. Any goroutine may call its methods, but
// Close must not be called from Config's functions. Methods that ask the
// server wait for a connection as long as their context allows.
type Client struct {
	dialer
	ctx           context.Context // ends with Close
	cancel        context.CancelFunc
	wg            sync.WaitGroup
	messages      *workQueue[incoming]
	notifications *workQueue[notification]
	recent        recentMessages // used by the worker of messages only
	lists         recentLists
	desiredLock   chan struct{} // holds one token: the right to change or restore desired
	moves         chan moveRequest
	leaving       *conn // used by maintain only: the connection left last

	mu        sync.Mutex
	current   *conn          // nil without a connection
	candidate *conn          // about to become current
	changed   wait.Broadcast // current or err has changed
	err       error          // why there will be no more connections
	desired   desiredState
	lastShown map[protocol.Address]shownPresence
	history   string
}

// desiredState is the state that each new connection has to restore.
type desiredState struct {
	listen   *protocol.ListenRequest
	watch    []protocol.Address
	contacts bool
}

// Open connects and logs in. The error is a *protocol.Error if the server
// refused. Afterwards the connection is maintained until Close, or until the
// server no longer accepts the user's password; see Done.
func Open(ctx context.Context, config Config) (*Client, error) {
	c, err := newClient(config)
	if err != nil {
		return nil, err
	}
	first, err := c.connectAndRestore(ctx, c.dial)
	if err != nil {
		c.cancel()
		c.wg.Wait()
		return nil, err
	}
	c.wg.Go(func() { c.maintain(first) })
	return c, nil
}

func newClient(config Config) (*Client, error) {
	dialsNames := config.Dial != nil
	config = config.withDefaults()
	if config.User.IsZero() || config.Password == "" && config.Token == nil {
		return nil, errors.New("client: Config.User, and Config.Password or Config.Token, are required")
	}
	c := &Client{
		dialer:      dialer{config: config, secret: new(secret), dialsNames: dialsNames},
		desiredLock: make(chan struct{}, 1),
		moves:       make(chan moveRequest, 1),
		lastShown:   make(map[protocol.Address]shownPresence),
	}
	c.running = &c.wg
	c.secret.set(config.User, config.Password)
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.messages = newWorkQueue(c.processIncoming)
	c.notifications = newWorkQueue(c.notify)
	return c, nil
}

// User returns the user's address as configured.
func (c *Client) User() protocol.Address { return c.config.User }

// History returns the name of the history that the site's indexes count in
// (SIMP.md, section 5), as the newest connection gave it. Another site, and one
// that was set up anew, has another.
func (c *Client) History() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.history
}

// Done is closed when the client has given up or was closed. Err returns the
// reason.
func (c *Client) Done() <-chan struct{} { return c.ctx.Done() }

// Err returns why Done is closed: ErrClosed, or the server's error. It
// returns nil before that.
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Close answers the messages that have arrived, sends QUIT and ends
// everything, at the latest when ctx ends. It returns after the last call of
// Config's functions.
func (c *Client) Close(ctx context.Context) error {
	cur, err := c.fail(ErrClosed)
	if cur != nil {
		ctx, cancel := context.WithTimeout(ctx, leaveTimeout)
		cur.leave(ctx, false)
		cancel()
	}
	c.cancel()
	c.wg.Wait()
	c.messages.waitIdle()
	c.notifications.waitIdle()
	if errors.Is(err, ErrClosed) {
		return nil
	}
	return err
}

// fail makes the client give up. It returns the present connection and the
// first reason given.
func (c *Client) fail(why error) (*conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = why
		c.changed.Notify()
	}
	return c.current, c.err
}

// awaitConn waits for a connection.
func (c *Client) awaitConn(ctx context.Context) (*conn, error) {
	return c.awaitConnThat(ctx, func(cur *conn) bool { return cur != nil })
}

// awaitConnThat returns the current connection, or nil without one, once it is
// acceptable.
func (c *Client) awaitConnThat(ctx context.Context, isAcceptable func(*conn) bool) (*conn, error) {
	var (
		cur  *conn
		gone error
	)
	err := c.changed.Await(ctx, func() bool {
		cur, gone = c.currentConn()
		return gone != nil || isAcceptable(cur)
	})
	if err == nil {
		err = gone
	}
	return cur, err
}

func (c *Client) currentConn() (*conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return nil, c.err
	}
	return c.current, nil
}

// roundTrip makes a request that may be repeated: if the connection ends
// before the response, it is made on the next one.
func (c *Client) roundTrip(ctx context.Context, r request) ([]response, response, error) {
	for {
		cur, err := c.awaitConn(ctx)
		if err != nil {
			return nil, response{}, err
		}
		partial, final, err := c.roundTripOn(ctx, cur, r)
		if !mayRepeat(err) || !cur.wasReplaced(err) || ctx.Err() != nil {
			return partial, final, err
		}
		if err := c.awaitReplaced(ctx, cur); err != nil {
			return nil, response{}, err
		}
	}
}

// roundTripOn makes a request on one connection. All requests except SEND are
// answered within 10 s; if it takes longer, the connection is dead.
func (c *Client) roundTripOn(ctx context.Context, conn *conn, r request) ([]response, response, error) {
	limited, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	partial, final, err := conn.roundTrip(limited, r)
	if errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, ErrNotSent) && ctx.Err() == nil {
		err = &noAnswerError{r.verb}
	}
	return partial, final, err
}

// awaitReplaced waits until a connection that ended is no longer the current
// one.
func (c *Client) awaitReplaced(ctx context.Context, old *conn) error {
	_, err := c.awaitConnThat(ctx, func(cur *conn) bool { return cur != old })
	return err
}

func isLost(err error) bool { return errors.Is(err, ErrLost) || errors.Is(err, ErrNotSent) }

// mayRepeat reports whether a request that failed with err may be made on the
// next connection. If the server broke the protocol, which may have been by
// answering this request, it would do so again.
func mayRepeat(err error) bool { return isLost(err) && !errors.Is(err, outbound.ErrProtocol) }

// updateDesired makes a request that changes the desired state, and records
// the change when the server has agreed. No new connection restores the state
// meanwhile.
func (c *Client) updateDesired(ctx context.Context, r request, note func(*desiredState)) ([]response, response, error) {
	for {
		cur, err := c.awaitConn(ctx)
		if err != nil {
			return nil, response{}, err
		}
		partial, final, err := c.updateDesiredOn(ctx, cur, r, note)
		switch {
		case errors.Is(err, errReplaced):
			continue
		case !mayRepeat(err), !cur.wasReplaced(err), ctx.Err() != nil:
			return partial, final, err
		}
		if err := c.awaitReplaced(ctx, cur); err != nil {
			return nil, response{}, err
		}
	}
}

// errReplaced reports that a connection is no longer the current one.
var errReplaced = errors.New("the connection was replaced")

// wasReplaced reports whether a request that failed with err should be made
// on the next connection.
func (c *conn) wasReplaced(err error) bool { return c.hasEnded() || errors.Is(err, errReplaced) }

func (c *Client) updateDesiredOn(ctx context.Context, conn *conn, r request, note func(*desiredState)) ([]response, response, error) {
	if err := c.lockDesired(ctx); err != nil {
		return nil, response{}, err
	}
	defer c.unlockDesired()
	if cur, err := c.currentConn(); cur != conn {
		return nil, response{}, cmp.Or(err, errReplaced)
	}
	partial, final, err := c.roundTripOn(ctx, conn, r)
	if err == nil {
		c.applyDesired(note)
	}
	return partial, final, err
}

func (c *Client) lockDesired(ctx context.Context) error {
	select {
	case c.desiredLock <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *Client) unlockDesired() { <-c.desiredLock }

func (c *Client) applyDesired(change func(*desiredState)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(&c.desired)
}
