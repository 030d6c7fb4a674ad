package server

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"simpd/protocol"
	"simpd/protocol/signature"
)

// site is a whole site of one node in memory: accounts, who listens, rules,
// contacts, and who watches whom, changing one after the other.
type site struct {
	isMinority          atomic.Bool // the majority is not there, and does not answer
	reports             []protocol.Report
	mu                  sync.Mutex
	index               uint64
	accounts            map[protocol.Address]protocol.Credentials
	users               map[*siteUser]bool
	listens             map[protocol.Address][]*siteUser
	rules               map[protocol.Address]map[protocol.Pattern]protocol.Rule
	contacts            map[protocol.Address]map[protocol.Address]string
	groupContacts       []protocol.Contact // of everybody
	apps                map[protocol.Address][]protocol.AppPassword
	keys                map[protocol.Address][]signature.Key
	invitations         map[string]int // how many accounts each code may create
	failed              map[netip.Addr]int
	turns               chan struct{}      // what AwaitTurn waits for, if it is not nil
	attempts, succeeded []protocol.Attempt // failed logins, and others
	refuse              string             // the greeting's
	slow                chan struct{}      // what Listen waits for, if it is not nil
	most                int                // sessions of a user
	mute                bool               // nothing is said of messages
	messages, watches   meter

	methods protocol.LoginMethods // of all domains
	sources func(protocol.PasswordLogin) (protocol.VerifiedLogin, error)
}

func newSite(t testing.TB, names ...string) *site {
	s := &site{
		accounts: map[protocol.Address]protocol.Credentials{}, users: map[*siteUser]bool{},
		listens:     map[protocol.Address][]*siteUser{},
		rules:       map[protocol.Address]map[protocol.Pattern]protocol.Rule{},
		contacts:    map[protocol.Address]map[protocol.Address]string{},
		apps:        map[protocol.Address][]protocol.AppPassword{},
		keys:        map[protocol.Address][]signature.Key{},
		invitations: map[string]int{},
		failed:      map[netip.Addr]int{}, index: 1000, most: protocol.MaxSessions,
	}
	for _, name := range names {
		s.setPassword(address(t, name+"@example.com"), "secret")
	}
	return s
}

func address(t testing.TB, s string) protocol.Address {
	t.Helper()
	a, err := protocol.ParseAddress(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (s *site) setPassword(a protocol.Address, password string) {
	c, err := protocol.NewCredentials(password, []byte("0123456789abcdef"), protocol.MinScramIterations)
	if err != nil {
		panic(err)
	}
	s.index++
	c.Index = s.index
	s.accounts[a] = c
}

func (s *site) Greeting() Greeting {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Greeting{History: "8f3a", Refuse: s.refuse}
}

func (s *site) Credentials(a protocol.Address) (protocol.Credentials, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	asks, elsewhere := s.methods.Passwords != protocol.ChecksInTable, s.methods.Passwords == protocol.ChecksSourceFirst
	if c, ok := s.accounts[a]; ok {
		c.AsksSources, c.OwnElsewhere = asks, elsewhere
		return c, true
	}
	return protocol.Credentials{
		AsksSources: asks, OwnElsewhere: elsewhere,
		Salt: []byte("fedcba9876543210"), Iterations: protocol.MinScramIterations,
		StoredKey: make([]byte, 32), ServerKey: make([]byte, 32),
	}, false
}

func (s *site) LoginMethods(string) protocol.LoginMethods { return s.methods }

// AskToken knows tokens that are TOKEN-OF-NAME.
func (s *site) AskToken(_ context.Context, l protocol.TokenLogin) (protocol.VerifiedLogin, error) {
	name, ok := strings.CutPrefix(l.Token, "token-of-")
	switch {
	case l.Token == "later":
		return protocol.VerifiedLogin{}, &protocol.Error{Status: protocol.StatusUnavailable, Text: "the provider does not answer", Retry: 5}
	case !ok:
		return protocol.VerifiedLogin{}, protocol.Errorf(protocol.StatusUnauthorized, "no")
	}
	user := protocol.CanonicalAddress(name + "@example.com")
	c, _ := s.Credentials(user)
	return protocol.VerifiedLogin{User: user, Credential: c.Index}, nil
}

func (s *site) AskSources(_ context.Context, l protocol.PasswordLogin) (protocol.VerifiedLogin, error) {
	return s.sources(l)
}

// CheckInvitation knows the codes of invitations for example.com.
func (s *site) CheckInvitation(_ context.Context, code string, user protocol.Address) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, exists := s.accounts[user]
	switch {
	case code == "later":
		return protocol.Errorf(protocol.StatusUnavailable, "the site is being upgraded")
	case s.invitations[code] == 0:
		return protocol.Errorf(protocol.StatusUnauthorized, "wrong code")
	case exists:
		return protocol.Errorf(protocol.StatusWrongState, "%s has an account already", user)
	}
	return nil
}

func (s *site) Join(ctx context.Context, code string, user protocol.Address, c protocol.Credentials) error {
	if err := s.CheckInvitation(ctx, code, user); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.invitations[code]--
	s.index++
	c.Index = s.index
	s.accounts[user] = c
	return nil
}

func (s *site) AcceptCertificate(_ context.Context, user protocol.Address) (protocol.VerifiedLogin, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, known := s.accounts[user]
	if !known {
		return protocol.VerifiedLogin{}, protocol.Errorf(protocol.StatusUnauthorized, "the account is disabled")
	}
	return protocol.VerifiedLogin{User: user, Credential: c.Index}, nil
}

func (s *site) Admit(a protocol.Attempt) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed[a.Source] >= 30 {
		return 2500 * time.Millisecond
	}
	return 0
}

func (s *site) IsPaced(protocol.Attempt) bool { return s.turns != nil }

func (s *site) AwaitTurn(ctx context.Context, _ protocol.Attempt) time.Duration {
	if s.turns == nil {
		return 0
	}
	select {
	case <-s.turns:
		return 0
	case <-ctx.Done():
		return 6 * time.Second
	}
}

func (s *site) Failed(a protocol.Attempt) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed[a.Source]++
	s.attempts = append(s.attempts, a)
}

func (s *site) Succeeded(a protocol.Attempt) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.succeeded = append(s.succeeded, a)
}

// attempted returns the logins that failed, and those that were right.
func (s *site) attempted() (failed, succeeded []protocol.Attempt) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.attempts), slices.Clone(s.succeeded)
}

func (s *site) Login(_ context.Context, session protocol.Session) (User, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := &siteUser{site: s, session: session, address: session.Client().User}
	s.users[u] = true
	return u, nil
}

func (s *site) connected() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.users)
}

func (s *site) release(u *siteUser) {
	i := slices.Index(s.listens[u.address], u)
	if i < 0 {
		return
	}
	s.index++
	s.listens[u.address] = slices.Delete(s.listens[u.address], i, i+1)
	s.tell(u.address)
}

// tell notifies a's watchers.
func (s *site) tell(a protocol.Address) {
	n := &protocol.Notice{Presence: s.presence(a)}
	if n.State == protocol.Deaf {
		n.Index = s.index // a change has one even so
	}
	for u := range s.users {
		if slices.Contains(u.watched, a) && s.mayWatch(a, u.address) {
			u.session.Notify(n)
		}
	}
}

func (s *site) presence(a protocol.Address) protocol.Presence {
	p := protocol.Presence{Address: a}
	for _, u := range s.listens[a] {
		if p.State == protocol.Deaf || u.state < p.State {
			p = protocol.Presence{Address: a, State: u.state, Note: u.note, Since: u.since, Index: u.index}
		}
	}
	return p
}

func (s *site) rule(owner, who protocol.Address) protocol.Rule {
	for _, key := range []string{who.RuleKey(true).String(), "@" + who.Domain(), "*"} {
		if r, ok := s.rules[owner][protocol.CanonicalPattern(key)]; ok {
			return r
		}
	}
	return protocol.Rule{}
}

func (s *site) mayWatch(owner, who protocol.Address) bool {
	return owner == who || s.rule(owner, who).Presence != protocol.Deny
}

func (s *site) notices(who protocol.Address, all []protocol.Address) (at []protocol.Notice) {
	for _, a := range all {
		p := protocol.Presence{Address: a}
		if s.mayWatch(a, who) {
			p = s.presence(a)
		}
		at = append(at, protocol.Notice{Presence: p})
	}
	return at
}
