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
	// Resolver and Dial replace those of package net.
	Resolver Resolver
	Dial     func(ctx context.Context, network, address string) (net.Conn, error)
	Logger   *slog.Logger // nil: silent
}

const defaultMaxDomains = 4096

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
	verifying chan struct{} // one for each VERIFY under way

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu       sync.Mutex
	partners map[way]*partner
	closed   bool
}

// way is whose users speak to whose.
type way struct{ own, other string }

// maxVerifying bounds how many strangers' dialbacks are looked into at a time.
const maxVerifying = 64

// NewRelay makes a relay that has no connection yet.
func NewRelay(c RelayConfig) *Relay {
	c = c.withDefaults()
	r := &Relay{
		RelayConfig: c, names: newNames(c.Resolver), verifying: make(chan struct{}, maxVerifying),
		partners: make(map[way]*partner),
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

// Recheck ends what the federation, which has changed, does not admit.
func (r *Relay) Recheck() {
	f := r.Federation()
	for _, p := range r.all() {
		if err := f.Admits(p.own, p.other); err != nil {
			p.close(outcomeOf(err))
		}
	}
}

// partner returns what there is for a way, which is made if need be. The
// error is an *protocol.Error.
func (r *Relay) partner(w way) (*partner, error) {
	if err := r.Federation().Admits(w.own, w.other); err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if p := r.partners[w]; p != nil {
		return p, nil
	}
	if r.closed {
		return nil, protocol.Errorf(protocol.StatusUnavailable, "this node is shutting down")
	}
	if len(r.partners) >= r.MaxDomains {
		return nil, protocol.Errorf(protocol.StatusRemoteTimeout, "too many other sites are dealt with at this moment")
	}
	p := newPartner(r, w)
	r.partners[w] = p
	return p, nil
}

// drop forgets a partner that has nothing to do.
func (r *Relay) drop(p *partner) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.partners[p.way] == p {
		delete(r.partners, p.way)
	}
}

// Send delivers m to a user of another site, as protocol.Inbox says. Its
// statuses, besides those of the other site, are 504 and 502 (nothing was
// handed over), 403 (the federation does not admit it) and 201.
func (r *Relay) Send(m *protocol.Message, done func(protocol.Outcome)) {
	r.run(way{m.From.Domain(), m.To.Domain()}, sendErrand(m, done))
}

// run has an errand done, whatever it takes.
func (r *Relay) run(w way, e *errand) {
	for {
		p, err := r.partner(w)
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
	for {
		p, err := r.partner(way{by.Domain(), of.Domain()})
		if err != nil {
			r.tellAside(tell, unknown(of))
			return
		}
		if p.watch(by, of, tell) {
			return
		}
	}
}

// tellAside calls tell from a goroutine of its own, unless the relay is closed.
func (r *Relay) tellAside(tell func(protocol.Presence), now protocol.Presence) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		r.wg.Go(func() { tell(now) })
	}
}

// Unwatch ends Watch.
func (r *Relay) Unwatch(by, of protocol.Address) {
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
	r.run(way{by.Domain(), of.Domain()}, queryErrand(by, of, until, func(p protocol.Presence) { said <- p }))
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
