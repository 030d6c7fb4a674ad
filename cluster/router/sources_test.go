package router

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"simpd/cluster/accounts"
	storev1 "simpd/proto/simp/store/v1"
	"simpd/protocol"
	"simpd/store"
)

// directorySource has users with passwords; when broken is set, it is down. The
// password "off" is of those who are disabled.
type directorySource struct {
	mu        sync.Mutex
	passwords map[string]string
	expiry    *protocol.Expiry
	broken    error
	groups    map[string][]string // local parts of the members, by name
	problems  []string            // with the groups

	asked   int    // how often about its accounts
	jam     string // whoever is looked up together with this user, the look-up fails
	meeting func() // what happens while it checks a password
}

// set changes the directory.
func (s *directorySource) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

func (s *directorySource) timesAsked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

func (*directorySource) Searches() bool  { return true }
func (*directorySource) MaxLeavers() int { return 10 }

func (s *directorySource) FindUsers(_ context.Context, users []protocol.Address) (map[protocol.Address]accounts.UserState, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	if s.broken != nil {
		return nil, s.broken
	}
	found := map[protocol.Address]accounts.UserState{}
	for _, u := range users {
		if u.Local() == s.jam {
			return nil, errors.New("too much")
		}
		switch s.passwords[u.Local()] {
		case "":
		case "off":
			found[u] = accounts.UserDisabled
		default:
			found[u] = accounts.UserActive
		}
	}
	return found, nil
}

func (*directorySource) GroupInterval() time.Duration { return time.Minute }

func (s *directorySource) FindGroups(context.Context) (accounts.FoundGroups, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	if s.broken != nil {
		return accounts.FoundGroups{}, s.broken
	}
	found := accounts.FoundGroups{MaxLeavers: 10, Problems: s.problems}
	for _, name := range slices.Sorted(maps.Keys(s.groups)) {
		g := accounts.Group{Key: "cn=" + name, Name: name}
		for _, local := range s.groups[name] {
			m := accounts.GroupMember{Name: strings.ToUpper(local)}
			for _, one := range strings.Split(local, "/") { // several addresses of one entry
				m.Addresses = append(m.Addresses, protocol.CanonicalAddress(one+"@example.com"))
			}
			g.Members = append(g.Members, m)
		}
		found.Groups = append(found.Groups, g)
	}
	return found, nil
}

func (*directorySource) Type() string { return "fake" }
func (*directorySource) Close()       {}

func (s *directorySource) CheckPassword(_ context.Context, l protocol.PasswordLogin) (accounts.Answer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.meeting != nil {
		s.meeting()
	}
	password, known := s.passwords[l.User.Local()]
	switch {
	case s.broken != nil:
		return accounts.Answer{}, s.broken
	case !known:
		return accounts.Answer{}, nil
	case password != l.Password:
		return accounts.Answer{Verdict: accounts.Rejected}, nil
	}
	return accounts.Answer{Verdict: accounts.Accepted, Expiry: s.expiry}, nil
}

// newSourceSite starts a site whose domain has these sources: the directory
// corp, and the table.
func newSourceSite(t *testing.T, order []string, ids ...string) (*site, *directorySource) {
	d := &directorySource{passwords: map[string]string{"dora": "right", "bob": "right"}}
	s := newSite(t, ids...)
	for _, id := range ids {
		r := accounts.New([]string{"example.com"}, slog.New(slog.DiscardHandler))
		r.Replace(accounts.Set{Sources: map[string]accounts.Source{"corp": d}, Domains: map[string][]string{"example.com": order}})
		s.nodes[id].config.Sources = r
	}
	return s, d
}

// check logs a user in by a password that is no app password.
func (s *site) check(name, id, password string, fits bool) (protocol.VerifiedLogin, error) {
	return s.nodes[id].AskSources(s.t.Context(), protocol.PasswordLogin{User: addr(name + "@example.com"), Password: password, Fits: fits})
}

func (s *site) mustCheck(name, id string) protocol.VerifiedLogin {
	s.t.Helper()
	v, err := s.check(name, id, "right", false)
	if err != nil {
		s.t.Fatal(err)
	}
	return v
}

// enter connects a user whom a source has accepted.
func (s *site) enter(name, id string, v protocol.VerifiedLogin) *client {
	s.t.Helper()
	c := s.newClient(name, id)
	c.who.Credential, c.who.Expiry = v.Credential, v.Expiry
	u, err := s.nodes[id].Login(s.t.Context(), c)
	if err != nil {
		s.t.Fatal(err)
	}
	c.Connection = u
	return c
}

func statusOf(err error) protocol.Status {
	if e, ok := errors.AsType[*protocol.Error](err); ok {
		return e.Status
	}
	return 0
}

// The first login registers the account, at all nodes. It has no password of
// its own, and app passwords as every account has.
func TestFirstLoginRegistersTheAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := newSourceSite(t, []string{"corp", accounts.Table}, "n1", "n2")
		s.raiseSchema()
		dora := addr("dora@example.com")
		decoy, _ := s.nodes["n1"].Credentials(dora)
		first := s.mustCheck("dora", "n1")
		account, ok := s.nodes["n2"].config.Table.Account(dora)
		if !ok || account.Source() != "corp" || account.Generation() != first.Credential || first.User != dora {
			t.Fatalf("%+v as %+v", account, first)
		}
		if again := s.mustCheck("dora", "n2"); again != first {
			t.Errorf("a second login is %+v, after %+v", again, first)
		}
		c := s.enter("dora", "n2", first)
		c.mustListen(t, available)
		now, known := s.nodes["n2"].Credentials(dora)
		if !known || now.Source != "corp" || !now.AsksSources || string(now.Salt) != string(decoy.Salt) || now.Iterations != decoy.Iterations {
			t.Errorf("the registered account has %+v, and its decoy had %+v", now, decoy)
		}
		if _, err := c.AddAppPassword(t.Context(), protocol.AppPassword{Name: "phone"}, now); err != nil {
			t.Errorf("no app password can be added: %v", err)
		}
		if err := c.SetPassword(t.Context(), now); statusOf(err) != protocol.StatusForbidden {
			t.Errorf("a password can be set: %v", err)
		}
	})
}

// What sources say becomes a status: only a wrong password and an unknown user
// are 401.
func TestAnswersOfSources(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, d := newSourceSite(t, []string{"corp", accounts.Table}, "n1")
		s.raiseSchema()
		check := func(what, name, password string, fits bool, want protocol.Status) {
			t.Helper()
			if _, err := s.check(name, "n1", password, fits); statusOf(err) != want {
				t.Errorf("%s: %v, want %d", what, err, want)
			}
		}
		check("a wrong password", "dora", "wrong", false, protocol.StatusUnauthorized)
		check("an unknown user", "eve", "right", false, protocol.StatusUnauthorized)
		check("a user of the table", "alice", "own", true, 0)
		check("a wrong password of the table", "alice", "wrong", false, protocol.StatusUnauthorized)
		s.mustCheck("dora", "n1")
		s.must(setDisabled("dora", true))
		check("a disabled user", "dora", "right", false, protocol.StatusUnauthorized)
		s.must(setDisabled("dora", false))
		d.broken = &accounts.UnavailableError{Err: errors.New("connection refused"), Retry: 1500 * time.Millisecond}
		check("a directory that is down", "dora", "right", false, protocol.StatusUnavailable)
		check("a user of the table who may be in it", "carol", "own", true, protocol.StatusUnavailable)
		_, err := s.check("dora", "n1", "other", false)
		if e, ok := errors.AsType[*protocol.Error](err); !ok || e.Retry != 2 {
			t.Errorf("%+v", err)
		}
		s.nodes["n1"].config.Sources.Replace(accounts.Set{})
		check("an account whose source is not configured", "dora", "right", false, protocol.StatusUnavailable)
	})
}

// A directory that knows a user of the table takes the account over: its
// sessions end, its rules stay.
func TestASourceTakesAnAccountOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := newSourceSite(t, []string{"corp", accounts.Table}, "n1", "n2")
		s.raiseSchema()
		old := s.listen("bob", "n2")
		if err := old.SetRule(t.Context(), protocol.Rule{Who: protocol.CanonicalPattern("*"), Message: protocol.Deny}); err != nil {
			t.Fatal(err)
		}
		c := s.enter("bob", "n1", s.mustCheck("bob", "n1"))
		synctest.Wait()
		if got := old.heard(); !slices.Contains(got, "bye 401") {
			t.Errorf("the old session heard %v", got)
		}
		if rules := c.Rules(); len(rules) != 1 {
			t.Errorf("the rules are %v", rules)
		}
	})
}

// Who has left a source is out on all nodes, until the source accepts the user
// again.
func TestLeaversComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := newSourceSite(t, []string{"corp"}, "n1", "n2")
		s.raiseSchema()
		here := s.enter("dora", "n1", s.mustCheck("dora", "n1"))
		there := s.enter("dora", "n2", s.mustCheck("dora", "n2"))
		s.must(&storev1.Change{Kind: &storev1.Change_LeaveSource{LeaveSource: &storev1.LeaveSource{Address: "dora@example.com", Source: "corp"}}})
		synctest.Wait()
		for _, c := range []*client{here, there} {
			if got := c.heard(); !slices.Contains(got, "bye 401") {
				t.Errorf("a leaver heard %v", got)
			}
		}
		back := s.enter("dora", "n2", s.mustCheck("dora", "n2"))
		if got := back.heard(); len(got) > 0 {
			t.Errorf("who came back heard %v", got)
		}
	})
}

// A login that expires ends its session at that time, with its reason.
func TestLoginsExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, d := newSourceSite(t, []string{"corp"}, "n1")
		s.raiseSchema()
		d.expiry = &protocol.Expiry{At: time.Now().Add(time.Hour), Reason: "token expired"}
		c := s.enter("dora", "n1", s.mustCheck("dora", "n1"))
		time.Sleep(59 * time.Minute)
		if got := c.heard(); len(got) > 0 {
			t.Errorf("before the end it heard %v", got)
		}
		time.Sleep(2 * time.Minute)
		if got := c.heard(); !slices.Contains(got, "bye 401") {
			t.Errorf("after the end it heard %v", got)
		}
		late := s.newClient("dora", "n1")
		late.who.Credential, late.who.Expiry = c.who.Credential, d.expiry
		if _, err := s.nodes["n1"].Login(t.Context(), late); statusOf(err) != protocol.StatusUnauthorized || err.Error() != "401 token expired" {
			t.Errorf("a login that has expired: %v", err)
		}
	})
}

// Before all nodes know sources nobody is registered, and nobody is told that
// the password is wrong.
func TestNoAccountsOfSourcesBeforeTheirSchema(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := newSourceSite(t, []string{"corp", accounts.Table}, "n1")
		if _, err := s.check("dora", "n1", "right", false); statusOf(err) != protocol.StatusUnavailable {
			t.Errorf("%v", err)
		}
		if _, ok := s.nodes["n1"].config.Table.Account(addr("dora@example.com")); ok {
			t.Error("the account was made")
		}
		if res := s.propose("", registration(accounts.Answer{User: addr("dora@example.com"), Source: "corp"}, appCredentials(1), nil)); res[0].Refusal != store.WrongSchema {
			t.Errorf("%+v", res)
		}
	})
}

// A certificate lets in whoever has an account, whatever its source, and makes
// one for whoever has none. Such an account has no password.
func TestCertificatesLetUsersIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := newSourceSite(t, []string{accounts.Table, "corp"}, "n1")
		n := s.nodes["n1"]
		accept := func(name string) (protocol.VerifiedLogin, error) {
			return n.AcceptCertificate(t.Context(), addr(name+"@example.com"))
		}
		if _, err := accept("gina"); statusOf(err) != protocol.StatusUnavailable {
			t.Errorf("before its schema: %v", err)
		}
		s.raiseSchema()
		s.mustCheck("dora", "n1")
		for _, name := range []string{"alice", "dora", "gina", "gina"} {
			v, err := accept(name)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			s.enter(name, "n1", v)
		}
		for name, want := range map[string]string{"alice": "", "dora": "corp", "gina": "certificate"} {
			if a, _ := n.config.Table.Account(addr(name + "@example.com")); a.Source() != want {
				t.Errorf("%s belongs to %q", name, a.Source())
			}
		}
		if _, err := s.check("gina", "n1", "right", false); statusOf(err) != protocol.StatusUnauthorized {
			t.Errorf("a password of an account without one: %v", err)
		}
		s.must(setDisabled("gina", true))
		if _, err := accept("gina"); statusOf(err) != protocol.StatusUnauthorized {
			t.Errorf("a disabled account: %v", err)
		}
	})
}

// Where no source checks passwords, an account of a source is answered as an
// unknown user is: how long a refusal takes does not tell that it exists.
func TestAccountsOfSourcesLookUnknownWhereNoneChecksPasswords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := newSourceSite(t, []string{"corp"}, "n1")
		s.raiseSchema()
		s.mustCheck("dora", "n1") // registers the account
		n := s.nodes["n1"]
		if c, _ := n.Credentials(addr("dora@example.com")); !c.AsksSources {
			t.Error("corp is not asked")
		}
		n.config.Sources.Replace(accounts.Set{Domains: map[string][]string{"example.com": {"table"}}})
		dora, known := n.Credentials(addr("dora@example.com"))
		unknown, _ := n.Credentials(addr("zoe@example.com"))
		if !known || dora.AsksSources || unknown.AsksSources {
			t.Errorf("dora asks sources: %t; an unknown user: %t", dora.AsksSources, unknown.AsksSources)
		}
	})
}
