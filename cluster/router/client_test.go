package router

import (
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"simpd/protocol"
)

// client is a protocol.Session whose client answers as the test says.
type client struct {
	*Connection
	who protocol.Client

	mu       sync.Mutex
	answer   func(m *protocol.Message, done func(protocol.Outcome)) // nil: 200
	got      []string                                               // ids of what was delivered
	told     []string                                               // what else was said
	by       []protocol.Address                                     // whom notices were for
	newest   map[protocol.Address]uint64                            // index told, by user
	disorder string                                                 // of indexes, the last that was seen
	why      string                                                 // that the session was displaced, as it was told
	old      bool                                                   // speaks SIMP/1.0
}

func addr(s string) protocol.Address {
	a, err := protocol.ParseAddress(s)
	if err != nil {
		panic(err)
	}
	return a
}

// login connects a user to a node of the site.
func (s *site) login(name, id string) *client {
	s.t.Helper()
	c := s.newClient(name, id)
	u, err := s.nodes[id].Login(s.t.Context(), c)
	if err != nil {
		s.t.Fatal(err)
	}
	c.Connection = u
	return c
}

// newClient returns a client that has proved the account's own password.
func (s *site) newClient(name, id string) *client {
	a := addr(name + "@example.com")
	c := &client{who: protocol.Client{User: a, Agent: "test", Remote: netip.MustParseAddrPort("192.0.2.1:5000")}}
	if account, ok := s.nodes[id].config.Table.Account(a); ok {
		c.who.Credential = account.Generation()
	}
	return c
}

// listen is login and LISTEN.
func (s *site) listen(name, id string) *client {
	s.t.Helper()
	c := s.login(name, id)
	c.mustListen(s.t, protocol.ListenRequest{State: protocol.Available})
	return c
}

func (c *client) mustListen(t *testing.T, q protocol.ListenRequest) uint64 {
	t.Helper()
	_, index, err := c.Listen(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	return index
}

func (c *client) Client() protocol.Client { return c.who }

func (c *client) Deliver(m *protocol.Message, done func(protocol.Outcome)) {
	c.mu.Lock()
	c.got = append(c.got, m.ID)
	answer := c.answer
	c.mu.Unlock()
	if answer == nil {
		done(protocol.Outcome{Status: protocol.StatusOK})
		return
	}
	answer(m, done)
}

func (c *client) say(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.told = append(c.told, fmt.Sprintf(format, args...))
}

// heard returns what was said since it was last asked.
func (c *client) heard() []string {
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	told := c.told
	c.told = nil
	return told
}

func (c *client) received() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.got...)
}

func (c *client) Notify(n *protocol.Notice) {
	c.say("%s %s %s", n.Address.Local(), n.State, n.Note)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.by = append(c.by, n.By...)
	if c.newest == nil {
		c.newest = map[protocol.Address]uint64{}
	}
	if last := c.newest[n.Address]; n.Index < last || n.Index == last && n.Index > 0 && len(n.By) == 0 {
		c.disorder = fmt.Sprintf("%s: %d after %d", n.Address, n.Index, last)
	}
	c.newest[n.Address] = n.Index
}

// named returns how many watchers notices were for.
func (c *client) named() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.by)
}

func (c *client) NotifyKeys(n *protocol.KeyNotice) {
	c.say("keys %s %s", n.Address.Local(), n.Head[:6])
	c.mu.Lock()
	defer c.mu.Unlock()
	c.by = append(c.by, n.By...)
}

func (c *client) NotifyContact(n *protocol.ContactNotice) bool {
	if c.old {
		return false
	}
	c.say("contact %s %s %s", n.Address.Local(), n.Group, n.Name)
	return true
}

func (c *client) Displaced(why string) {
	c.say("unlistened")
	c.mu.Lock()
	defer c.mu.Unlock()
	c.why = why
}

func (c *client) Stale() { c.say("stale") }

func (c *client) Fresh(uint64) { c.say("fresh") }

func (c *client) Move(to string, _ time.Duration, _ string) { c.say("move %s", to) }

func (c *client) Bye(s protocol.Status, why string) { c.say("bye %d", s) }

// send sends one message and returns its outcome, within d of fake time.
func (c *client) send(t *testing.T, to, id string) protocol.Outcome {
	t.Helper()
	return <-c.start(to, id, protocol.DefaultTimeout)
}

func (c *client) start(to, id string, timeout time.Duration) <-chan protocol.Outcome {
	done := make(chan protocol.Outcome, 1)
	c.Send(&protocol.SendRequest{
		To: []protocol.Address{addr(to + "@example.com")}, ID: id, Received: time.Now(), Timeout: timeout,
		Entity: []byte("\r\nhello"), Done: func(_ int, o protocol.Outcome) { done <- o },
	})
	return done
}

func answers(s protocol.Status) func(*protocol.Message, func(protocol.Outcome)) {
	return func(_ *protocol.Message, done func(protocol.Outcome)) { done(protocol.Outcome{Status: s}) }
}

func want(t *testing.T, what string, got protocol.Outcome, status protocol.Status) {
	t.Helper()
	if got.Status != status {
		t.Errorf("%s: %d %s, want %d", what, got.Status, got.Text, status)
	}
}
