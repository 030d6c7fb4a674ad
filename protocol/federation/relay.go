package federation

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"simpd/protocol"
	"simpd/protocol/budget"
	"simpd/protocol/dns"
	"simpd/protocol/internal/outbound"
	"simpd/protocol/signature"
)

// Config configures a Relay. The functions are called each time, from
// any goroutine, so their results may change. Only Federation and Secret are
// required.
type Config struct {
	Federation func() *protocol.Federation
	// Secret returns the key for the site's dialback proofs, the same on all
	// nodes.
	Secret func() []byte
	// Certificate returns the certificate of one of the site's domains; nil
	// means that there is none, so that only dialback is possible.
	Certificate func(own string) *tls.Certificate
	// Roots returns the trusted authorities; nil means the system's.
	Roots func() *x509.CertPool

	Agent string // name of the program; at most protocol.MaxNote octets
	// Resolver and Dial replace those of package net.
	Resolver dns.Resolver
	Dial     func(ctx context.Context, network, address string) (net.Conn, error)
	Logger   *slog.Logger // nil disables logging
}

// limits bound what a Relay keeps.
type limits struct {
	Domains int // remote domains at a time
	// Memory limits the octets of pending requests and of data that remote
	// sites make the relay store. Users and registrable domains have shares of
	// it.
	Memory int64
	// Tried limits for each user the remote domains that were tried in the last
	// minutes without success.
	Tried int
}

var defaultLimits = limits{Domains: 4096, Memory: 96 << 20, Tried: 100}

func (c Config) withDefaults() Config {
	if c.Certificate == nil {
		c.Certificate = func(string) *tls.Certificate { return nil }
	}
	if c.Roots == nil {
		c.Roots = func() *x509.CertPool { return nil }
	}
	if c.Resolver == nil {
		c.Resolver = net.DefaultResolver
	}
	if c.Dial == nil {
		c.Dial = outbound.DialTCP
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Relay connects to other sites (SIMP.md, section 9) over one routing
// connection for each pair of a local and a remote domain, kept while it is
// used. A faulty remote site does not affect the others: each has its own
// queue, backoff and limits. Any goroutine may call its methods.
type Relay struct {
	config       Config
	limits       limits
	dns          *dnsCache
	memoryPool   *budget.Pool                     // limits.Memory
	senderShares *budget.Owners[protocol.Address] // of memoryPool: pending requests by user
	placeShares  userShares                       // of users, in the table of remote domains
	domainPool   *budget.Pool                     // of registrants, in the table of remote domains
	verifySlots  verifySlots

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup

	deferred deferredWatches
	onKeys   atomic.Pointer[func(by, of protocol.Address, n protocol.KeyNotice)] // see OnKeys
	started  time.Time                                                           // which the idle times of remote domains count from

	mu          sync.Mutex
	remotes     map[domainPair]*remoteDomain
	registrants map[string]*registrant   // those with a remoteDomain
	attempts    map[protocol.Address]int // remoteDomains by user that never had a connection
	closed      bool
}

// domainPair is a local and a remote domain.
type domainPair struct{ local, remote string }

// New returns a Relay without connections.
func New(c Config) *Relay { return newRelay(c.withDefaults(), defaultLimits) }

func newRelay(c Config, l limits) *Relay {
	memory := budget.NewPool(l.Memory)
	r := &Relay{
		config: c, limits: l, dns: newDNSCache(c.Resolver), verifySlots: newVerifySlots(),
		memoryPool: memory, senderShares: budget.NewOwners[protocol.Address](memory),
		placeShares: newUserShares(l.Domains), domainPool: budget.NewPool(int64(l.Domains) * placeOctets),
		remotes: make(map[domainPair]*remoteDomain), registrants: make(map[string]*registrant), attempts: make(map[protocol.Address]int),
		deferred: deferredWatches{watches: make(map[pair]*deferredWatch)}, started: time.Now(),
	}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	return r
}

// Close closes all connections and waits for the relay's goroutines. Pending
// messages are in doubt.
func (r *Relay) Close() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	for _, p := range r.remoteDomains() {
		p.close(protocol.Outcome{Status: protocol.StatusUnavailable, Text: "this node is shutting down"})
	}
	r.cancel()
	r.retryDeferred() // which begins nothing any more
	r.wg.Wait()
}

func (r *Relay) remoteDomains() []*remoteDomain {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]*remoteDomain, 0, len(r.remotes))
	for _, p := range r.remotes {
		all = append(all, p)
	}
	return all
}

// Revalidate closes what the changed federation policy does not allow, and
// starts watches that it did not allow before.
func (r *Relay) Revalidate() {
	f := r.config.Federation()
	for _, p := range r.remoteDomains() {
		if err := f.CheckAllowed(p.local, p.remote); err != nil {
			r.closeDomain(p, failureOutcome(err))
		}
	}
	r.retryDeferred()
}

// closeDomain closes a remoteDomain and defers its watches.
func (r *Relay) closeDomain(p *remoteDomain, why protocol.Outcome) {
	r.deferred.watchMu.Lock()
	defer r.deferred.watchMu.Unlock()
	for p, tell := range p.close(why) {
		r.deferWatch(p, &deferredWatch{tell: tell})
	}
}

// Send delivers m to a user of another site, with the contract of
// protocol.Inbox. Its statuses, besides those of the other site, are 504 and
// 502 (nothing was sent), 403 (the federation policy does not allow it), 429
// (too many unreachable sites were tried for the sender) and 201.
func (r *Relay) Send(m *protocol.Message, done func(protocol.Outcome)) {
	r.submit(m.From, m.To, newSend(m, done))
}

// Refuse ends m as if its recipient did not listen, once their site has answered
// a question about them, with the contract of router.Relay. What fails, fails as
// it does for Send.
func (r *Relay) Refuse(m *protocol.Message, done func(protocol.Outcome)) {
	r.submit(m.From, m.To, newRefusal(m, done))
}

// submit submits a request of by about to.
func (r *Relay) submit(by, to protocol.Address, e *s2sRequest) {
	for {
		p, err := r.remoteDomain(domainPair{by.Domain(), to.Domain()}, by)
		if err != nil {
			e.done(s2sResponse{failed: failureOutcome(err)})
			return
		}
		if p.submit(e) {
			return
		}
	}
}

// Watch watches of for by, with the contract of router.Relay.
func (r *Relay) Watch(by, of protocol.Address, tell func(protocol.Presence)) {
	r.deferred.watchMu.Lock()
	defer r.deferred.watchMu.Unlock()
	r.startWatch(pair{by, of}, &deferredWatch{tell: tell})
}

// Unwatch undoes Watch.
func (r *Relay) Unwatch(by, of protocol.Address) {
	r.deferred.watchMu.Lock()
	defer r.deferred.watchMu.Unlock()
	delete(r.deferred.watches, pair{by, of})
	r.mu.Lock()
	p := r.remotes[domainPair{by.Domain(), of.Domain()}]
	r.mu.Unlock()
	if p != nil {
		p.unwatch(by, of)
	}
}

// queryTimeout limits a QUERY without a deadline.
const queryTimeout = 2 * time.Second

// Query asks for the presence of a user once. It returns Unknown if no answer
// arrives before ctx ends.
func (r *Relay) Query(ctx context.Context, by, of protocol.Address) protocol.Presence {
	until, ok := ctx.Deadline()
	if !ok {
		until = time.Now().Add(queryTimeout)
	}
	said := make(chan protocol.Presence, 1)
	r.submit(by, of, newQuery(by, of, until, func(p protocol.Presence) { said <- p }))
	select {
	case p := <-said:
		return p
	case <-ctx.Done():
		return unknownPresence(of)
	}
}

// Keys asks for the keys of a remote user's devices, with the contract of
// router.Relay.
func (r *Relay) Keys(ctx context.Context, q protocol.KeysRequest) ([]signature.Key, signature.Head, error) {
	until, ok := ctx.Deadline()
	if !ok {
		until = time.Now().Add(queryTimeout)
	}
	answered := make(chan keyAnswer, 1)
	r.submit(q.By, q.Of, newKeysRequest(q, until, func(a keyAnswer) { answered <- a }))
	select {
	case a := <-answered:
		return a.keys, a.head, a.err
	case <-ctx.Done():
		return nil, signature.Head{}, protocol.Errorf(protocol.StatusRemoteTimeout, "no answer came from the user's site")
	}
}

// Report passes a report on to the reported user's site, with the contract of
// router.Relay.
func (r *Relay) Report(ctx context.Context, q protocol.Report) error {
	until, ok := ctx.Deadline()
	if !ok {
		until = time.Now().Add(protocol.RequestTimeout)
	}
	answered := make(chan error, 1)
	r.submit(q.By, q.About, newReport(q, until, func(err error) { answered <- err }))
	select {
	case err := <-answered:
		return err
	case <-ctx.Done():
		return protocol.Errorf(protocol.StatusRemoteTimeout, "no answer came from the user's site")
	}
}

// OnKeys has tell called when the keys of a watched user have changed, with
// the contract of router.Relay.
func (r *Relay) OnKeys(tell func(by, of protocol.Address, n protocol.KeyNotice)) {
	r.onKeys.Store(&tell)
}

func unknownPresence(of protocol.Address) protocol.Presence {
	return protocol.Presence{Address: of, State: protocol.Unknown}
}

// Proof returns the dialback proof to called that the sender of nonce's
// answer is caller, a domain of this site (SIMP.md, section 9).
func (r *Relay) Proof(caller, called string, nonce []byte) []byte {
	mac := hmac.New(sha256.New, r.config.Secret())
	mac.Write([]byte(caller))
	mac.Write([]byte{0})
	mac.Write([]byte(called))
	mac.Write([]byte{0})
	mac.Write(nonce)
	return mac.Sum(nil)
}
