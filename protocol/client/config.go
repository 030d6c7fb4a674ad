package client

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"simpd/protocol"
)

// Config says who talks to whom, and who is told. User and Password are
// wanted; the zero of everything else will do.
type Config struct {
	User     protocol.Address
	Password string

	// Server is the host:port to use. Empty: the home server of the user's
	// domain is looked up (SIMP.md, section 9).
	Server string
	// Security is how the connection is kept from others' eyes.
	Security Security
	// TLS has the certificates to trust, if not the system's. Its ServerName
	// and InsecureSkipVerify are not heeded: the certificate has to be valid
	// for the domain of User.
	TLS *tls.Config
	// AllowPrivate lets a looked-up server have a loopback or private address.
	AllowPrivate bool

	Agent string // how the program calls itself; at most protocol.MaxNote octets

	// OnMessage takes a message: shows or keeps it, and returns nil, which
	// tells the sender "delivered". With an error the sender is told
	// "refused", and the error's text; with ErrNoAnswer nothing. It is called
	// for one message at a time, in the order of their coming; the context
	// ends with Close. Nil refuses all.
	OnMessage func(ctx context.Context, m *protocol.Message) error
	// OnPresence is told the presence of the watched, first as it is and then
	// at every change, one at a time. Of changes that come faster than it
	// returns, only the newest of each address is told.
	OnPresence func(p protocol.Presence)
	// OnEvent is told how the connection fares, in order with OnPresence.
	OnEvent func(e Event)

	// MaxMessage bounds what is taken from the server, in octets. 0: 1 MiB.
	MaxMessage int
	// Resolver and Dial replace those of package net.
	Resolver Resolver
	Dial     func(ctx context.Context, network, address string) (net.Conn, error)
	Logger   *slog.Logger // nil: silent
}

// Resolver is what is asked of DNS; *net.Resolver is one.
type Resolver interface {
	LookupSRV(ctx context.Context, service, proto, name string) (cname string, addrs []*net.SRV, err error)
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Security is how a connection is kept from others' eyes.
type Security uint8

// The kinds of security. The zero Security begins TLS at once on port 7468,
// and by STARTTLS elsewhere; a looked-up server says which it wants.
const (
	ByPort    Security = iota
	StartTLS           // the connection begins in clear, and gives up if TLS is missing or refused
	TLS                // TLS from the first octet
	Plaintext          // no TLS; to this machine only
)

// Event is something that happened to the connection.
type Event struct {
	Kind  EventKind
	Text  string // for people: why
	Index uint64 // Fresh: the index up to which nothing is missed; else 0
	Err   error  // Lost, Retrying: what went wrong
}

// EventKind tells what happened.
type EventKind uint8

// The kinds of events.
const (
	Connected  EventKind = iota // again: listening and watching as before
	Lost                        // the connection ended; another is made
	Retrying                    // no connection came about; another is tried
	Moved                       // now on another node, and off the old one
	Unlistened                  // another session displaced this one, which does not listen any more
	Stale                       // presence is not known until Fresh
	Fresh                       // presence is known again
)

// String names the kind for logs.
func (k EventKind) String() string {
	names := [...]string{"connected", "lost", "retrying", "moved", "unlistened", "stale", "fresh"}
	if int(k) < len(names) {
		return names[k]
	}
	return "unknown"
}

const (
	defaultMaxMessage = 1 << 20
	connectTimeout    = 7 * time.Second  // for finding a domain's server, and then for TCP to one target
	handshakeTimeout  = 15 * time.Second // for TLS, within loginTimeout
	loginTimeout      = 30 * time.Second // for TLS, HELLO and AUTH
	answerTimeout     = 15 * time.Second // the server answers within 10 s
	leaveTimeout      = 5 * time.Second  // QUIT, and the answers before it
	aliveTimeout      = 30 * time.Second // without an answer to PING
)

func (c Config) withDefaults() Config {
	if c.MaxMessage == 0 {
		c.MaxMessage = defaultMaxMessage
	}
	if c.Resolver == nil {
		c.Resolver = net.DefaultResolver
	}
	if c.Dial == nil {
		c.Dial = dialTCP
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
	if c.OnEvent == nil {
		c.OnEvent = func(Event) {}
	}
	return c
}

func refuseAll(context.Context, *protocol.Message) error {
	return protocol.Errorf(protocol.StatusRefused, "this client takes no messages")
}
