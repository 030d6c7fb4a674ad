package protocol

import (
	"net/netip"
	"time"
)

// Client says who is at the other end of an authenticated connection.
type Client struct {
	User       Address        // whose notification connection it is; zero on a routing connection
	Domain     string         // the domain a routing connection speaks for; else empty
	Agent      string         // what HELLO named
	Remote     netip.AddrPort // the client's end, as the PROXY protocol or the socket says
	Credential uint64         // the account's credential index that was proved
	Transport  Transport
	Certified  bool // Domain was proved by a certificate
	// SharesSource reports that the limits by source do not count Remote, because
	// many clients share it.
	SharesSource bool
	// UsesAppPassword reports that an app password was proved: Credential is its
	// ID.
	UsesAppPassword bool
	// Expiry is the end of the credential, and of the session; nil: never.
	Expiry *Expiry
}

// Expiry says when and why a login ends by itself.
type Expiry struct {
	At     time.Time
	Reason string // for the user, as "token expired"
}

// AppPassword returns the ID of the app password that was proved; 0: the
// account's own password.
func (c *Client) AppPassword() uint64 {
	if c.UsesAppPassword {
		return c.Credential
	}
	return 0
}

// Transport is the way in which a client reached the node; a MOVE names a target that fits.
type Transport uint8

// The transports.
const (
	PlainTCP Transport = iota // SIMP with or without STARTTLS
	TLS                       // TLS from the first octet
	WebSocket
)

// Session is a connection's conversation as the rest of the site sees it: what
// may be told to the client unasked. All methods may be called from any
// goroutine, never block, and do nothing once the connection has ended.
type Session interface {
	Inbox
	Client() Client
	// Notify shows a change of presence. Of several unwritten ones for one
	// address only the newest is written.
	Notify(n *Notice)
	// NotifyKeys shows a change of a list of keys, likewise. Clients of SIMP/1.0
	// are shown none.
	NotifyKeys(n *KeyNotice)
	// NotifyContact shows a change of the contacts through groups, likewise. It
	// reports whether the client knows such changes.
	NotifyContact(n *ContactNotice) bool
	// Displaced tells the client that its session was displaced.
	Displaced(why string)
	// Stale and Fresh bracket the time in which presence can't be known.
	Stale()
	Fresh(index uint64)
	// Move asks the client to go to another node; to may be empty.
	Move(to string, within time.Duration, why string)
	// Bye says the last line and closes.
	Bye(status Status, why string)
}

// Notice is a change of presence, made once and shared by all who are told.
type Notice struct {
	Presence
	// By names the watchers on a routing connection for whom it is; else nil.
	By []Address
}
