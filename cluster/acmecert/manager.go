// Package acmecert obtains and renews the site's certificates for clients by
// ACME (RFC 8555), one for each domain. Only the node that leads speaks to the
// certificate authority. The account's key, the certificates with their keys,
// and the answers to the authority's challenges are values that all nodes
// share, so that any node may be asked for an answer, and a new leader goes on
// where the old one stopped.
package acmecert

import (
	"cmp"
	"context"
	"crypto/tls"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Secrets keeps small values that all nodes of the site share and nobody else
// can read. Any goroutine may call its methods.
type Secrets interface {
	// Get returns the value of that name; nil if there is none, or if this node
	// cannot open it.
	Get(name string) []byte
	// Put replaces a value, which may be dropped from until on, and returns once
	// every node that is up has it.
	Put(ctx context.Context, name string, value []byte, until time.Time) error
	// Remove removes a value, if there is one.
	Remove(ctx context.Context, name string) error
	// Refresh encrypts again what was encrypted by a key that is to go. The
	// leader calls it every few seconds.
	Refresh(ctx context.Context)
}

// Challenge names a method by which an authority checks that the site controls a
// domain.
type Challenge string

const (
	HTTP01    Challenge = "http-01"     // it fetches a file from port 80 (RFC 8555, section 8.3)
	TLSALPN01 Challenge = "tls-alpn-01" // it connects to port 443 by TLS (RFC 8737)
)

// LetsEncrypt is the directory of the authority that is asked by default.
const LetsEncrypt = "https://acme-v02.api.letsencrypt.org/directory"

// Config configures a Manager. All fields but Email, ReissueBefore and HTTP are
// required.
type Config struct {
	Domains   []string // in lower case, as A-labels
	Directory string   // the URL of the authority's directory
	Email     string   // the authority writes there if something is wrong
	Challenge Challenge
	// ReissueBefore has the account and the certificates replaced that were made
	// before that time, as after the theft of a node; zero: none.
	ReissueBefore time.Time
	Secrets       Secrets
	IsLeader      func() bool
	// Install is called by Run with all certificates that there are whenever
	// they have changed.
	Install func([]tls.Certificate)
	HTTP    *http.Client // nil: http.DefaultClient
	Logger  *slog.Logger
}

// Manager obtains the certificates of some domains and keeps them valid.
type Manager struct {
	config    Config
	authority authority // by renewDue only

	mu       sync.Mutex
	failures map[string]*Failure // by domain; guarded by mu

	installed []certificate // by install only

	parsedMu sync.Mutex
	parsed   map[string]parsedCertificate // by domain; guarded by parsedMu

	// Obtained counts the certificates that this node has obtained, and Failed
	// the attempts that failed.
	Obtained, Failed atomic.Uint64
}

// Failure says why a domain has no certificate, or not a new one.
type Failure struct {
	Domain string
	Err    error
	Count  int       // failed attempts in a row
	Next   time.Time // when the next attempt begins
}

// New returns a Manager. It does nothing before Run.
func New(c Config) *Manager {
	c.HTTP = cmp.Or(c.HTTP, http.DefaultClient)
	return &Manager{config: c, failures: map[string]*Failure{}, parsed: map[string]parsedCertificate{}}
}

const (
	// checkInterval separates the looks of a node for certificates that another one
	// has obtained, whether it leads, and whether something is due.
	checkInterval = 5 * time.Second
	// orderTimeout limits an attempt to obtain one certificate.
	orderTimeout = 5 * time.Minute
	// firstRetry and lastRetry are the pauses after the first failed attempt and
	// after many. An authority bans an account that fails more often: Let's
	// Encrypt allows five failed validations an hour for each domain.
	firstRetry = 10 * time.Minute
	lastRetry  = 6 * time.Hour
)

// Run installs the certificates and, while this node leads, renews those that
// are due, until ctx ends. It is called once.
func (m *Manager) Run(ctx context.Context) {
	var orders sync.WaitGroup
	defer orders.Wait()
	orders.Go(func() { m.repeat(ctx, m.renewDue) })
	m.repeat(ctx, func(ctx context.Context) {
		m.install()
		if m.config.IsLeader() {
			m.config.Secrets.Refresh(ctx)
		}
	})
}

// repeat calls f now and then again, until ctx ends.
func (m *Manager) repeat(ctx context.Context, f func(context.Context)) {
	tick := time.NewTicker(checkInterval)
	defer tick.Stop()
	for ctx.Err() == nil {
		f(ctx)
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// install installs the certificates if they are not the installed ones. One that
// cannot be read now, because this node lacks the key, stays in use until it
// ends.
func (m *Manager) install() {
	var all []certificate
	for _, domain := range m.config.Domains {
		c, ok := m.load(domain)
		if !ok {
			c, ok = m.installedFor(domain)
		}
		if ok {
			all = append(all, c)
		}
	}
	if slices.EqualFunc(all, m.installed, certificate.equal) {
		return
	}
	m.installed = all
	pairs := make([]tls.Certificate, len(all))
	for i, c := range all {
		pairs[i] = c.pair
	}
	m.config.Install(pairs)
	for _, c := range all {
		m.config.Logger.Info("certificate installed", "domain", c.domain, "ends", c.pair.Leaf.NotAfter.UTC().Format(time.RFC3339))
	}
}

// installedFor returns the certificate of a domain that is installed and has not
// ended.
func (m *Manager) installedFor(domain string) (certificate, bool) {
	for _, c := range m.installed {
		if c.domain == domain && time.Now().Before(c.pair.Leaf.NotAfter) {
			return c, true
		}
	}
	return certificate{}, false
}

// renewDue obtains the certificates that are due, if this node leads.
func (m *Manager) renewDue(ctx context.Context) {
	for _, domain := range m.config.Domains {
		if ctx.Err() != nil || !m.config.IsLeader() {
			return
		}
		if !m.isDue(domain, time.Now()) || m.isPausing(domain, time.Now()) {
			continue
		}
		attempt, cancel := context.WithTimeout(ctx, orderTimeout)
		err := m.obtain(attempt, domain)
		cancel()
		m.recordOutcome(ctx, domain, err)
	}
}

// isDue reports whether a certificate has to be obtained: there is none, it is
// of another authority or to be replaced, or less than a third of its lifetime
// is left. If not, an earlier failure is forgotten: another node, or an attempt
// that seemed to fail, has obtained it.
func (m *Manager) isDue(domain string, now time.Time) bool {
	c, ok := m.load(domain)
	if ok && c.directory == m.config.Directory && !c.made.Before(m.config.ReissueBefore) {
		leaf := c.pair.Leaf
		if leaf.NotAfter.Sub(now) >= leaf.NotAfter.Sub(leaf.NotBefore)/3 {
			m.mu.Lock()
			delete(m.failures, domain)
			m.mu.Unlock()
			return false
		}
	}
	return true
}

// isPausing reports whether an attempt has failed and the next is not to begin
// yet.
func (m *Manager) isPausing(domain string, now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.failures[domain]
	return f != nil && now.Before(f.Next)
}

// recordOutcome remembers and logs what an attempt has come to.
func (m *Manager) recordOutcome(ctx context.Context, domain string, err error) {
	if ctx.Err() != nil {
		return // the node stops
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err == nil {
		delete(m.failures, domain)
		m.Obtained.Add(1)
		m.config.Logger.Info("certificate obtained", "domain", domain, "directory", m.config.Directory)
		return
	}
	m.Failed.Add(1)
	f := &Failure{Domain: domain, Err: err, Count: 1}
	if old := m.failures[domain]; old != nil {
		f.Count += old.Count
	}
	pause := min(firstRetry<<min(f.Count-1, 10), lastRetry)
	f.Next = time.Now().Add(max(pause, retryAfter(err)))
	m.failures[domain] = f
	m.config.Logger.Error("certificate not obtained", "domain", domain, "directory", m.config.Directory,
		"error", err, "attempts", f.Count, "next", f.Next.UTC().Format(time.RFC3339))
}

// Failures returns what failed last, for the leader's status, in the order of
// the domains. A node that does not lead any more has nothing to report: another
// one tries. Any goroutine may call it.
func (m *Manager) Failures() (all []Failure) {
	if !m.config.IsLeader() {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, domain := range m.config.Domains {
		if f := m.failures[domain]; f != nil {
			all = append(all, *f)
		}
	}
	return all
}
