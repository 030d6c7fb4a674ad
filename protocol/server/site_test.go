package server

import (
	"cmp"
	"context"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"simpd/protocol"
	"simpd/protocol/signature"
)

// site is a whole site of one node in memory: accounts, who listens, rules,
// contacts, and who watches whom, changing one after the other.
type site struct {
	mu                  sync.Mutex
	index               uint64
	accounts            map[protocol.Address]protocol.Credentials
	users               map[*siteUser]bool
	listens             map[protocol.Address][]*siteUser
	rules               map[protocol.Address]map[protocol.Pattern]protocol.Rule
	contacts            map[protocol.Address]map[protocol.Address]string
	apps                map[protocol.Address][]protocol.AppPassword
	keys                map[protocol.Address][]signature.Key
	failed              map[netip.Addr]int
	turns               chan struct{}      // what AwaitTurn waits for, if it is not nil
	attempts, succeeded []protocol.Attempt // failed logins, and others
	refuse              string             // the greeting's
	slow                chan struct{}      // what Listen waits for, if it is not nil
	most                int                // sessions of a user
	mute                bool               // nothing is said of messages

	methods protocol.LoginMethods // of all domains
	sources func(protocol.PasswordLogin) (protocol.VerifiedLogin, error)
}

func newSite(t testing.TB, names ...string) *site {
	s := &site{
		accounts: map[protocol.Address]protocol.Credentials{}, users: map[*siteUser]bool{},
		listens:  map[protocol.Address][]*siteUser{},
		rules:    map[protocol.Address]map[protocol.Pattern]protocol.Rule{},
		contacts: map[protocol.Address]map[protocol.Address]string{},
		apps:     map[protocol.Address][]protocol.AppPassword{},
		keys:     map[protocol.Address][]signature.Key{},
		failed:   map[netip.Addr]int{}, index: 1000, most: protocol.MaxSessions,
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

func (s *site) AskSources(_ context.Context, l protocol.PasswordLogin) (protocol.VerifiedLogin, error) {
	return s.sources(l)
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

// siteUser is one connection at the site.
type siteUser struct {
	site    *site
	session protocol.Session
	address protocol.Address
	state   protocol.State
	note    string
	since   time.Time
	index   uint64
	watched []protocol.Address
	closed  int
}

func (u *siteUser) Listen(ctx context.Context, l protocol.ListenRequest) (string, uint64, error) {
	if slow := u.site.slow; slow != nil {
		select {
		case <-slow:
		case <-ctx.Done():
			return "", 0, ctx.Err()
		}
	}
	s := u.site
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.Exclusive {
		for _, other := range slices.Clone(s.listens[u.address]) {
			s.release(other)
			other.session.Displaced("another session listens exclusively")
		}
	}
	if len(s.listens[u.address]) >= s.most {
		return "", 0, protocol.Errorf(protocol.StatusWrongState, "16 sessions listen already")
	}
	s.index++
	u.state, u.note, u.since, u.index = l.State, l.Note, time.Now(), s.index
	s.listens[u.address] = append(s.listens[u.address], u)
	s.tell(u.address)
	return "n1.7." + string(rune('a'+len(s.users))), s.index, nil
}

func (u *siteUser) SetState(_ context.Context, state protocol.State, note *string) (uint64, error) {
	s := u.site
	s.mu.Lock()
	defer s.mu.Unlock()
	s.index++
	u.state, u.index = state, s.index
	if note != nil {
		u.note = *note
	}
	s.tell(u.address)
	return s.index, nil
}

func (u *siteUser) Unlisten(context.Context) (uint64, error) {
	u.site.mu.Lock()
	defer u.site.mu.Unlock()
	u.site.release(u)
	return u.site.index, nil
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

func (u *siteUser) Send(r *protocol.SendRequest) {
	for i, to := range r.To {
		u.site.send(r, u.address, i, to)
	}
}

func (s *site) send(r *protocol.SendRequest, from protocol.Address, i int, to protocol.Address) {
	s.mu.Lock()
	sessions := slices.Clone(s.listens[to])
	_, known := s.accounts[to]
	denied := s.rule(to, from).Message == protocol.Deny
	s.mu.Unlock()
	switch {
	case s.mute:
		return
	case !known:
		r.Done(i, protocol.Outcome{Status: protocol.StatusUnknownAddress, Text: "there is no user " + to.String()})
		return
	case len(sessions) == 0 || denied:
		r.Done(i, protocol.Outcome{Status: protocol.StatusNotListening, Text: to.String() + " is not listening"})
		return
	}
	m := &protocol.Message{
		From: from, To: to, ID: r.ID, Time: time.Now(), Entity: r.Entity,
		Deadline: r.Deadline(), Repeatable: r.Repeatable,
	}
	heard := &answers{left: len(sessions)}
	for _, u := range sessions {
		u.session.Deliver(m, func(o protocol.Outcome) {
			if o, all := heard.take(o); all {
				r.Done(i, o)
			}
		})
	}
}

// answers are those of a user's sessions to one message (rule 7 of section 6).
type answers struct {
	mu   sync.Mutex
	left int
	said bool
	best protocol.Outcome
}

func (a *answers) take(o protocol.Outcome) (protocol.Outcome, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.left--
	rank := []protocol.Status{200, 201, 486, 409, 481, 503, 480}
	if a.best.Status == 0 || slices.Index(rank, o.Status) < slices.Index(rank, a.best.Status) {
		a.best = o
	}
	if a.said || a.left > 0 && o.Status != protocol.StatusOK {
		return o, false
	}
	a.said = true
	return a.best, true
}

func (u *siteUser) BeginWatch(r protocol.WatchRequest, write func([]protocol.Notice, uint64)) (func(context.Context), error) {
	s := u.site
	s.mu.Lock()
	defer s.mu.Unlock()
	all := r.Addresses
	if r.Contacts {
		all = append(all, slices.SortedFunc(maps.Keys(s.contacts[u.address]), protocol.Address.Compare)...)
	}
	at := s.notices(u.address, all)
	for _, a := range all {
		if !slices.Contains(u.watched, a) {
			u.watched = append(u.watched, a)
		}
	}
	if asksMute(all) {
		return func(ctx context.Context) { awaitMute(ctx); write(at, s.index) }, nil
	}
	write(at, s.index)
	return nil, nil
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

func (u *siteUser) Unwatch(r protocol.WatchRequest) {
	u.site.mu.Lock()
	defer u.site.mu.Unlock()
	u.watched = slices.DeleteFunc(u.watched, func(a protocol.Address) bool {
		return len(r.Addresses) == 0 || slices.Contains(r.Addresses, a)
	})
}

func (u *siteUser) Query(ctx context.Context, r protocol.WatchRequest) (at []protocol.Notice, index uint64, err error) {
	if asksMute(r.Addresses) {
		awaitMute(ctx)
	}
	u.site.mu.Lock()
	defer u.site.mu.Unlock()
	if len(r.By) == 0 {
		return u.site.notices(u.address, r.Addresses), u.site.index, nil
	}
	for _, a := range r.Addresses {
		for _, by := range r.By {
			for _, n := range u.site.notices(by, []protocol.Address{a}) {
				n.By = []protocol.Address{by}
				at = append(at, n)
			}
		}
	}
	return at, u.site.index, nil
}

func (u *siteUser) Watchers(context.Context) (by []protocol.Address, partial bool, err error) {
	u.site.mu.Lock()
	defer u.site.mu.Unlock()
	for other := range u.site.users {
		if slices.Contains(other.watched, u.address) {
			by = append(by, other.address)
		}
	}
	slices.SortFunc(by, protocol.Address.Compare)
	return slices.Compact(by), false, nil
}

func (u *siteUser) Rules() (all []protocol.Rule) {
	u.site.mu.Lock()
	defer u.site.mu.Unlock()
	for _, r := range u.site.rules[u.address] {
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b protocol.Rule) int { return cmp.Compare(a.Who.String(), b.Who.String()) })
	return all
}

func (u *siteUser) SetRule(_ context.Context, r protocol.Rule) error {
	s := u.site
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rules[u.address] == nil {
		s.rules[u.address] = map[protocol.Pattern]protocol.Rule{}
	}
	s.index++
	if r.IsEmpty() {
		delete(s.rules[u.address], r.Who)
	} else {
		s.rules[u.address][r.Who] = r
	}
	return nil
}

func (u *siteUser) Contacts() (all []protocol.Contact) {
	u.site.mu.Lock()
	defer u.site.mu.Unlock()
	for a, name := range u.site.contacts[u.address] {
		all = append(all, protocol.Contact{Address: a, Name: name})
	}
	slices.SortFunc(all, func(a, b protocol.Contact) int { return a.Address.Compare(b.Address) })
	return all
}

func (u *siteUser) SetContact(_ context.Context, c protocol.Contact) error {
	s := u.site
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.contacts[u.address] == nil {
		s.contacts[u.address] = map[protocol.Address]string{}
	}
	s.index++
	s.contacts[u.address][c.Address] = c.Name
	return nil
}

func (u *siteUser) RemoveContact(_ context.Context, a protocol.Address) error {
	u.site.mu.Lock()
	defer u.site.mu.Unlock()
	u.site.index++
	delete(u.site.contacts[u.address], a)
	return nil
}

func (u *siteUser) AppPasswords() []protocol.AppPassword {
	u.site.mu.Lock()
	defer u.site.mu.Unlock()
	return slices.Clone(u.site.apps[u.address])
}

func (u *siteUser) AddAppPassword(_ context.Context, p protocol.AppPassword, c protocol.Credentials) (uint64, error) {
	s := u.site
	s.mu.Lock()
	defer s.mu.Unlock()
	own := s.accounts[u.address]
	switch {
	case len(s.apps[u.address]) >= protocol.MaxAppPasswords:
		return 0, protocol.Errorf(protocol.StatusWrongState, "16 app passwords already")
	case string(c.Salt) != string(own.Salt) || c.Iterations != own.Iterations:
		return 0, protocol.ErrOtherSalt
	}
	s.index++
	p.ID, p.Created = s.index, time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	own.AppPasswords = append(slices.Clone(own.AppPasswords), protocol.AppVerifier{ID: p.ID, StoredKey: c.StoredKey, ServerKey: c.ServerKey})
	own.SharesSalt = true
	s.accounts[u.address] = own
	s.apps[u.address] = append(s.apps[u.address], p)
	return p.ID, nil
}

func (u *siteUser) RemoveAppPassword(_ context.Context, id uint64) error {
	s := u.site
	s.mu.Lock()
	defer s.mu.Unlock()
	has := func(p protocol.AppPassword) bool { return p.ID == id }
	if !slices.ContainsFunc(s.apps[u.address], has) {
		return protocol.Errorf(protocol.StatusUnknownAddress, "no such app password")
	}
	s.apps[u.address] = slices.DeleteFunc(slices.Clone(s.apps[u.address]), has)
	own := s.accounts[u.address]
	own.AppPasswords = slices.DeleteFunc(slices.Clone(own.AppPasswords), func(v protocol.AppVerifier) bool { return v.ID == id })
	s.accounts[u.address] = own
	return nil
}

func (u *siteUser) SetPassword(_ context.Context, c protocol.Credentials) error {
	s := u.site
	s.mu.Lock()
	defer s.mu.Unlock()
	s.index++
	c.Index = s.index
	c.AppPasswords, c.SharesSalt = s.accounts[u.address].AppPasswords, s.accounts[u.address].SharesSalt
	s.accounts[u.address] = c
	for other := range s.users {
		if other != u && other.address == u.address {
			other.session.Bye(protocol.StatusUnauthorized, "the password was changed")
		}
	}
	return nil
}

func (u *siteUser) Close() {
	u.site.mu.Lock()
	defer u.site.mu.Unlock()
	u.closed++
	u.site.release(u)
	delete(u.site.users, u)
}
