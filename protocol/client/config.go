package client

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"time"

	"simpd/protocol"
	"simpd/protocol/dns"
	"simpd/protocol/internal/outbound"
)

// Config configures a Client. User, and Password or Token, are required; the
// zero value of every other field is usable.
type Config struct {
	User     protocol.Address
	Password string
	// Token returns an OAuth token to log in with, instead of a password, each
	// time that the client connects. Before the token of a connection expires,
	// the client connects with another, and leaves the old connection afterwards.
	Token func(ctx context.Context) (Token, error)

	// Server is the host:port to connect to. If it is empty, the home server of
	// the user's domain is looked up (SIMP.md, section 9).
	Server string
	// Security selects how the connection is protected.
	Security Security
	// TLS may hold the certificates to trust instead of the system's. Its
	// ServerName and InsecureSkipVerify are ignored: the certificate must be
	// valid for the domain of User.
	TLS *tls.Config
	// AllowPrivate allows a server found by DNS to have a loopback or private
	// address.
	AllowPrivate bool

	Agent string // name of the program; at most protocol.MaxNote octets

	// OnMessage handles a message. If it returns nil, the sender is told
	// "delivered". If it returns an error, the sender is told "refused" and the
	// error's text; for ErrNoAnswer the sender is told nothing. It is called for
	// one message at a time, in the order of arrival. The context ends with
	// Close. Nil refuses all messages.
	OnMessage func(ctx context.Context, m *protocol.Message) error
	// OnPresence receives the presence of watched users, first the present one
	// and then each change, one at a time. If changes arrive faster than it
	// returns, only the newest for each address is delivered.
	OnPresence func(p protocol.Presence)
	// OnKeys receives changes of the keys of the user's own devices and of those
	// of watched users (SIMP.md, section 15), in order with OnPresence. Changes
	// while there was no connection are not reported.
	OnKeys func(n protocol.KeyNotice)
	// OnContact receives changes of the contacts through groups of a directory,
	// once WatchContacts was called (SIMP.md, section 8), in order with OnPresence.
	// Changes while there was no connection are not reported.
	OnContact func(n protocol.ContactNotice)
	// OnEvent receives events of the connection, in order with OnPresence.
	OnEvent func(e Event)

	// Resolver and Dial replace those of package net.
	Resolver dns.Resolver
	Dial     func(ctx context.Context, network, address string) (net.Conn, error)
	Logger   *slog.Logger // nil disables logging
}

// Security is how a connection is protected.
type Security uint8

// The kinds of security. AutoTLS, the zero value, uses TLS from the first
// octet on port 7468 and STARTTLS on other ports; for a server found by DNS,
// its record decides.
const (
	AutoTLS   = Security(outbound.AutoTLS)
	StartTLS  = Security(outbound.StartTLS)  // the connection begins in plaintext, and fails if TLS is missing or refused
	TLS       = Security(outbound.TLS)       // TLS from the first octet
	Plaintext = Security(outbound.Plaintext) // no TLS; only on loopback
)

// Event describes a change of the connection.
type Event struct {
	Kind  EventKind
	Text  string // the reason, for people
	Index uint64 // Fresh: changes up to this index have been delivered; else 0
	Err   error  // Lost, Retrying: the cause
}

// EventKind is the kind of an Event.
type EventKind uint8

// The kinds of events.
const (
	Connected  EventKind = iota // reconnected, listening and watching as before
	Lost                        // the connection ended; reconnecting
	Retrying                    // an attempt to connect failed; trying again
	Moved                       // now connected to another node
	Unlistened                  // another session displaced this one, which no longer listens
	Stale                       // presence is not known until Fresh
	Fresh                       // presence is known again
)

// String returns the kind's name for logs.
func (k EventKind) String() string {
	names := [...]string{"connected", "lost", "retrying", "moved", "unlistened", "stale", "fresh"}
	if int(k) < len(names) {
		return names[k]
	}
	return "unknown"
}

const (
	maxMessage     = 1 << 20          // octets of a received message
	connectTimeout = 7 * time.Second  // for TCP to one target
	loginTimeout   = 30 * time.Second // for TLS, HELLO and AUTH
	answerTimeout  = 15 * time.Second // the server answers within 10 s
	leaveTimeout   = 5 * time.Second  // QUIT, and the answers before it
)

func (c Config) withDefaults() Config {
	if c.Resolver == nil {
		c.Resolver = net.DefaultResolver
	}
	if c.Dial == nil {
		c.Dial = outbound.DialTCP
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.OnMessage == nil {
		c.OnMessage = refuseAll
	}
	if c.OnPresence == nil {
		c.OnPresence = func(protocol.Presence) {}
	}
	if c.OnKeys == nil {
		c.OnKeys = func(protocol.KeyNotice) {}
	}
	if c.OnContact == nil {
		c.OnContact = func(protocol.ContactNotice) {}
	}
	if c.OnEvent == nil {
		c.OnEvent = func(Event) {}
	}
	return c
}

func refuseAll(context.Context, *protocol.Message) error {
	return protocol.Errorf(protocol.StatusRefused, "this client takes no messages")
}
