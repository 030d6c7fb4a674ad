package server

import (
	"crypto/x509"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"simpd/protocol"
	"simpd/protocol/rate"
)

// Config configures a Server. A limit of zero means the default.
type Config struct {
	Backend Backend
	Domains []string // the site's, in canonical form; HELLO names the first

	// Certificates are for STARTTLS and TLS; nil means that TLS is not offered.
	Certificates *Certificates
	// Federation provides what other sites' servers need; nil means that none
	// may connect.
	Federation Federation
	// UserRoots returns the authorities of certificates with which users may log
	// in (EXTERNAL); nil, or a nil pool: users can't.
	UserRoots func() *x509.CertPool
	// Insecure allows PLAIN, PASSWD and JOIN without TLS, for loopback only.
	Insecure bool

	Idle time.Duration // silence after which a client is sent PING; 300 s

	// MaxHeld limits the octets held for all clients together; 256 MiB. Above it
	// new requests get 429 and messages 481.
	MaxHeld int64
	// Exempt lists source networks that are exempt from the limits by source.
	Exempt []netip.Prefix
	// Balancers are the networks whose connections must begin with a PROXY
	// protocol header (v1 or v2).
	Balancers []netip.Prefix
	// ForwardedFrom lists HTTP proxies whose X-Forwarded-For is trusted for
	// WebSockets.
	ForwardedFrom []netip.Prefix
	// Origins are the web pages that may open a WebSocket, as patterns of hosts
	// (path.Match). The page's own host may too, if Hosts allows it.
	Origins []string
	// Web serves GET and HEAD of the paths other than /simp on the listener for
	// WebSockets, to requests whose Host is allowed; nil: they get 404.
	Web http.Handler
	// Hosts are the names that WebSocket requests may use for the server,
	// besides IP addresses, localhost, the Domains, hosts of Origins, and with
	// TLS the names in the certificates. Any other Host gets 421, unless the
	// request's Origin is one of Origins.
	Hosts []string

	// Limits limits requests per user; Server.SetLimits changes them.
	Limits Limits

	Metrics *Metrics     // nil: not counted
	Logger  *slog.Logger // nil: slog.Default()

	// What follows is the same in every program; tests set other numbers.
	iterations               int // PBKDF2 iterations for new passwords; 10,000
	maxConnections           int // in total; 100,000
	maxUnauthenticated       int // not authenticated yet; 10,000
	perSource                int // from one address (IPv6: /64); 200
	perSourceUnauthenticated int // of them not authenticated yet; 50
}

// Limits limits the requests of one user on this node, on all their
// connections together. A request above a limit gets 429. The zero Limits do
// not limit. Messages and watches have limits of the whole site (User).
type Limits struct {
	Commands rate.Limit // requests except SEND, PING and QUIT
	// Changes limits LISTEN, STATE, UNLISTEN, CONTACT, ACL and KEY. A CONTACT, a
	// KEY, or a rule that does not concern presence and did not before, counts
	// apart from the others: 64 for each of the burst, and 16 for each of the rate.
	// A change that comes too early waits up to 5 s; meanwhile a STATE is merged
	// with those that follow it.
	Changes rate.Limit
}

func (c Config) withDefaults() (Config, error) {
	if c.Backend == nil {
		return c, errors.New("server: Config.Backend is required")
	}
	if len(c.Domains) == 0 {
		return c, errors.New("server: Config.Domains is required")
	}
	setDefault(&c.Idle, 300*time.Second)
	setDefault(&c.iterations, protocol.ScramIterations)
	setDefault(&c.maxConnections, 100_000)
	setDefault(&c.maxUnauthenticated, 10_000)
	setDefault(&c.perSource, 200)
	setDefault(&c.perSourceUnauthenticated, 50)
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
	authTimeout      = 30 * time.Second // until a client is authenticated
	handshakeTimeout = 15 * time.Second // of those, for the TLS handshake
	pingTimeout      = 30 * time.Second // until a PING is answered
	blockedTimeout   = 10 * time.Second // while a client reads nothing
	lingerTime       = time.Second      // how long input is dropped after BYE
	lineTimeout      = 25 * time.Second // for a line, and for each minLiteralOctets of a literal
	turnTimeout      = 8 * time.Second  // while a login waits for its turn
)

// minLiteralOctets is how many octets of a literal must arrive within
// lineTimeout.
const minLiteralOctets = 2500

const (
	maxErrors   = 10 // lines without a tag
	maxFailures = 5  // logins
)
