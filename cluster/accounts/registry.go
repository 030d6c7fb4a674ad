package accounts

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"simpd/protocol"
)

// Set is a whole configuration of account sources.
type Set struct {
	Sources map[string]Source // by name
	// Domains lists the names of each domain's sources in order; a domain that is
	// not there has only the table.
	Domains map[string][]string
}

// Registry asks the account sources of the site's domains. Any goroutine may
// call its methods.
type Registry struct {
	domains []string
	logger  *slog.Logger
	key     [32]byte // of this process, for the names of queries
	current atomic.Pointer[registered]
	newest  atomic.Uint64 // generation of current
	metrics metricsBySource

	replacing sync.Mutex // serializes Replace
	version   atomic.Uint64
}

// registered is a Set in use. It is immutable.
type registered struct {
	domains map[string][]*member
	members map[string]*member // without the table
	methods map[string]protocol.LoginMethods

	generation uint64
}

// New returns a Registry of a site that serves these domains, in which each has
// only the table.
func New(domains []string, logger *slog.Logger) *Registry {
	r := &Registry{domains: domains, logger: logger}
	rand.Read(r.key[:]) // never fails
	r.current.Store(&registered{})
	r.Replace(Set{})
	return r
}

// Replace replaces the whole configuration. Sources of the old one that are in
// the new one under the same name go on as they are; the others are closed.
// Queries in progress end as they began.
func (r *Registry) Replace(s Set) {
	r.replacing.Lock()
	defer r.replacing.Unlock()
	fresh := r.register(s)
	old := r.current.Swap(fresh)
	r.version.Add(1)
	for name, m := range old.members {
		if fresh.members[name] != m {
			m.close()
		}
	}
}

// Version returns a number that each Replace changes.
func (r *Registry) Version() uint64 { return r.version.Load() }

// Close closes all sources.
func (r *Registry) Close() { r.Replace(Set{}) }

func (r *Registry) register(s Set) *registered {
	g := &registered{domains: map[string][]*member{}, members: map[string]*member{}, methods: map[string]protocol.LoginMethods{}, generation: r.newest.Add(1)}
	before := r.current.Load().members
	for name, source := range s.Sources {
		if g.members[name] = before[name]; !before[name].has(source) {
			g.members[name] = newMember(r, name, source)
		}
	}
	table := &member{name: Table}
	for _, domain := range r.domains {
		names, ok := s.Domains[domain]
		if !ok {
			names = []string{Table}
		}
		for _, name := range names {
			m := table
			if name != Table {
				m = g.members[name]
			}
			g.domains[domain] = append(g.domains[domain], m)
		}
		g.methods[domain] = loginMethods(g.domains[domain])
	}
	g.methods[""] = g.commonMethods(r.domains)
	return g
}

// loginMethods returns how users log in whose domain has these sources.
func loginMethods(sources []*member) (m protocol.LoginMethods) {
	table := slices.IndexFunc(sources, (*member).isTable)
	passwords := slices.IndexFunc(sources, (*member).checksPasswords)
	for _, one := range sources {
		if s, ok := one.source.(TokenSource); ok {
			provider := s.Provider()
			m.Tokens, m.Provider = true, &provider
			break
		}
	}
	switch {
	case passwords < 0 && table >= 0:
		m.Passwords = protocol.ChecksInTable
	case table >= 0 && table < passwords:
		m.Passwords = protocol.ChecksTableFirst
	default:
		m.Passwords = protocol.ChecksSourceFirst
	}
	return m
}

// commonMethods returns what holds for all domains.
func (g *registered) commonMethods(domains []string) protocol.LoginMethods {
	all := protocol.LoginMethods{Tokens: true}
	for _, domain := range domains {
		m := g.methods[domain]
		all.Passwords = max(all.Passwords, m.Passwords)
		all.Tokens = all.Tokens && m.Tokens
	}
	return all
}

// LoginMethods returns how users of a domain can log in; for "", what holds for
// all domains.
func (r *Registry) LoginMethods(domain string) protocol.LoginMethods {
	return r.current.Load().methods[domain]
}

// AsksSources reports whether passwords of the domain's users may have to be
// checked by other sources than the table.
func (r *Registry) AsksSources(domain string) bool {
	return r.LoginMethods(domain).Passwords != protocol.ChecksInTable
}

// Login is a login by password.
type Login struct {
	protocol.PasswordLogin
	// Owner is the source that the account belongs to by the table; "" if it
	// belongs to the table, or there is none.
	Owner string
	// Table is what the table says: Unknown if there is no such account.
	Table Verdict
	// Refused: whatever the password is, no source is asked.
	Refused bool
}

// errNoSource is the cause of errors about accounts whose source is gone.
var errNoSource = errors.New("the domain has no such account source; the accounts file names the domain's sources")

// CheckPassword asks the sources of the user's domain in order, until one knows
// the user. The answer is Accepted or Rejected; rejections of unknown users and
// of wrong passwords take the same time. An error is an *UnavailableError:
// nothing is known of the password.
func (r *Registry) CheckPassword(ctx context.Context, l Login) (Answer, error) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, protocol.SourceTimeout)
	defer cancel()
	a, err := r.firstAnswer(ctx, l)
	if err != nil {
		return Answer{}, err
	}
	if a.Verdict != Accepted {
		a.Verdict = Rejected
		awaitRejection(ctx, began)
	}
	return a, nil
}

// firstAnswer returns the answer of the first source that knows the user, or of
// the one that the account belongs to.
func (r *Registry) firstAnswer(ctx context.Context, l Login) (Answer, error) {
	if l.Password == "" || protocol.HasAppPasswordForm(l.Password) {
		return Answer{Verdict: l.Table, Source: Table, User: l.User}, nil // sources never see these
	}
	if l.Refused {
		return Answer{Verdict: Rejected, Source: Table, User: l.User}, nil
	}
	found := l.Owner == ""
	for _, m := range r.current.Load().domains[l.User.Domain()] {
		if l.Owner != "" && m.name != l.Owner {
			continue
		}
		found = true
		var a Answer
		var err error
		switch {
		case m.isTable():
			a = Answer{Verdict: l.Table, Source: Table}
		case m.checksPasswords():
			a, err = m.checkPassword(ctx, l.PasswordLogin)
		}
		if err != nil || a.Verdict != Unknown {
			a.User = l.User
			return a, err
		}
	}
	if !found {
		return Answer{}, &UnavailableError{Source: l.Owner, Err: errNoSource}
	}
	return Answer{}, nil
}

// rejectionStep is the unit of the time that a rejection takes. It is longer
// than what a source in good health takes to look for a user and to check a
// password, so that nobody can tell which of both was done.
const rejectionStep = 500 * time.Millisecond

// awaitRejection waits until a whole number of rejectionSteps has passed since
// the login began, or ctx ends.
func awaitRejection(ctx context.Context, began time.Time) {
	took := time.Since(began)
	wait := time.NewTimer((took/rejectionStep+1)*rejectionStep - took)
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-ctx.Done():
	}
}
