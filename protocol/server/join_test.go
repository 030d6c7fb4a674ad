package server

import (
	"strings"
	"testing"

	"simpd/protocol"
)

// invite lets a code create accounts.
func (s *stage) invite(code string, uses int) {
	s.site.mu.Lock()
	defer s.site.mu.Unlock()
	s.site.invitations[code] = uses
}

func TestJOINCreatesAnAccount(t *testing.T) {
	play(t, nil, func(s *stage) {
		s.invite("k3fm-7qpd", 1)
		c := s.greeted()
		c.send("1 JOIN code=k3fm-7qpd ima=alice@example.com data=%s", b64("secret"))
		c.expect("1 409 :alice@example.com has an account already")
		c.send("2 JOIN code=k3fm-7qpd ima=Zoë@EXAMPLE.com data=%s", b64("a good one"))
		c.expect("2 200 ima=zoë@example.com")
		c.send("3 AUTH mech=PLAIN data=%s", b64("\x00zoë@example.com\x00a good one"))
		c.expect("3 200 ima=zoë@example.com")
		c.send("4 JOIN code=k3fm-7qpd ima=yan@example.com data=%s", b64("secret"))
		c.expect("4 409 :this connection is authenticated already")
		c = s.greeted()
		c.send("5 JOIN code=k3fm-7qpd ima=yan@example.com data=%s", b64("secret"))
		c.expect("5 401 :wrong code")
	})
}

func TestJOINWantsWhatItSays(t *testing.T) {
	play(t, nil, func(s *stage) {
		s.invite("x", 1)
		c := s.dial()
		c.send("1 JOIN code=x ima=zoe@example.com data=%s", b64("secret"))
		c.expect("1 409 :HELLO comes first")
		c.send("h HELLO version=SIMP/1.1")
		c.expect("h 200 <rest>")
		for request, answer := range map[string]string{
			"JOIN":                            "400 :JOIN requires code=CODE ima=IMA data=BASE64(password)",
			"JOIN code=x ima=zoe@example.com": "400 :<rest>",
			"JOIN code= ima=zoe@example.com data=AAAA":                                     "400 :<rest>",
			"JOIN code=x ima=zoe data=" + b64("secret"):                                    "400 :<rest>",
			"JOIN code=x ima=zoe@example.com data=!":                                       "400 :data is not valid base64",
			"JOIN code=x ima=zoe@example.com data=":                                        "400 :the password is empty, or has only characters that do not count",
			"JOIN code=x ima=zoe@example.com data=" + b64("a\n"):                           "400 :the password has a control character",
			"JOIN code=x ima=zoe@example.net data=" + b64("a"):                             "403 :example.net is not a domain of this site",
			"JOIN code=x ima=" + strings.Repeat("Ⱥ", 22) + "@example.com data=" + b64("a"): "400 :<rest>",
			"JOIN code=later ima=zoe@example.com data=" + b64("a"):                         "503 :the site is being upgraded",
		} {
			c.send("2 %s", request)
			c.expect("2 %s", answer)
		}
		if len(s.site.attempts) > 0 {
			t.Errorf("counted as failed: %v", s.site.attempts)
		}
		c.send("3 JOIN code=x ima=zoe@example.com data=%s", b64("a"))
		c.expect("3 200 ima=zoe@example.com")
	})
}

// A wrong code is a failed login of the source, and of nobody's account.
func TestJOINWithAWrongCodeIsAFailedLogin(t *testing.T) {
	play(t, nil, func(s *stage) {
		c := s.greeted()
		for range maxFailures {
			c.send("1 JOIN code=guess ima=alice@example.com data=%s", b64("secret"))
			c.expect("1 401 :wrong code")
		}
		c.expect("* BYE status=401 :too many failed logins")
		c.expectEnd()
		for _, a := range s.site.attempts {
			if a.Principal != (protocol.Principal{}) || a.Source != s.source.Addr() {
				t.Errorf("counted: %+v", a)
			}
		}
		if len(s.site.attempts) != maxFailures {
			t.Errorf("%d attempts are counted", len(s.site.attempts))
		}
		s.site.failed[s.source.Addr()] = 30
		c = s.greeted()
		c.send("2 JOIN code=guess ima=zoe@example.com data=%s", b64("secret"))
		c.expect("2 429 retry=3 :too many failed logins")
	})
}

func TestJOINWantsTLS(t *testing.T) {
	play(t, func(c *Config) { c.Insecure = false }, func(s *stage) {
		s.invite("x", 1)
		c := s.greeted()
		c.send("1 JOIN code=x ima=zoe@example.com data=%s", b64("secret"))
		c.expect("1 421 :a password is said under TLS only")
	})
}
