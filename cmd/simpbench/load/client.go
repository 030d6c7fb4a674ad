//go:build linux

package load

import (
	"fmt"
	"net/netip"
)

// Events is told what a Client learns. A load has one for all of its clients.
type Events interface {
	// Ready says that the client is logged in and can be reached.
	Ready(c *Client)
	// Result receives the outcome of the client's message number n: a status of
	// SIMP's, 200 where the recipient has acknowledged it.
	Result(c *Client, n uint64, status int)
	// Message says that a message came, and was acknowledged if it wants that.
	// The body is only good meanwhile.
	Message(c *Client, body []byte)
	// Done says that the client's Watch or Publish is answered.
	Done(c *Client, status int)
	// Told says that somebody whom the client watches has changed.
	Told(c *Client)
	// Gone says that the connection has ended, or that the login was refused.
	// It is not called for Client.Close.
	Gone(c *Client, err error)
}

// Ignore is an Events that does nothing, for embedding in those to whom only
// some of it matters.
type Ignore struct{}

// Ready does nothing, as all methods of Ignore.
func (Ignore) Ready(*Client)               {}
func (Ignore) Result(*Client, uint64, int) {}
func (Ignore) Message(*Client, []byte)     {}
func (Ignore) Done(*Client, int)           {}
func (Ignore) Told(*Client)                {}
func (Ignore) Gone(*Client, error)         {}

// Client is a user on a connection.
type Client struct {
	Name   string // the user, as the dialect writes it
	Number int    // the load's own
	Events Events // may be changed between events

	conn    outbox
	speaker speaker
	sent    uint64 // messages
}

// outbox buffers what a client writes.
type outbox interface {
	Outbox() []byte
	SetOutbox([]byte)
	Close()
}

// speaker is one client's side of a conversation. All but octets append to dst.
type speaker interface {
	octets(c *Client, b []byte) (used int, err error)
	hello(c *Client, dst []byte) []byte
	send(c *Client, dst []byte, n uint64, to string, body []byte) []byte
	watch(c *Client, dst []byte, user string) []byte
	publish(c *Client, dst []byte, n int) []byte
	// ended explains the end of the connection, if more is known than err.
	ended(err error) error
}

// Dialect is the protocol in which clients speak to the subject: Relay or *SIMP.
type Dialect interface {
	// User returns the name of user number n.
	User(n int) string
	speaker() speaker
}

// Login opens a connection from the local address from (zero: any) for user
// number n; events.Ready or events.Gone follows.
func (l *Loop) Login(d Dialect, n int, at netip.AddrPort, from netip.Addr, events Events) (*Client, error) {
	c := &Client{Name: d.User(n), Number: n, Events: events, speaker: d.speaker()}
	conn, err := l.Dial(at, from, c)
	if err != nil {
		return nil, fmt.Errorf("user %d: %w", n, err)
	}
	c.conn = conn
	c.write(c.speaker.hello(c, conn.Outbox()))
	return c, nil
}

// Octets is for the Loop.
func (c *Client) Octets(b []byte) (int, error) { return c.speaker.octets(c, b) }

// Closed is for the Loop.
func (c *Client) Closed(err error) { c.Events.Gone(c, c.speaker.ended(err)) }

// write takes the outbox, longer than it was, back to the connection.
func (c *Client) write(b []byte) { c.conn.SetOutbox(b) }

// Send sends a message, and returns its number: 1, 2, 3 … of this client.
func (c *Client) Send(to string, body []byte) uint64 {
	c.sent++
	c.write(c.speaker.send(c, c.conn.Outbox(), c.sent, to, body))
	return c.sent
}

// Watch asks to be told of a user's changes.
func (c *Client) Watch(user string) {
	c.write(c.speaker.watch(c, c.conn.Outbox(), user))
}

// Publish makes a change that all watchers of the client see. Numbers that
// follow one another have to differ in parity.
func (c *Client) Publish(n int) {
	c.write(c.speaker.publish(c, c.conn.Outbox(), n))
}

// Close ends the connection at once.
func (c *Client) Close() { c.conn.Close() }
