package server

import (
	"strings"
	"testing"

	"simpd/protocol"
	"simpd/protocol/server/internal/sasl"
	"simpd/protocol/transcript"
)

// openAccount gives alice the verifier of the empty password, as an account
// may have that is older than the check of passwords.
func openAccount(t *testing.T, s *stage) {
	c, err := protocol.EmptyCredentials([]byte("0123456789abcdef"), protocol.MinScramIterations)
	if err != nil {
		t.Fatal(err)
	}
	c.Unchecked = true
	s.site.accounts[address(t, "alice@example.com")] = c
}

// Nobody logs in with an empty password, even if the account has one.
func TestEmptyPasswordsAreClosed(t *testing.T) {
	play(t, nil, func(s *stage) {
		openAccount(s.T, s)
		const wrong = "a 401 :the address or the password is wrong"
		for range 2 { // it is not remembered as sound
			c := s.greeted()
			if line := c.scram(sasl.NameScram, "", nil); line != wrong {
				t.Error(line)
			}
			for _, password := range []string{"\u00ad", "\ufeff"} {
				c.send("a AUTH mech=PLAIN data=%s", plainData("alice", password))
				c.expect(wrong)
			}
		}
	})
}

// A sound verifier of unknown age is checked once, and lets its user in.
func TestUncheckedVerifiersAreCheckedOnce(t *testing.T) {
	play(t, nil, func(s *stage) {
		alice := address(t, "alice@example.com")
		c := s.site.accounts[alice]
		c.Unchecked = true
		s.site.accounts[alice] = c
		for _, waits := range []bool{true, false} {
			if s.server.verifiers.NeedsCheck(c) != waits {
				t.Errorf("NeedsCheck is not %v", waits)
			}
			if line := s.greeted().scram(sasl.NameScram, "secret", nil); !transcript.Fits("a 200 <rest>", line) {
				t.Error(line)
			}
		}
	})
}

// RFC 5802, section 7: r= has at least one printable character, no comma.
func TestClientNonces(t *testing.T) {
	play(t, nil, func(s *stage) {
		for nonce, answer := range map[string]string{
			"": "400", "a b": "400", "a\x7f": "400", "a\x00": "400", "é": "400", strings.Repeat("x", 256+1): "400",
			"x": "101", "!+-~": "101", strings.Repeat("x", 256): "101",
		} {
			c := s.greeted()
			c.send("1 AUTH mech=SCRAM-SHA-256 data=%s", b64("n,,n=alice@example.com,r="+nonce))
			c.expect("1 %s <rest>", answer)
		}
	})
}

func TestPASSWDChecksTheNewPassword(t *testing.T) {
	play(t, nil, func(s *stage) {
		c := s.login("alice")
		for password, answer := range map[string]string{
			"\u00ad": "400 :the password is empty, or has only characters that do not count",
			"\ufeff": "400 :the password is empty, or has only characters that do not count",
			"a\xff":  "400 :the password is not valid UTF-8", "a\tb": "400 :the password has a control character",
			strings.Repeat("p", protocol.MaxPassword+1): "400 :the password has 1025 octets; at most 1024 are allowed",
		} {
			c.send("1 PASSWD data=%s", b64("secret\x00"+password))
			c.expect("1 %s", answer)
		}
		c.send("1 PASSWD data=%s", b64("secret\x00"+strings.Repeat("p", protocol.MaxPassword)))
		c.expect("1 200")
	})
}
