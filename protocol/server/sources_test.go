package server

import (
	"strings"
	"testing"

	"simpd/protocol"
	"simpd/protocol/server/internal/sasl"
	"simpd/protocol/transcript"
)

// directory answers as account sources do: alice is in the table, dora in a
// directory, and hans in one that is down.
func directory(s *site) func(protocol.PasswordLogin) (protocol.VerifiedLogin, error) {
	return func(l protocol.PasswordLogin) (protocol.VerifiedLogin, error) {
		switch l.User.Local() + " " + l.Password {
		case "alice secret":
			if l.Fits {
				return protocol.VerifiedLogin{}, nil
			}
		case "dora right":
			return protocol.VerifiedLogin{User: l.User, Credential: 77}, nil
		case "hans right", "hans wrong":
			return protocol.VerifiedLogin{}, &protocol.Error{Status: protocol.StatusUnavailable, Text: "try again", Retry: 4}
		}
		return protocol.VerifiedLogin{}, protocol.Errorf(protocol.StatusUnauthorized, "%s is not known", l.User)
	}
}

// Passwords that the table does not decide about are checked by the account
// sources. What they can't check is no failed login.
func TestAUTHAsksSources(t *testing.T) {
	play(t, nil, func(s *stage) {
		s.site.methods.Passwords = protocol.ChecksTableFirst
		s.site.sources = directory(s.site)
		const wrong = "401 :the address or the password is wrong"
		for _, x := range [][2]string{
			{plainData("alice", "secret"), "200 ima=alice@example.com"},
			{plainData("alice", "wrong"), wrong},
			{plainData("dora", "right"), "200 ima=dora@example.com"},
			{plainData("dora", "wrong"), wrong},
			{plainData("eve", "right"), wrong},
			{plainData("hans", "right"), "503 retry=4 :try again"},
		} {
			c := s.greeted()
			c.send("1 AUTH mech=PLAIN data=%s", x[0])
			c.expect("1 %s", x[1])
		}
		if failed, succeeded := s.site.attempted(); len(failed) != 3 || len(succeeded) != 2 {
			t.Errorf("%d have failed, and %d succeeded", len(failed), len(succeeded))
		}
		m := s.server.metrics
		if ok, failed, unavailable := m.Logins.Load(), m.LoginsFailed.Load(), m.LoginsUnavailable.Load(); ok != 2 || failed != 3 || unavailable != 1 {
			t.Errorf("%d, %d failed, %d unavailable", ok, failed, unavailable)
		}
	})
}

// A source that is down ends no connection, however often it is asked.
func TestUnavailableSourcesCloseNothing(t *testing.T) {
	play(t, nil, func(s *stage) {
		s.site.methods.Passwords = protocol.ChecksSourceFirst
		s.site.sources = directory(s.site)
		c := s.greeted()
		for range 2 * maxFailures {
			c.send("1 AUTH mech=PLAIN data=%s", plainData("hans", "wrong"))
			c.expect("1 503 retry=4 :try again")
		}
		c.send("2 AUTH mech=PLAIN data=%s", plainData("dora", "right"))
		c.expect("2 200 ima=dora@example.com")
	})
}

// An app password is checked by the table alone, by PLAIN as by SCRAM; whoever
// belongs to a source has no password here to change.
func TestAppPasswordsDoNotAskSources(t *testing.T) {
	play(t, nil, func(s *stage) {
		owner := s.login("alice")
		_, app := owner.appPassword("phone")
		s.site.methods.Passwords = protocol.ChecksSourceFirst
		s.site.sources = func(l protocol.PasswordLogin) (protocol.VerifiedLogin, error) {
			t.Errorf("%v was asked about", l.User)
			return protocol.VerifiedLogin{}, nil
		}
		c := s.greeted()
		c.send("1 AUTH mech=PLAIN data=%s", plainData("alice", app))
		c.expect("1 200 ima=alice@example.com app=<any>")
		if line := s.greeted().scram(sasl.NameScram, app, nil); !transcript.Fits("a 200 ima=alice@example.com app=<any> data=<any>", line) {
			t.Errorf("SCRAM with the app password: %s", line)
		}
		if line := s.greeted().scram(sasl.NameScram, "secret", nil); line != "a 401 :the address or the password is wrong" {
			t.Errorf("SCRAM with the password of the table: %s", line)
		}

		a := address(t, "alice@example.com")
		credentials := s.site.accounts[a]
		credentials.Source = "corp"
		s.site.accounts[a] = credentials
		owner.send("2 PASSWD data=%s", b64("secret\x00another secret"))
		owner.expect("2 403 :this account belongs to the account source corp: change its password there")
	})
}

// HELLO recommends PLAIN where sources check passwords, and does not offer
// SCRAM where they come before the table.
func TestHELLOOffersWhatSourcesCanDo(t *testing.T) {
	play(t, nil, func(s *stage) {
		for check, want := range map[protocol.PasswordCheck]string{
			protocol.ChecksInTable: "SCRAM-SHA-256,PLAIN", protocol.ChecksTableFirst: "PLAIN,SCRAM-SHA-256", protocol.ChecksSourceFirst: "PLAIN",
		} {
			s.site.methods.Passwords = check
			c := s.dial()
			c.send("1 HELLO version=SIMP/1.1 domain=example.com")
			if line := c.expect("1 200 <rest>"); !strings.Contains(line, " auth="+want+" ") {
				t.Errorf("%v: %s", check, line)
			}
		}
	})
}
