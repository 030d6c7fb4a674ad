package clustertest

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"simpd/cluster/router"
	"simpd/protocol"
)

// Client is a connection of a user to a node, and writes down what it is
// told. It answers each message as Answer says.
type Client struct {
	*router.Connection
	node *Node
	who  protocol.Client

	mu      sync.Mutex
	answer  func(m *protocol.Message) protocol.Status
	got     []string // ids of messages, in the order in which they came
	taken   map[string]bool
	notices []protocol.Notice
	told    []string // all other words: "stale", "fresh", "unlistened", …
	closed  bool
	sent    int
	open    map[*held]bool
}

// held is a message that came and was not answered.
type held struct {
	done  func(protocol.Outcome)
	timer *time.Timer
}

// Address makes the address of a user of the site.
func Address(user string) protocol.Address {
	a, err := protocol.ParseAddress(user + "@" + Domain)
	if err != nil {
		panic(err)
	}
	return a
}

// Login connects a user to node i.
func (s *Site) Login(i int, user string) *Client {
	s.t.Helper()
	c, err := s.Node(i).Login(user)
	s.must(err)
	return c
}

// Login connects a user to the node.
func (n *Node) Login(user string) (*Client, error) {
	account, ok := n.Table.Account(Address(user))
	if !ok {
		return nil, fmt.Errorf("node %d knows no %s", n.Number, user)
	}
	c := &Client{node: n, taken: map[string]bool{}, open: map[*held]bool{}, who: protocol.Client{
		User: Address(user), Agent: "test", Remote: netip.MustParseAddrPort("192.0.2.1:1"), Credential: account.Generation(),
	}}
	u, err := n.Router.Login(context.Background(), c)
	if err != nil {
		return nil, err
	}
	c.Connection = u
	n.mu.Lock()
	defer n.mu.Unlock()
	n.clients = append(n.clients, c)
	return c, nil
}

// LoginDomain connects another site's server to node i.
func (s *Site) LoginDomain(i int, domain string) *Client {
	s.t.Helper()
	n := s.Node(i)
	c := &Client{node: n, taken: map[string]bool{}, open: map[*held]bool{}, who: protocol.Client{
		Domain: domain, Agent: "test", Remote: netip.MustParseAddrPort("198.51.100.1:1"),
	}}
	u, err := n.Router.Login(context.Background(), c)
	s.must(err)
	c.Connection = u
	n.mu.Lock()
	defer n.mu.Unlock()
	n.clients = append(n.clients, c)
	return c
}

// SayFrom sends a message from a user of another site, as the server does that
// gets it, and waits for its outcome.
func (c *Client) SayFrom(from, to, text string) protocol.Outcome {
	sender, err := protocol.ParseAddress(from)
	c.node.site.must(err)
	if wait := c.TakeMessages(sender, 1); wait > 0 {
		return protocol.Outcome{Status: protocol.StatusSlowDown, Retry: int((wait + time.Second - 1) / time.Second)}
	}
	outcome := make(chan protocol.Outcome, 1)
	c.Connection.Send(&protocol.SendRequest{
		From: sender, To: []protocol.Address{Address(to)}, ID: fmt.Sprint(from, time.Now().UnixNano()), Received: time.Now(), Timeout: protocol.DefaultTimeout,
		Entity: []byte("\r\n" + text), Done: func(_ int, o protocol.Outcome) { outcome <- o },
	})
	return <-outcome
}

// Listen begins to listen, available, and returns the session and its index.
func (c *Client) Listen(r protocol.ListenRequest) (session string, index uint64, err error) {
	if r.State == protocol.Deaf {
		r.State = protocol.Available
	}
	ctx, cancel := c.node.site.Within(protocol.RequestTimeout)
	defer cancel()
	return c.Connection.Listen(ctx, r)
}

// Unlisten ends listening.
func (c *Client) Unlisten() error {
	ctx, cancel := c.node.site.Within(protocol.RequestTimeout)
	defer cancel()
	_, err := c.Connection.Unlisten(ctx)
	return err
}

// Say sends a message, with an id of the client's own making, and waits for
// its outcome.
func (c *Client) Say(to, text string) protocol.Outcome {
	outcome := make(chan protocol.Outcome, 1)
	c.Send(to, c.NewID(), text, protocol.DefaultTimeout, func(o protocol.Outcome) { outcome <- o })
	return <-outcome
}

// NewID makes an id that no other message has.
func (c *Client) NewID() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent++
	return fmt.Sprintf("%s-%p-%d", c.who.User.Local(), c, c.sent)
}

// Send sends a message; done is called with its outcome.
func (c *Client) Send(to, id, text string, timeout time.Duration, done func(protocol.Outcome)) {
	c.Connection.Send(&protocol.SendRequest{
		To: []protocol.Address{Address(to)}, ID: id, Repeatable: true, Received: time.Now(), Timeout: timeout,
		Entity: []byte("\r\n" + text), Done: func(_ int, o protocol.Outcome) { done(o) },
	})
}

// Watch begins to watch users, and returns how they stand.
func (c *Client) Watch(users ...string) ([]protocol.Notice, error) {
	ctx, cancel := c.node.site.Within(protocol.RequestTimeout)
	defer cancel()
	var at []protocol.Notice
	err := c.Connection.Watch(ctx, watching(users), func(now []protocol.Notice, _ uint64) {
		at = now
		for i := range now {
			c.Notify(&now[i])
		}
	})
	return at, err
}

// Query asks how a user stands now.
func (c *Client) Query(user string, fresh bool) (protocol.State, error) {
	ctx, cancel := c.node.site.Within(protocol.RequestTimeout)
	defer cancel()
	q := watching([]string{user})
	q.Fresh = fresh
	at, _, err := c.Connection.Query(ctx, q)
	if err != nil || len(at) != 1 {
		return protocol.Unknown, err
	}
	return at[0].State, nil
}

func watching(users []string) (q protocol.WatchRequest) {
	for _, u := range users {
		q.Addresses = append(q.Addresses, Address(u))
	}
	return q
}

// Answer sets what is answered to messages from now on: 2xx takes one, 0 says
// nothing. At first all are taken.
func (c *Client) Answer(how func(m *protocol.Message) protocol.Status) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answer = how
}

// Deliver writes m down and answers it. What is not answered is in doubt at
// its deadline, or when the connection ends.
func (c *Client) Deliver(m *protocol.Message, done func(protocol.Outcome)) {
	c.mu.Lock()
	status := protocol.StatusOK
	switch {
	case c.closed:
		status = protocol.StatusNotListening
	case !m.Deadline.After(time.Now()):
		status = protocol.StatusNotReading
	default:
		c.got = append(c.got, m.ID)
		if c.answer != nil {
			status = c.answer(m)
		}
	}
	c.taken[m.ID] = c.taken[m.ID] || status.OK()
	if status == 0 {
		c.hold(m, done)
	}
	c.mu.Unlock()
	if status != 0 {
		done(protocol.Outcome{Status: status})
	}
}

// hold keeps an unanswered message; c.mu is held.
func (c *Client) hold(m *protocol.Message, done func(protocol.Outcome)) {
	h := &held{done: done}
	h.timer = time.AfterFunc(time.Until(m.Deadline), func() { c.doubt(h) })
	c.open[h] = true
}

func (c *Client) doubt(h *held) {
	c.mu.Lock()
	mine := c.open[h]
	delete(c.open, h)
	c.mu.Unlock()
	if mine {
		h.timer.Stop()
		h.done(protocol.Outcome{Status: protocol.StatusIndeterminate})
	}
}

// Client says who it is.
func (c *Client) Client() protocol.Client { return c.who }

// Notify writes a change of presence down.
func (c *Client) Notify(n *protocol.Notice) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.notices = append(c.notices, *n)
}

// NotifyKeys writes down that a list of keys has changed.
func (c *Client) NotifyKeys(n *protocol.KeyNotice) {
	c.word(fmt.Sprintf("keys %s %s %d", n.Address.Local(), n.Head, n.Index))
}

// NotifyContact writes down that a group has changed.
func (c *Client) NotifyContact(n *protocol.ContactNotice) bool {
	c.word(fmt.Sprintf("contact %s %s", n.Address.Local(), n.Group))
	return true
}

// Displaced writes down that the session was displaced.
func (c *Client) Displaced(why string) { c.word("unlistened") }

// Stale writes down that presence can't be known.
func (c *Client) Stale() { c.word("stale") }

// Fresh writes down that it can again.
func (c *Client) Fresh(uint64) { c.word("fresh") }

// Move writes down that the node goes away.
func (c *Client) Move(string, time.Duration, string) { c.word("move") }

// Bye writes down that the connection ends, and ends it.
func (c *Client) Bye(status protocol.Status, _ string) {
	c.word(fmt.Sprint("bye ", int(status)))
	c.node.site.running.Go(c.Close)
}

func (c *Client) word(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.told = append(c.told, what)
}

// Close ends the connection.
func (c *Client) Close() {
	c.mu.Lock()
	again := c.closed
	c.closed = true
	open := slices.Collect(maps.Keys(c.open))
	c.mu.Unlock()
	if again {
		return
	}
	c.Connection.Close()
	for _, h := range open {
		c.doubt(h)
	}
}

// Closed reports whether the connection has ended.
func (c *Client) Closed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// Got returns the ids of the messages that came, in their order.
func (c *Client) Got() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.got)
}

// Took reports whether the message of that id was answered with 2xx.
func (c *Client) Took(id string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.taken[id]
}

// Told returns what else it was told.
func (c *Client) Told() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.told)
}

// Notices returns the changes of presence that it was told, those that Watch
// began with among them.
func (c *Client) Notices() []protocol.Notice {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.notices)
}

// Sees returns the state of a user that it was last told.
func (c *Client) Sees(user string) protocol.State {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := len(c.notices) - 1; i >= 0; i-- {
		if c.notices[i].Address == Address(user) {
			return c.notices[i].State
		}
	}
	return protocol.Unknown
}
