package client

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"sync"
	"time"

	"simpd/protocol"
	"simpd/protocol/budget"
)

// RelayConfig says for whom a Relay speaks, and what it may do. The functions
// are asked anew each time, from any goroutine, so that what they tell may
// change; only Federation and Secret are wanted.
type RelayConfig struct {
	Federation func() *protocol.Federation
	// Secret is what the site's dialbacks are proved with, the same on all of
	// its nodes.
	Secret func() []byte
	// Certificate returns the certificate of one of the site's own domains;
	// nil: there is none, so that dialback has to do.
	Certificate func(own string) *tls.Certificate
	// Roots are the authorities to trust; nil: the system's.
	Roots func() *x509.CertPool

	Agent      string
	MaxDomains int // other domains dealt with at a time; 0: 4096
	// MaxMemory bounds what users have under way to other sites, and what those
	// make the relay keep, in octets; 0: 96 MiB. Users, and registrable domains,
	// have shares in it.
	MaxMemory int
	// MaxTried is how many other domains may be tried for one user, or have
	// been in the last minutes, without that a connection came about; 0: 100.
	MaxTried int
	// Resolver and Dial replace those of package net.
	Resolver Resolver
	Dial     func(ctx context.Context, network, address string) (net.Conn, error)
	Logger   *slog.Logger // nil: silent
}

const (
	defaultMaxDomains = 4096
	defaultMaxTried   = 100
	defaultMaxMemory  = 96 << 20
)

func (c RelayConfig) withDefaults() RelayConfig {
	if c.Certificate == nil {
		c.Certificate = func(string) *tls.Certificate { return nil }
	}
	if c.Roots == nil {
		c.Roots = func() *x509.CertPool { return nil }
	}
	if c.MaxDomains == 0 {
		c.MaxDomains = defaultMaxDomains
	}
	if c.MaxMemory == 0 {
		c.MaxMemory = defaultMaxMemory
	}
	if c.MaxTried == 0 {
		c.MaxTried = defaultMaxTried
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
	return c
}

// Relay reaches other sites (SIMP.md, section 9) over one routing connection
// for each pair of an own and another domain, kept while it is used. What is
// wrong with one other site costs the others nothing: each has a queue, a
// pause after failures and limits of its own. Its methods may be called from
// any goroutine.
type Relay struct {
	RelayConfig
	names     *names
	memory    *budget.Pool                     // MaxMemory
	senders   *budget.Owners[protocol.Address] // of memory: what users have under way
	places    shares                           // of users, in the table of partners
	domains   *budget.Pool                     // of accounts, in the table of partners
	verifying verifying

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup

	postponed postponed

	mu       sync.Mutex
	partners map[way]*partner
	accounts map[string]*account      // of registrable domains that have a partner
	tried    map[protocol.Address]int // partners that were made for a user, and never connected
	closed   bool
}

// way is whose users speak to whose.
type way struct{ own, other string }

// NewRelay makes a relay that has no connection yet.
func NewRelay(c RelayConfig) *Relay {
	c = c.withDefaults()
	memory := budget.NewPool(int64(c.MaxMemory))
	r := &Relay{
		RelayConfig: c, names: newNames(c.Resolver), verifying: newVerifying(),
		memory: memory, senders: budget.NewOwners[protocol.Address](memory),
		places: newShares(c.MaxDomains), domains: budget.NewPool(int64(c.MaxDomains) * place),
		partners: make(map[way]*partner), accounts: make(map[string]*account), tried: make(map[protocol.Address]int),
		postponed: postponed{wishes: make(map[pair]*wish)},
	}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	return r
}

// Close ends all connections and waits for what the relay has begun. What is
// under way is in doubt.
func (r *Relay) Close() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	for _, p := range r.all() {
		p.close(protocol.Outcome{Status: protocol.StatusUnavailable, Text: "this node is shutting down"})
	}
	r.cancel()
	r.beginAll() // which begins nothing any more
	r.wg.Wait()
}

func (r *Relay) all() []*partner {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]*partner, 0, len(r.partners))
	for _, p := range r.partners {
		all = append(all, p)
	}
	return all
}

// Recheck ends what the federation, which has changed, does not admit, and
// begins to watch what it did not admit before.
func (r *Relay) Recheck() {
	f := r.Federation()
	for _, p := range r.all() {
		if err := f.Admits(p.own, p.other); err != nil {
			r.part(p, outcomeOf(err))
		}
	}
	r.beginAll()
}

// part closes a partner; what is watched there is postponed.
func (r *Relay) part(p *partner, why protocol.Outcome) {
	r.postponed.watching.Lock()
	defer r.postponed.watching.Unlock()
	for p, tell := range p.close(why) {
		r.postpone(p, &wish{tell: tell})
	}
}

// Send delivers m to a user of another site, as protocol.Inbox says. Its
// statuses, besides those of the other site, are 504 and 502 (nothing was
// handed over), 403 (the federation does not admit it), 429 (too many sites
// that can't be reached were tried for the sender) and 201.
func (r *Relay) Send(m *protocol.Message, done func(protocol.Outcome)) {
	r.run(m.From, m.To, sendErrand(m, done))
}

// run has an errand of by's to to done, whatever it takes.
func (r *Relay) run(by, to protocol.Address, e *errand) {
	for {
		p, err := r.partner(way{by.Domain(), to.Domain()}, by)
		if err != nil {
			e.done(answer{failed: outcomeOf(err)})
			return
		}
		if p.run(e) {
			return
		}
	}
}

// Watch has of watched for by, as router.Relay says.
func (r *Relay) Watch(by, of protocol.Address, tell func(protocol.Presence)) {
	r.postponed.watching.Lock()
	defer r.postponed.watching.Unlock()
	r.begin(pair{by, of}, &wish{tell: tell})
}

// Unwatch ends Watch.
func (r *Relay) Unwatch(by, of protocol.Address) {
	r.postponed.watching.Lock()
	defer r.postponed.watching.Unlock()
	delete(r.postponed.wishes, pair{by, of})
	r.mu.Lock()
	p := r.partners[way{by.Domain(), of.Domain()}]
	r.mu.Unlock()
	if p != nil {
		p.unwatch(by, of)
	}
}

// queryTime is how long a QUERY without a deadline may take.
const queryTime = 2 * time.Second

// Query asks for the presence of a user once; Unknown when no answer comes
// before ctx ends.
func (r *Relay) Query(ctx context.Context, by, of protocol.Address) protocol.Presence {
	until, ok := ctx.Deadline()
	if !ok {
		until = time.Now().Add(queryTime)
	}
	said := make(chan protocol.Presence, 1)
	r.run(by, of, queryErrand(by, of, until, func(p protocol.Presence) { said <- p }))
	select {
	case p := <-said:
		return p
	case <-ctx.Done():
		return unknown(of)
	}
}

func unknown(of protocol.Address) protocol.Presence {
	return protocol.Presence{Address: of, State: protocol.Unknown}
}

// Proof returns what proves to called, by dialback, that who says nonce's
// answer is caller, a domain of this site (SIMP.md, section 9).
func (r *Relay) Proof(caller, called string, nonce []byte) []byte {
	mac := hmac.New(sha256.New, r.Secret())
	mac.Write([]byte(caller))
	mac.Write([]byte{0})
	mac.Write([]byte(called))
	mac.Write([]byte{0})
	mac.Write(nonce)
	return mac.Sum(nil)
}
