package accounts

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"simpd/protocol"
)

// fakeSource is a source whose users have the password "right".
type fakeSource struct {
	mu     sync.Mutex
	users  map[string]bool // local parts
	looks  time.Duration   // to find a user
	binds  time.Duration   // to check a password
	delays time.Duration   // to answer a wrong one
	broken error
	gate   chan struct{} // what a query waits for, if it is not nil
	asked  int
	now    int
	most   int
	closed bool
	client bool // answers depend on the client
}

// sleep waits for d, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *fakeSource) Type() string          { return "fake" }
func (s *fakeSource) DependsOnClient() bool { return s.client }

func (s *fakeSource) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
}

func (s *fakeSource) enter(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now += n
	s.asked += max(n, 0)
	s.most = max(s.most, s.now)
}

func (s *fakeSource) queries() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

func (s *fakeSource) CheckPassword(ctx context.Context, l protocol.PasswordLogin) (Answer, error) {
	s.enter(1)
	defer s.enter(-1)
	if s.gate != nil {
		select {
		case <-s.gate:
		case <-ctx.Done():
			return Answer{}, ctx.Err()
		}
	}
	time.Sleep(s.looks)
	switch {
	case s.broken != nil:
		return Answer{}, s.broken
	case !s.users[l.User.Local()]:
		return Answer{}, nil
	}
	delay := s.binds
	if l.Password != "right" {
		delay += s.delays
	}
	if err := sleep(ctx, delay); err != nil {
		return Answer{}, err
	}
	if l.Password != "right" {
		return Answer{Verdict: Rejected}, nil
	}
	return Answer{Verdict: Accepted}, nil
}

func newRegistry(t *testing.T, s Set) *Registry {
	r := New([]string{"example.com", "example.net"}, slog.New(slog.DiscardHandler))
	r.Replace(s)
	t.Cleanup(r.Close)
	return r
}

func addr(name string) protocol.Address { return protocol.CanonicalAddress(name + "@example.com") }

func login(name, password string) Login {
	return Login{PasswordLogin: protocol.PasswordLogin{User: addr(name), Password: password, Remote: netip.MustParseAddrPort("192.0.2.1:7")}}
}

// The first source that knows the user decides, and an account that belongs to
// a source is checked by that one alone.
func TestOrderOfSources(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		corp := &fakeSource{users: map[string]bool{"alice": true, "both": true}}
		club := &fakeSource{users: map[string]bool{"bob": true, "both": true}}
		down := &fakeSource{broken: errors.New("connection refused")}
		r := newRegistry(t, Set{
			Sources: map[string]Source{"corp": corp, "club": club, "down": down},
			Domains: map[string][]string{"example.com": {"corp", Table, "club"}, "example.net": {"down", "corp"}},
		})
		for _, tt := range []struct {
			name    string
			login   func() Login
			verdict Verdict
			source  string
			broken  bool
		}{
			{"a user of the first", func() Login { return login("alice", "right") }, Accepted, "corp", false},
			{"with a wrong password", func() Login { return login("alice", "wrong") }, Rejected, "corp", false},
			{"a user of the last", func() Login { return login("bob", "right") }, Accepted, "club", false},
			{"a user of both", func() Login { return login("both", "wrong") }, Rejected, "corp", false},
			{"a user of none", func() Login { return login("eve", "right") }, Rejected, "", false},
			{"a user of the table", func() Login { l := login("carol", "own"); l.Table = Accepted; return l }, Accepted, Table, false},
			{"with a wrong password of the table", func() Login { l := login("carol", "right"); l.Table = Rejected; return l }, Rejected, Table, false},
			{"a user of the first and the table", func() Login { l := login("alice", "own"); l.Table = Accepted; return l }, Rejected, "corp", false},
			{"an account of the last", func() Login { l := login("both", "right"); l.Owner = "club"; return l }, Accepted, "club", false},
			{"an account of a source that is gone", func() Login { l := login("alice", "right"); l.Owner = "old"; return l }, Unknown, "", true},
			{"an app password that was removed", func() Login { return login("alice", protocol.NewAppPassword(make([]byte, protocol.AppPasswordOctets))) }, Rejected, Table, false},
			{"behind a source that is down", func() Login {
				l := login("alice", "right")
				l.User = protocol.CanonicalAddress("alice@example.net")
				return l
			}, Unknown, "", true},
			{"an account behind a source that is down", func() Login {
				l := login("alice", "right")
				l.User, l.Owner = protocol.CanonicalAddress("alice@example.net"), "corp"
				return l
			}, Accepted, "corp", false},
			{"nobody", func() Login { l := login("alice", "right"); l.User = protocol.Address{}; return l }, Rejected, "", false},
		} {
			a, err := r.CheckPassword(t.Context(), tt.login())
			if a.Verdict != tt.verdict || a.Source != tt.source || (err != nil) != tt.broken {
				t.Errorf("%s: %v by %q, %v", tt.name, a.Verdict, a.Source, err)
			}
			if _, ok := errors.AsType[*UnavailableError](err); err != nil && !ok {
				t.Errorf("%s: %v is no *UnavailableError", tt.name, err)
			}
		}
	})
}

// Rejections take the same time, whatever they are for: an unknown user, a wrong
// password, an account of the table, an app password, or a repeat.
func TestRejectionsTakeTheSameTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		corp := &fakeSource{users: map[string]bool{"alice": true}, looks: 20 * time.Millisecond, binds: 70 * time.Millisecond}
		r := newRegistry(t, Set{Sources: map[string]Source{"corp": corp}, Domains: map[string][]string{"example.com": {Table, "corp"}}})
		ofTable, refused, owned := login("carol", "wrong"), login("off", "right"), login("alice", "bad")
		ofTable.Table, refused.Refused, owned.Owner = Rejected, true, "corp"
		for name, l := range map[string]Login{
			"an unknown user": login("eve", "wrong"), "a wrong password": login("alice", "wrong"), "the table": ofTable,
			"a disabled account": refused, "an account of the source": owned,
			"an app password": login("alice", protocol.NewAppPassword(make([]byte, protocol.AppPasswordOctets))),
		} {
			for _, again := range []string{"", " again"} {
				began := time.Now()
				if a, err := r.CheckPassword(t.Context(), l); err != nil || a.Verdict != Rejected {
					t.Errorf("%s: %v, %v", name, a, err)
				}
				if took := time.Since(began); took != rejectionStep {
					t.Errorf("%s%s took %v", name, again, took)
				}
			}
		}
		began := time.Now()
		if _, err := r.CheckPassword(t.Context(), login("alice", "right")); err != nil || time.Since(began) != 90*time.Millisecond {
			t.Errorf("a right password took %v: %v", time.Since(began), err)
		}
	})
}

// A login waits for its sources for 3 s, also for one that ignores its context
// and for one that has no room.
func TestLoginsDoNotWaitForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		corp := &fakeSource{looks: time.Hour}
		r := newRegistry(t, Set{Sources: map[string]Source{"corp": corp}, Domains: map[string][]string{"example.com": {"corp"}}})
		began := time.Now()
		var all sync.WaitGroup
		for i := range maxInFlight + 10 {
			all.Go(func() {
				if a, err := r.CheckPassword(t.Context(), login(fmt.Sprint("user", i), "right")); err == nil {
					t.Errorf("%v", a)
				}
				if took := time.Since(began); took != protocol.SourceTimeout {
					t.Errorf("it took %v", took)
				}
			})
		}
		all.Wait()
		synctest.Wait()
		if n := corp.queries(); n != maxInFlight {
			t.Errorf("%d queries were made", n)
		}
		if n := r.Metrics()[0].Unavailable.Load(); n != 10 {
			t.Errorf("%d queries found no room", n)
		}
		time.Sleep(2 * time.Hour)
	})
}

// Identical logins at the same time make one query, and a rejection is not
// asked again for 5 s. Other users and passwords are.
func TestIdenticalLoginsAreMerged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		corp := &fakeSource{users: map[string]bool{"alice": true}, gate: make(chan struct{})}
		r := newRegistry(t, Set{Sources: map[string]Source{"corp": corp}, Domains: map[string][]string{"example.com": {"corp"}}})
		check := func(l Login) { _, _ = r.CheckPassword(t.Context(), l) }
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() { check(login("alice", "right")) })
		}
		synctest.Wait()
		if corp.queries() != 1 {
			t.Errorf("%d queries for 100 logins", corp.queries())
		}
		close(corp.gate)
		all.Wait()
		for _, tt := range []struct {
			l    Login
			wait time.Duration
			want int // queries
		}{
			{login("alice", "right"), 0, 1}, {login("alice", "right"), 0, 1}, // accepted: asked each time
			{login("alice", "wrong"), 0, 1}, {login("alice", "wrong"), 0, 0}, {login("alice", "Wrong"), 0, 1}, {login("bob", "wrong"), 0, 1},
			{login("alice", "wrong"), rejectionMemory, 1},
		} {
			time.Sleep(tt.wait)
			before := corp.queries()
			check(tt.l)
			if n := corp.queries() - before; n != tt.want {
				t.Errorf("%v %s made %d queries, want %d", tt.l.User, tt.l.Password, n, tt.want)
			}
		}
	})
}

// Where the answer depends on the client, only logins from one address are the
// same.
func TestLoginsFromOtherAddressesAreOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for client, want := range map[bool]int{false: 1, true: 2} {
			corp := &fakeSource{client: client}
			r := newRegistry(t, Set{Sources: map[string]Source{"corp": corp}, Domains: map[string][]string{"example.com": {"corp"}}})
			l := login("alice", "wrong")
			_, _ = r.CheckPassword(t.Context(), l)
			l.Remote = netip.MustParseAddrPort("192.0.2.2:7")
			_, _ = r.CheckPassword(t.Context(), l)
			if corp.queries() != want {
				t.Errorf("client %v: %d queries", client, corp.queries())
			}
		}
	})
}

// A client that goes away ends neither the query nor the login of another.
func TestOneWhoGivesUpLeavesTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		corp := &fakeSource{users: map[string]bool{"alice": true}, looks: time.Second}
		r := newRegistry(t, Set{Sources: map[string]Source{"corp": corp}, Domains: map[string][]string{"example.com": {"corp"}}})
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		var all sync.WaitGroup
		all.Go(func() {
			if _, err := r.CheckPassword(ctx, login("alice", "right")); err == nil {
				t.Error("who gave up was let in")
			}
		})
		synctest.Wait()
		all.Go(func() {
			if a, err := r.CheckPassword(t.Context(), login("alice", "right")); err != nil || a.Verdict != Accepted {
				t.Errorf("%v, %v", a, err)
			}
		})
		all.Wait()
		if corp.queries() != 1 {
			t.Errorf("%d queries", corp.queries())
		}
	})
}

// Replacing the configuration closes the old sources, and keeps what was
// counted of those that stay.
func TestReplace(t *testing.T) {
	old, fresh := &fakeSource{}, &fakeSource{users: map[string]bool{"alice": true}}
	r := newRegistry(t, Set{Sources: map[string]Source{"corp": old}, Domains: map[string][]string{"example.com": {"corp"}}})
	synctest.Test(t, func(t *testing.T) {
		if _, err := r.CheckPassword(t.Context(), login("alice", "right")); err != nil {
			t.Error(err)
		}
	})
	r.Replace(Set{Sources: map[string]Source{"corp": fresh}, Domains: map[string][]string{"example.com": {"corp"}}})
	if a, err := r.CheckPassword(t.Context(), login("alice", "right")); err != nil || a.Verdict != Accepted || !old.closed {
		t.Errorf("%v, %v; the old one is closed: %v", a, err, old.closed)
	}
	if m := r.Metrics()[0]; m.Verdicts[Unknown].Load() != 1 || m.Verdicts[Accepted].Load() != 1 {
		t.Errorf("%d unknown, %d accepted", m.Verdicts[Unknown].Load(), m.Verdicts[Accepted].Load())
	}
	r.Close()
	if !fresh.closed || len(r.Metrics()) != 0 {
		t.Error("it is not closed")
	}
}

// A source that stays as it is goes on: it is not closed, and rejections are
// remembered.
func TestReplaceKeepsWhatStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		corp, club := &fakeSource{users: map[string]bool{"alice": true}}, &fakeSource{}
		r := newRegistry(t, Set{Sources: map[string]Source{"corp": corp, "club": club}, Domains: map[string][]string{"example.com": {"corp", "club"}}})
		check := func(want Verdict) {
			t.Helper()
			if a, err := r.CheckPassword(t.Context(), login("alice", "wrong")); err != nil || a.Verdict != want {
				t.Errorf("%v, %v", a.Verdict, err)
			}
		}
		check(Rejected)
		r.Replace(Set{Sources: map[string]Source{"corp": corp}, Domains: map[string][]string{"example.com": {Table, "corp"}}})
		check(Rejected)
		if corp.closed || !club.closed || corp.queries() != 1 {
			t.Errorf("closed: %v and %v, asked %d times", corp.closed, club.closed, corp.queries())
		}
		r.Replace(Set{Sources: map[string]Source{"corp": &fakeSource{}}, Domains: map[string][]string{"example.com": {"corp"}}})
		if !corp.closed {
			t.Error("a source that another one of its name replaces is not closed")
		}
	})
}

// noPasswords is a source that checks none.
type noPasswords struct{}

func (noPasswords) Type() string { return "other" }
func (noPasswords) Close()       {}

// An account of a source without passwords has none, and one of a domain that
// has not the table has none there.
func TestAccountsWithoutPasswords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRegistry(t, Set{Sources: map[string]Source{"other": noPasswords{}}, Domains: map[string][]string{"example.com": {"other"}}})
		owned, ofTable := login("dora", "right"), login("carol", "right")
		owned.Owner, ofTable.Table = "other", Accepted
		for _, l := range []Login{owned, ofTable} {
			if a, err := r.CheckPassword(t.Context(), l); err != nil || a.Verdict != Rejected {
				t.Errorf("%v: %v, %v", l.User, a, err)
			}
		}
	})
}

func TestLoginMethods(t *testing.T) {
	s := &fakeSource{}
	for _, tt := range []struct {
		com, net  []string
		com1, all protocol.PasswordCheck
	}{
		{nil, nil, protocol.ChecksInTable, protocol.ChecksInTable},
		{[]string{"other"}, nil, protocol.ChecksSourceFirst, protocol.ChecksSourceFirst}, // nobody has a password
		{[]string{"other", Table}, nil, protocol.ChecksInTable, protocol.ChecksInTable},
		{[]string{Table}, nil, protocol.ChecksInTable, protocol.ChecksInTable},
		{[]string{Table, "s"}, nil, protocol.ChecksTableFirst, protocol.ChecksTableFirst},
		{[]string{"s", Table}, nil, protocol.ChecksSourceFirst, protocol.ChecksSourceFirst},
		{[]string{"s"}, []string{Table}, protocol.ChecksSourceFirst, protocol.ChecksSourceFirst},
		{[]string{Table}, []string{"s"}, protocol.ChecksInTable, protocol.ChecksSourceFirst},
	} {
		domains := map[string][]string{}
		if tt.com != nil {
			domains["example.com"] = tt.com
		}
		if tt.net != nil {
			domains["example.net"] = tt.net
		}
		r := newRegistry(t, Set{Sources: map[string]Source{"s": s, "other": noPasswords{}}, Domains: domains})
		if got := r.LoginMethods("example.com").Passwords; got != tt.com1 || r.AsksSources("example.com") != (got != protocol.ChecksInTable) {
			t.Errorf("%v: %v", tt.com, got)
		}
		if got := r.LoginMethods("").Passwords; got != tt.all {
			t.Errorf("%v and %v: %v for all", tt.com, tt.net, got)
		}
	}
}

func TestRejectionsAreBounded(t *testing.T) {
	r := rejections{byKey: map[queryKey]rejection{}}
	now := time.Now()
	for i := range maxRejections + 10 {
		r.remember(queryKey{byte(i), byte(i >> 8), byte(i >> 16)}, Rejected, now)
	}
	if n := len(r.byKey); n != maxRejections {
		t.Errorf("%d are remembered", n)
	}
	r.remember(queryKey{1, 2, 3, 4}, Rejected, now.Add(rejectionMemory))
	if n := len(r.byKey); n != 1 {
		t.Errorf("%d are remembered after all others have ended", n)
	}
}
