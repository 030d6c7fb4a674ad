package client

import (
	"cmp"
	"context"
	"errors"
	"sync"

	"simpd/protocol"
)

// Client keeps one user connected. Its methods may be called from any
// goroutine, but not Close from Config's functions. Those that ask the server
// wait for a connection as long as their context allows.
type Client struct {
	dialer
	ctx      context.Context // ends with Close
	cancel   context.CancelFunc
	wg       sync.WaitGroup
	messages *queue[incoming]
	told     *queue[told]
	seen     seen          // of messages' worker
	arranged chan struct{} // holds one: the right to change, or to restore, what is wanted
	moves    chan moving
	leaving  *conn // of keep's goroutine: the one that was left last

	mu        sync.Mutex
	cur       *conn         // nil: no connection now
	candidate *conn         // about to become cur
	changed   chan struct{} // closed and replaced as cur or err changes
	err       error         // why there will be no connection any more
	want      want
	shown     map[protocol.Address]shown
	history   string
}

// want is what a new connection has to be told, to be as the old one was.
type want struct {
	listen   *protocol.ListenRequest
	watch    []protocol.Address
	contacts bool
}

// Open connects and logs in. The error is a *protocol.Error if the server
// refused. From then on the connection is kept until Close, or until the
// server does not know the user's password any more; see Done.
func Open(ctx context.Context, config Config) (*Client, error) {
	c, err := newClient(config)
	if err != nil {
		return nil, err
	}
	first, err := c.attempt(ctx, c.dial)
	if err != nil {
		c.cancel()
		c.wg.Wait()
		return nil, err
	}
	c.wg.Go(func() { c.keep(first) })
	return c, nil
}

func newClient(config Config) (*Client, error) {
	dialsNames := config.Dial != nil
	config = config.withDefaults()
	if config.User.IsZero() || config.Password == "" {
		return nil, errors.New("client: Config.User and Config.Password are required")
	}
	c := &Client{
		dialer:   dialer{Config: config, secret: new(secret), dialsNames: dialsNames},
		arranged: make(chan struct{}, 1),
		moves:    make(chan moving, 1),
		changed:  make(chan struct{}),
		shown:    make(map[protocol.Address]shown),
	}
	c.running = &c.wg
	c.secret.set(config.User, config.Password)
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.messages = newQueue(c.handle)
	c.told = newQueue(c.tell)
	return c, nil
}

// User returns the address that the client speaks for, as configured.
func (c *Client) User() protocol.Address { return c.Config.User }

// Done is closed when the client has given up, or was closed; Err tells why.
func (c *Client) Done() <-chan struct{} { return c.ctx.Done() }

// Err returns why Done is closed: ErrClosed, or what the server said; nil
// while it is not.
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Close answers what came, says QUIT, and ends everything, at the latest when
// the context does. It returns after the last call of Config's functions.
func (c *Client) Close(ctx context.Context) error {
	cur, err := c.giveUp(ErrClosed)
	if cur != nil {
		ctx, cancel := context.WithTimeout(ctx, leaveTimeout)
		cur.leave(ctx, false)
		cancel()
	}
	c.cancel()
	c.wg.Wait()
	c.messages.wait()
	c.told.wait()
	if errors.Is(err, ErrClosed) {
		return nil
	}
	return err
}

// giveUp has no connection made any more. It returns the one there is, and
// the reason that counts, which is the first.
func (c *Client) giveUp(why error) (*conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = why
		c.announce()
	}
	return c.cur, c.err
}

// announce wakes those who wait for a connection; c.mu is held.
func (c *Client) announce() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// connected waits for a connection.
func (c *Client) connected(ctx context.Context) (*conn, error) {
	for {
		cur, changed, err := c.present()
		if cur != nil || err != nil {
			return cur, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (c *Client) present() (*conn, <-chan struct{}, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return nil, nil, c.err
	}
	return c.cur, c.changed, nil
}

// ask makes a request that may be made twice: on the next connection, if one
// ends before the answer.
func (c *Client) ask(ctx context.Context, r request) ([]response, response, error) {
	for {
		cur, err := c.connected(ctx)
		if err != nil {
			return nil, response{}, err
		}
		partial, final, err := c.askOn(ctx, cur, r)
		if !isLost(err) || !cur.replaced(err) || ctx.Err() != nil {
			return partial, final, err
		}
		if err := c.gone(ctx, cur); err != nil {
			return nil, response{}, err
		}
	}
}

// askOn makes a request of one connection. Other than SEND, all are answered
// within 10 s; longer means that the connection is dead.
func (c *Client) askOn(ctx context.Context, conn *conn, r request) ([]response, response, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	return conn.do(ctx, r)
}

// gone waits until a connection that ended is not the present one any more.
func (c *Client) gone(ctx context.Context, old *conn) error {
	for {
		cur, changed, err := c.present()
		if err != nil || cur != old {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func isLost(err error) bool { return errors.Is(err, ErrLost) || errors.Is(err, ErrNotSent) }

// arrange makes a request that changes what is wanted, and notes the change
// when the server has agreed. Meanwhile no new connection is told what is wanted.
func (c *Client) arrange(ctx context.Context, r request, note func(*want)) ([]response, response, error) {
	for {
		cur, err := c.connected(ctx)
		if err != nil {
			return nil, response{}, err
		}
		partial, final, err := c.arrangeOn(ctx, cur, r, note)
		switch {
		case errors.Is(err, errReplaced):
			continue
		case !isLost(err), !cur.replaced(err), ctx.Err() != nil:
			return partial, final, err
		}
		if err := c.gone(ctx, cur); err != nil {
			return nil, response{}, err
		}
	}
}

// errReplaced says that a connection is not the present one any more.
var errReplaced = errors.New("the connection was replaced")

// replaced reports whether what failed so is to be asked of the next connection.
func (c *conn) replaced(err error) bool { return c.over() || errors.Is(err, errReplaced) }

func (c *Client) arrangeOn(ctx context.Context, conn *conn, r request, note func(*want)) ([]response, response, error) {
	if err := c.lockArranged(ctx); err != nil {
		return nil, response{}, err
	}
	defer c.unlockArranged()
	if cur, _, err := c.present(); cur != conn {
		return nil, response{}, cmp.Or(err, errReplaced)
	}
	partial, final, err := c.askOn(ctx, conn, r)
	if err == nil {
		c.note(note)
	}
	return partial, final, err
}

func (c *Client) lockArranged(ctx context.Context) error {
	select {
	case c.arranged <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *Client) unlockArranged() { <-c.arranged }

func (c *Client) note(change func(*want)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(&c.want)
}
