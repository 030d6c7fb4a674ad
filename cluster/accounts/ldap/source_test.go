package ldap

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"simpd/cluster/accounts"
	"simpd/cluster/accounts/ldap/ldaptest"
	"simpd/protocol"
)

const base = "ou=people,dc=example,dc=com"

func person(uid, password string, attributes ...string) ldaptest.Entry {
	e := ldaptest.Entry{DN: "uid=" + uid + "," + base, Password: password, Attributes: map[string][]string{"uid": {uid}, "mail": {uid + "@example.com"}}}
	for _, a := range attributes {
		name, value, _ := strings.Cut(a, "=")
		e.Attributes[name] = append(e.Attributes[name], value)
	}
	return e
}

// start starts a directory with dora and erik, and a source that asks it.
func start(t *testing.T, change func(*Config, *ldaptest.Server)) (*Source, *ldaptest.Server) {
	t.Helper()
	server := &ldaptest.Server{ServiceDN: "cn=simpd,dc=example,dc=com", ServicePassword: "service"}
	c := Config{Name: "corp", Insecure: true, BindDN: server.ServiceDN, BindPassword: "service", Base: base, Logger: slog.New(slog.DiscardHandler)}
	if change != nil {
		change(&c, server)
	}
	server.Start(t, "127.0.0.1:0")
	server.Set(person("dora", "right"), person("erik", "other"))
	scheme := "ldap://"
	if server.TLS {
		scheme = "ldaps://"
	}
	c.Servers = append(c.Servers, scheme+strings.Replace(server.Addr(), "127.0.0.1", "localhost", 1))
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s, server
}

func addr(s string) protocol.Address { return protocol.CanonicalAddress(s) }

func check(t *testing.T, s *Source, user, password string) accounts.Verdict {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	a, err := s.CheckPassword(ctx, protocol.PasswordLogin{User: addr(user), Password: password})
	if err != nil {
		t.Errorf("%s: %v", user, err)
	}
	return a.Verdict
}

func TestSearchAndBind(t *testing.T) {
	s, server := start(t, nil)
	server.Set(
		person("dora", "right"), person("rené", "right"), person("rene", "other"),
		person("two", "right"), person("twin", "right", "mail=two@example.com"),
		person("off", "right", "userAccountControl=514"), person("on", "right", "userAccountControl=512", "accountExpires=9223372036854775807"),
		person("old", "right", "accountExpires=132223104000000000"), person("held", "right", "nsAccountLock=TRUE"),
		person("shut", "right", "pwdAccountLockedTime=000001010000Z"), person("soon", "right", "pwdAccountLockedTime=20261130000000Z"),
		person("CAPS", "right"), person("star*)(uid=*", "right"),
	)
	for _, tt := range []struct {
		user, password string
		want           accounts.Verdict
	}{
		{"dora@example.com", "right", accounts.Accepted},
		{"dora@example.com", "wrong", accounts.Rejected},
		{"dora@example.com", "", accounts.Rejected},
		{"eve@example.com", "right", accounts.Unknown},
		{"dora@example.net", "right", accounts.Unknown},
		{"rené@example.com", "right", accounts.Accepted}, // which this directory takes for rene
		{"rene@example.com", "right", accounts.Rejected},
		{"two@example.com", "right", accounts.Rejected},
		{"twin@example.com", "right", accounts.Accepted},
		{"off@example.com", "right", accounts.Rejected},
		{"on@example.com", "right", accounts.Accepted},
		{"old@example.com", "right", accounts.Rejected},
		{"held@example.com", "right", accounts.Rejected},
		{"shut@example.com", "right", accounts.Rejected},
		{"soon@example.com", "right", accounts.Accepted}, // the directory decides
		{"caps@example.com", "right", accounts.Accepted},
		{"*@example.com", "right", accounts.Unknown},
		{`star*)(uid=*@example.com`, "right", accounts.Unknown},
	} {
		if got := check(t, s, tt.user, tt.password); got != tt.want {
			t.Errorf("%s with %q: %v, want %v", tt.user, tt.password, got, tt.want)
		}
	}
	for _, dn := range server.Binds() {
		if strings.HasPrefix(dn, "anonymous") {
			t.Errorf("a bind without a password: %s", dn)
		}
	}
}

// A mapping with a domain, a filter and a template for the name to bind with.
func TestMappingFilterAndTemplate(t *testing.T) {
	mapping, err := ParseMapping("{uid}@example.org")
	if err != nil {
		t.Fatal(err)
	}
	s, server := start(t, func(c *Config, _ *ldaptest.Server) { c.Address, c.Filter = mapping, "(|(team=chat)(team=ops))" })
	server.Set(person("dora", "right", "team=chat"), person("erik", "right", "team=sales"))
	for user, want := range map[string]accounts.Verdict{
		"dora@example.org": accounts.Accepted, "erik@example.org": accounts.Unknown, "dora@example.com": accounts.Unknown,
	} {
		if got := check(t, s, user, "right"); got != want {
			t.Errorf("%s: %v, want %v", user, got, want)
		}
	}
	byName, _ := start(t, func(c *Config, v *ldaptest.Server) {
		c.BindDN, c.BindPassword, c.Base, c.BindTemplate = "", "", "", "uid={local},"+base
	})
	for user, want := range map[string]accounts.Verdict{
		"dora@example.com": accounts.Accepted, "erik@example.com": accounts.Rejected, "dora,ou=x@example.com": accounts.Rejected,
	} {
		if got := check(t, byName, user, "right"); got != want {
			t.Errorf("by template, %s: %v, want %v", user, got, want)
		}
	}
}

// What Active Directory adds to its refusals is a reason; other results say
// nothing of the password.
func TestBindResults(t *testing.T) {
	s, server := start(t, nil)
	for _, tt := range []struct {
		code   uint16
		text   string
		failed bool
	}{
		{49, "80090308: LdapErr: DSID-0C090439, comment: AcceptSecurityContext error, data 533, v4563", false},
		{49, "80090308: LdapErr: DSID-0C090439, comment: AcceptSecurityContext error, data 773, v4563", false},
		{49, "", false}, {48, "", false}, {53, "Account inactivated", false}, {19, "locked", false},
		{51, "busy", true}, {52, "unavailable", true}, {80, "other", true}, {1, "operations error", true},
	} {
		server.Refuse(func(string) (uint16, string) { return tt.code, tt.text })
		a, err := s.CheckPassword(t.Context(), protocol.PasswordLogin{User: addr("dora@example.com"), Password: "right"})
		if (err != nil) != tt.failed || err == nil && a.Verdict != accounts.Rejected {
			t.Errorf("%d %s: %v, %v", tt.code, tt.text, a.Verdict, err)
		}
		s.pools[0].breaker = accounts.Breaker{}
	}
	for code, want := range map[string]string{"52e": wrongPassword, "533": "the account is disabled", "773": "the user must choose a new password first", "zzz": wrongPassword} {
		refusal, err := bindResult(&ldap.Error{ResultCode: 49, Err: fmt.Errorf("comment: AcceptSecurityContext error, data %s, v1db1", code)})
		if refusal != want || err != nil {
			t.Errorf("data %s: %q, %v", code, refusal, err)
		}
	}
}

// A search that fails says nothing of a user.
func TestFailedSearches(t *testing.T) {
	s, server := start(t, nil)
	for _, code := range []uint16{ldap.LDAPResultNoSuchObject, ldap.LDAPResultInsufficientAccessRights, ldap.LDAPResultReferral, ldap.LDAPResultTimeLimitExceeded, ldap.LDAPResultBusy} {
		server.FailSearches(code)
		if a, err := s.CheckPassword(t.Context(), protocol.PasswordLogin{User: addr("dora@example.com"), Password: "right"}); err == nil {
			t.Errorf("%d: %v", code, a.Verdict)
		}
		if found, err := s.FindUsers(t.Context(), []protocol.Address{addr("dora@example.com")}); err == nil {
			t.Errorf("%d: %v", code, found)
		}
		if s.pools[0].breaker.IsOpen() {
			t.Errorf("%d: the server counts as failing", code)
		}
	}
	server.FailSearches(0)
	if got := check(t, s, "dora@example.com", "right"); got != accounts.Accepted {
		t.Errorf("afterwards: %v", got)
	}
}

// The server that fails is left alone, and the next one is asked; it is tried
// again later. Idle connections that the server has closed are no failure.
func TestFailover(t *testing.T) {
	s, second := start(t, func(c *Config, _ *ldaptest.Server) { c.Servers = []string{"ldap://127.0.0.1:1"} }) // nobody listens there
	for range 3 {
		if got := check(t, s, "dora@example.com", "right"); got != accounts.Accepted {
			t.Errorf("%v", got)
		}
	}
	servers := s.Servers()
	if !servers["ldap://127.0.0.1:1"] || len(servers) != 2 {
		t.Errorf("%v", servers)
	}
	second.CloseConnections()
	if got := check(t, s, "dora@example.com", "wrong"); got != accounts.Rejected || s.pools[1].breaker.IsOpen() {
		t.Errorf("over closed connections: %v", got)
	}
	second.Stop()
	_, err := s.CheckPassword(t.Context(), protocol.PasswordLogin{User: addr("dora@example.com"), Password: "right"})
	if e, ok := errors.AsType[*accounts.UnavailableError](err); !ok {
		t.Errorf("both are down: %v", err)
	} else if _, err := s.CheckPassword(t.Context(), protocol.PasswordLogin{User: addr("dora@example.com"), Password: "right"}); err == nil {
		t.Errorf("both are down, after %v: accepted", e)
	}
}

// A server that takes connections and does not answer costs its share of the
// time, and no more.
func TestFailoverFromASilentServer(t *testing.T) {
	silent, first := start(t, nil)
	first.Hang(true)
	s, _ := start(t, func(c *Config, _ *ldaptest.Server) { c.Servers = silent.config.Servers })
	ctx, cancel := context.WithTimeout(t.Context(), 6*time.Second)
	defer cancel()
	a, err := s.CheckPassword(ctx, protocol.PasswordLogin{User: addr("dora@example.com"), Password: "right"})
	if err != nil || a.Verdict != accounts.Accepted || !s.pools[0].breaker.IsOpen() {
		t.Errorf("%v, %v", a.Verdict, err)
	}
}

func TestFindUsers(t *testing.T) {
	s, server := start(t, nil)
	entries := []ldaptest.Entry{person("off", "x", "userAccountControl=514"), person("René", "x")}
	var users []protocol.Address
	for i := range 250 {
		name := fmt.Sprint("user", i)
		users = append(users, addr(name+"@example.com"))
		if i%2 == 0 {
			entries = append(entries, person(strings.ToUpper(name), "x"))
		}
	}
	server.Set(entries...)
	users = append(users, addr("off@example.com"), addr("rené@example.com"), addr("rene@example.com"))
	found, err := s.FindUsers(t.Context(), users)
	if err != nil || len(found) != len(users) || server.Searches() != 3 {
		t.Fatalf("%d of %d with %d searches: %v", len(found), len(users), server.Searches(), err)
	}
	for i := range 250 {
		if want := accounts.UserState((i + 1) % 2); found[users[i]] != want {
			t.Errorf("%v: %v, want %v", users[i], found[users[i]], want)
		}
	}
	if got := []accounts.UserState{found[users[250]], found[users[251]], found[users[252]]}; !slices.Equal(got, []accounts.UserState{accounts.UserDisabled, accounts.UserActive, accounts.UserMissing}) {
		t.Errorf("%v", got)
	}
}

func TestExplain(t *testing.T) {
	s, server := start(t, func(c *Config, _ *ldaptest.Server) { c.Servers = []string{"ldap://127.0.0.1:1"} })
	server.Set(person("dora", "x"), person("off", "x", "userAccountControl=514"), person("two", "x"), person("twin", "x", "mail=two@example.com"))
	for user, want := range map[string]struct {
		verdict accounts.Verdict
		text    string
	}{
		"dora@example.com": {accounts.Accepted, "the entry is uid=dora," + base},
		"eve@example.com":  {accounts.Unknown, "no entry has this address"},
		"off@example.com":  {accounts.Rejected, "the account is disabled (userAccountControl)"},
		"two@example.com":  {accounts.Rejected, "several entries have this address"},
	} {
		steps, verdict, err := s.Explain(t.Context(), addr(user))
		text := fmt.Sprint(steps)
		if err != nil || verdict != want.verdict || !strings.Contains(text, want.text) || !strings.Contains(text, "ldap://127.0.0.1:1: dial tcp") {
			t.Errorf("%s: %v: %s", user, verdict, text)
		}
	}
	if binds := server.Binds(); len(binds) > 0 {
		t.Errorf("users were bound: %v", binds)
	}
	server.Stop()
	if steps, verdict, err := s.Explain(t.Context(), addr("dora@example.com")); err == nil {
		t.Errorf("no server answers: %v, %v", steps, verdict)
	}
}
