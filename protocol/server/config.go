package server

import (
	"errors"
	"log/slog"
	"net/netip"
	"time"

	"simpd/protocol"
	"simpd/protocol/rate"
)

// Config configures a Server. A limit of zero means the default.
type Config struct {
	Backend Backend
	Domains []string // the site's, canonical; the first is named in HELLO

	// Certificates are for STARTTLS and TLS; nil: TLS is not offered.
	Certificates *Certificates
	// Partners is what other sites' servers need; nil: none may connect.
	Partners Partners
	// Insecure allows PLAIN and PASSWD in clear. For loopback only.
	Insecure bool

	Size       int           // the largest message, in octets; 65536
	Idle       time.Duration // silence after which a client is sent PING; 300 s
	Iterations int           // of PBKDF2, for new passwords; 10,000

	MaxConnections     int // in all; 100,000
	MaxUnauthenticated int // of them not authenticated; 10,000
	PerSource          int // connections from one address (IPv6: /64); 200
	PerSourceUnproved  int // of them not authenticated; 50
	// MaxHeld is how many octets are held for all clients together; 256 MiB.
	// Above that new requests are answered 429 and messages 481.
	MaxHeld int64
	// Exempt lists source networks that are exempt from the limits by source.
	Exempt []netip.Prefix
	// Balancers are who speaks the PROXY protocol (v1 or v2), and has to.
	Balancers []netip.Prefix
	// ForwardedFrom are HTTP proxies that are believed whose WebSocket they
	// pass on, by X-Forwarded-For.
	ForwardedFrom []netip.Prefix
	// Origins are the web pages that may open a WebSocket, as patterns of
	// hosts (path.Match); the page's own host may too, if Hosts allows it.
	Origins []string
	// Hosts are the names by which WebSocket requests may call the server,
	// besides IP addresses, localhost, the Domains, hosts of Origins, and under
	// TLS what the certificates name. Any other Host is answered 421, unless
	// the request's Origin is one of Origins.
	Hosts []string

	// Limits are how often each user may ask something; Server.SetLimits changes them.
	Limits Limits

	Metrics *Metrics     // nil: counted nowhere
	Logger  *slog.Logger // nil: slog.Default()
}

// Limits configures how often a user may ask something of this node, on all
// connections of theirs together. What exceeds a limit is answered 429. The
// zero Limits limit nothing.
type Limits struct {
	Commands rate.Limit // requests other than SEND, PING and QUIT
	Messages rate.Limit // messages, counted once for each recipient
	// Changes are LISTEN, STATE, UNLISTEN, CONTACT and ACL. A CONTACT, or a rule
	// that says nothing of presence and did not before, counts as a 64th of
	// what watchers may be told. A change that comes too early waits up to 5 s;
	// meanwhile a STATE is merged with those that follow it.
	Changes rate.Limit
	// Watches are addresses that WATCH and QUERY ask about. For a remote domain
	// the limit is ten times as high.
	Watches rate.Limit
}

func (c Config) withDefaults() (Config, error) {
	if c.Backend == nil {
		return c, errors.New("server: Config.Backend is required")
	}
	if len(c.Domains) == 0 {
		return c, errors.New("server: Config.Domains is required")
	}
	setDefault(&c.Size, 64<<10)
	setDefault(&c.Idle, 300*time.Second)
	setDefault(&c.Iterations, protocol.ScramIterations)
	setDefault(&c.MaxConnections, 100_000)
	setDefault(&c.MaxUnauthenticated, 10_000)
	setDefault(&c.PerSource, 200)
	setDefault(&c.PerSourceUnproved, 50)
	setDefault(&c.MaxHeld, 256<<20)
	if c.Metrics == nil {
		c.Metrics = new(Metrics)
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c, nil
}

func setDefault[T comparable](v *T, d T) {
	if *v == *new(T) {
		*v = d
	}
}

// Times that the contract fixes.
const (
	proveTime     = 30 * time.Second // until a client is authenticated
	handshakeTime = 15 * time.Second // of those, for the TLS handshake
	pingTime      = 30 * time.Second // until a PING is answered
	stuckTime     = 10 * time.Second // that a client may take nothing
	lingerTime    = time.Second      // that input is dropped after BYE
	openTime      = 25 * time.Second // for a line, and each slowest octets of a literal
	turnTime      = 8 * time.Second  // that a login waits for its turn
)

// slowest is how many octets of a literal have to come in openTime.
const slowest = 2500

const (
	maxErrors   = 10 // lines without a tag
	maxFailures = 5  // logins
)
