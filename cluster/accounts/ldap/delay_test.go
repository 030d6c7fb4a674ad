package ldap

import (
	"context"
	"errors"
	"testing"
	"time"

	"simpd/cluster/accounts"
	"simpd/cluster/accounts/ldap/ldaptest"
	"simpd/protocol"
)

// startTwo starts two servers of one directory, of which the first answers wrong
// passwords late.
func startTwo(t *testing.T, change func(*Config, *ldaptest.Server)) (s *Source, first, second *ldaptest.Server, held <-chan struct{}, release func()) {
	other, first := start(t, change)
	s, second = start(t, func(c *Config, v *ldaptest.Server) {
		c.Servers = other.config.Servers
		if change != nil {
			change(c, v)
		}
	})
	held, release = first.DelayRefusals()
	t.Cleanup(release)
	return s, first, second, held, release
}

func byTemplate(c *Config, _ *ldaptest.Server) {
	c.BindDN, c.BindPassword, c.Base, c.BindTemplate = "", "", "", "uid={local},"+base
}

// A server that answers a wrong password late has not failed. No other server is
// asked meanwhile, because the directory would count the password twice, and
// other logins go on.
func TestWrongPasswordsMayBeAnsweredLate(t *testing.T) {
	for name, change := range map[string]func(*Config, *ldaptest.Server){"searched": nil, "by template": byTemplate} {
		s, first, second, held, release := startTwo(t, change)
		wrong := protocol.PasswordLogin{User: addr("dora@example.com"), Password: "wrong"}
		searching, searched := context.WithTimeout(t.Context(), time.Minute)
		verdict := make(chan accounts.Verdict)
		go func() {
			v, err := s.checkAt(searching, t.Context(), s.pools[0], wrong)
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			verdict <- v
		}()
		<-held
		searched() // the time to find a server is over
		if got := check(t, s, "dora@example.com", "right"); got != accounts.Accepted {
			t.Errorf("%s, meanwhile: %v", name, got)
		}
		release()
		if v := <-verdict; v != accounts.Rejected || s.pools[0].breaker.IsOpen() || len(second.Binds()) > 0 || len(first.Binds()) != 2 {
			t.Errorf("%s: %v; the first server fails: %v; binds: %v and %v", name, v, s.pools[0].breaker.IsOpen(), first.Binds(), second.Binds())
		}
	}
}

// A bind that is never answered says nothing of the password nor of the server.
func TestBindWithoutAnAnswer(t *testing.T) {
	for name, change := range map[string]func(*Config, *ldaptest.Server){"searched": nil, "by template": byTemplate} {
		s, _, second, held, _ := startTwo(t, change)
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			<-held
			cancel()
		}()
		a, err := s.CheckPassword(ctx, protocol.PasswordLogin{User: addr("dora@example.com"), Password: "wrong"})
		if _, ok := errors.AsType[*accounts.UnavailableError](err); !ok || s.pools[0].breaker.IsOpen() || len(second.Binds()) > 0 {
			t.Errorf("%s: %v, %v; the server fails: %v; binds at the other: %v", name, a.Verdict, err, s.pools[0].breaker.IsOpen(), second.Binds())
		}
	}
}

// A server that takes connections and answers nothing is not bound to, by
// template either.
func TestSilentServerIsNotBoundTo(t *testing.T) {
	s, first, second, _, _ := startTwo(t, byTemplate)
	first.Hang(true)
	if got := check(t, s, "dora@example.com", "right"); got != accounts.Accepted || !s.pools[0].breaker.IsOpen() || len(second.Binds()) != 1 {
		t.Errorf("%v; the silent server fails: %v", got, s.pools[0].breaker.IsOpen())
	}
}
