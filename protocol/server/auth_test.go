package server

import (
	"encoding/base64"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"simpd/protocol"
	"simpd/protocol/server/internal/sasl"
	"simpd/protocol/transcript"
)

func (s *stage) greeted() *client {
	s.Helper()
	c := s.dial()
	c.send("h HELLO version=SIMP/1.0")
	c.expect("h 200 <rest>")
	return c
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func TestAUTHWantsWhatItsMechanismSays(t *testing.T) {
	play(t, nil, func(s *stage) {
		c := s.greeted()
		for _, x := range [][2]string{
			{"AUTH", "400 :mech is missing: AUTH mech=SCRAM-SHA-256"},
			{"AUTH mech=CRAM-MD5", "400 :CRAM-MD5 is not offered here"},
			{"AUTH mech=EXTERNAL data=" + b64("example.net"), "400 :EXTERNAL is not offered here"},
			{"AUTH mech=SCRAM-SHA-256-PLUS", "400 :SCRAM-SHA-256-PLUS is not offered here"},
			{"AUTH mech=PLAIN data=!", "400 :data is not valid base64"},
			{"AUTH mech=PLAIN data=" + b64("a\x00b"), "400 :<rest>"},
			{"AUTH mech=SCRAM-SHA-256 data=" + b64("nonsense"), "400 :invalid SCRAM message"},
			{"AUTH mech=PLAIN data=" + b64("bob@example.com\x00alice@example.com\x00secret"), "403 :the authorization identity is another's"},
			{"AUTH mech=SCRAM-SHA-256 data=" + b64("n,a=bob@example.com,n=alice@example.com,r=abc"), "403 :the authorization identity is another's"},
			{"MORE data=", "409 :MORE continues an AUTH: there is none"},
			{"PASSWD data=" + b64("a\x00b"), "401 :AUTH comes first"},
		} {
			c.send("1 %s", x[0])
			c.expect("1 %s", x[1])
		}
		c.send("2 AUTH mech=plain data=%s", b64("ALICE@example.com\x00alice@example.com\x00secret"))
		c.expect("2 200 ima=alice@example.com")
		c.send("3 AUTH mech=PLAIN")
		c.expect("3 409 :this connection is authenticated already")
	})
}

func TestAUTHByChallengeAndLiteral(t *testing.T) {
	play(t, nil, func(s *stage) {
		c := s.greeted()
		c.send("1 AUTH mech=PLAIN")
		c.expect("1 101 data=")
		c.send("2 LISTEN")
		c.expect("2 409 :AUTH is not answered yet: only MORE, PING and QUIT may be sent")
		c.send("3 PING")
		c.expect("3 200")
		c.send("4 MORE data=")
		c.expect("4 409 :MORE bears the tag of the AUTH that it continues")
		c.send("5 STARTTLS")
		c.expect("5 409 :<rest>")
		c.send("1 MORE cancel=yes")
		c.expect("1 401 :given up")
		data := plainData("alice", "secret")
		c.send("1 AUTH mech=PLAIN")
		c.expect("1 101 data=")
		c.write(fmt.Sprintf("1 MORE {%d}\r\n%s", len(data), data))
		c.expect("1 200 ima=alice@example.com")
	})
}

func TestAUTHDataLimit(t *testing.T) {
	play(t, nil, func(s *stage) {
		c := s.greeted()
		big := b64("\x00alice@example.com\x00" + strings.Repeat("x", protocol.MaxAuthData))
		fits, over := big[:protocol.MaxAuthData], big[:protocol.MaxAuthData+4]
		c.write("1 AUTH mech=PLAIN {16388}\r\n" + over)
		c.expect("1 413 :data has more than 16384 octets")
		c.write("2 AUTH mech=PLAIN {16384}\r\n" + fits)
		c.expect("2 401 :the address or the password is wrong")
		c.write("3 AUTH mech=PLAIN data=AAAA {4}\r\nAAAA")
		c.expect("3 400 :data is given twice")
	})
}

// An unknown user, a wrong password and a disabled account are told the
// same; an unknown user's salt is steady.
func TestUnknownUsersLookLikeKnownOnes(t *testing.T) {
	play(t, nil, func(s *stage) {
		carol := address(t, "carol@example.com")
		disabled := s.site.accounts[carol]
		disabled.Disabled = true
		s.site.accounts[carol] = disabled
		const wrong = "1 401 :the address or the password is wrong"
		for _, data := range []string{
			plainData("alice", "wrong"), plainData("nobody", "secret"), plainData("carol", "secret"),
			b64("\x00alice@elsewhere.example\x00secret"), b64("\x00no address\x00secret"),
		} {
			c := s.greeted()
			c.send("1 AUTH mech=PLAIN data=%s", data)
			c.expect(wrong)
		}
		first := map[string]string{}
		for _, name := range []string{"alice", "nobody", "alice", "nobody"} {
			c := s.greeted()
			c.send("1 AUTH mech=SCRAM-SHA-256 data=%s", b64("n,,n="+name+"@example.com,r=fyko"))
			challenge, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(c.expect("1 101 data=<any>"), "1 101 data="))
			nonce, rest, _ := strings.Cut(string(challenge), ",")
			if len(nonce) < len("r=fyko")+18 {
				t.Errorf("the server's nonce is short: %s", nonce)
			}
			if first[name] != "" && first[name] != rest {
				t.Errorf("the salt of %s is not steady", name)
			}
			first[name] = rest
			c.send("1 MORE data=%s", b64("c=biws,"+nonce+",p="+b64(strings.Repeat("x", 32))))
			c.expect(wrong)
		}
		if len(first["alice"]) != len(first["nobody"]) {
			t.Errorf("known and unknown are told apart: %q %q", first["alice"], first["nobody"])
		}
	})
}

// PLAIN hashes for an unknown user too.
func TestUnknownUsersTakeAsLong(t *testing.T) {
	h := newHarbour(t, nil)
	for _, a := range []string{"alice@example.com", "nobody@example.com"} {
		c, _ := h.site.Credentials(address(t, a))
		before := c.Fits("wrong") // same code, same iterations
		if before || c.Iterations != protocol.MinScramIterations {
			t.Errorf("%s is checked against %d iterations", a, c.Iterations)
		}
	}
}

func TestFiveFailedLoginsEndTheConnection(t *testing.T) {
	play(t, nil, func(s *stage) {
		c := s.greeted()
		for range maxFailures {
			c.send("1 AUTH mech=PLAIN data=%s", plainData("alice", "wrong"))
			c.expect("1 401 :the address or the password is wrong")
		}
		c.expect("* BYE status=401 :too many failed logins")
		c.expectEnd()
	})
}

// The budget of failures is asked, and what it says is passed on; it does
// not hold for another source.
func TestBudgetOfFailures(t *testing.T) {
	play(t, nil, func(s *stage) {
		s.site.failed[s.source.Addr()] = 29
		c := s.greeted()
		c.send("1 AUTH mech=PLAIN data=%s", plainData("alice", "wrong"))
		c.expect("1 401 :<rest>")
		c.send("2 AUTH mech=PLAIN data=%s", plainData("alice", "secret"))
		c.expect("2 429 retry=3 :too many failed logins")
		c.send("3 AUTH mech=SCRAM-SHA-256 data=%s", b64("n,,n=alice@example.com,r=fyko"))
		c.expect("3 429 retry=3 :too many failed logins")
		s.source = netip.MustParseAddrPort("198.51.100.7:1")
		s.login("alice")
	})
}

func TestSCRAMInClear(t *testing.T) {
	play(t, nil, func(s *stage) {
		c := s.greeted()
		if line := c.scram(sasl.NameScram, "wrong", nil); line != "a 401 :the address or the password is wrong" {
			t.Error(line)
		}
		if line := c.scram(sasl.NameScram, "secret", nil); !transcript.Fits("a 200 ima=alice@example.com data=<any>", line) {
			t.Error(line)
		}
	})
}

func TestAUTHPipelined(t *testing.T) {
	play(t, nil, func(s *stage) {
		c := s.connect(roomy)
		c.write("1 HELLO version=SIMP/1.0\r\n2 AUTH mech=PLAIN\r\n2 MORE data=" + plainData("bob", "secret") + "\r\n")
		c.expect("* HELLO <rest>")
		c.expect("1 200 <rest>")
		c.expect("2 101 data=")
		c.expect("2 200 ima=bob@example.com")
	})
}

func TestQUITDuringAUTH(t *testing.T) {
	play(t, nil, func(s *stage) {
		c := s.greeted()
		c.send("1 AUTH mech=PLAIN")
		c.expect("1 101 data=")
		c.send("2 QUIT")
		c.expect("1 401 :given up")
		c.expect("2 200")
		c.expectEnd()
	})
}

func TestPASSWD(t *testing.T) {
	play(t, nil, func(s *stage) {
		other := s.listen("alice")
		c := s.login("alice")
		for _, x := range [][2]string{
			{"PASSWD", "400 :PASSWD requires data=BASE64(old NUL new)"},
			{"PASSWD data=" + b64("secret"), "400 :PASSWD requires data=BASE64(old NUL new)"},
			{"PASSWD data=" + b64("wrong\x00new"), "401 :the address or the password is wrong"},
			{"PASSWD data=" + b64("secret\x00"), "400 :<rest>"},
			{"PASSWD data=" + b64("secret\x00better"), "200"},
		} {
			c.send("1 %s", x[0])
			c.expect("1 %s", x[1])
		}
		other.expect("* BYE status=401 :the password was changed")
		other.expectEnd()
		c.send("2 PING")
		c.expect("2 200")
		again := s.greeted()
		again.send("1 AUTH mech=PLAIN data=%s", plainData("alice", "better"))
		again.expect("1 200 ima=alice@example.com")
	})
}

func TestPASSWDWantsTLS(t *testing.T) {
	play(t, func(c *Config) { c.Insecure = false }, func(s *stage) {
		c := s.greeted()
		c.send("1 AUTH mech=PLAIN data=%s", plainData("alice", "secret"))
		c.expect("1 421 :<rest>")
		if line := c.scram(sasl.NameScram, "secret", nil); !transcript.Fits("a 200 <rest>", line) {
			t.Fatal(line)
		}
		c.send("2 PASSWD data=%s", b64("secret\x00better"))
		c.expect("2 421 :<rest>")
	})
}

// A client has to be authenticated within 30 s.
func TestUnauthenticatedInTime(t *testing.T) {
	play(t, nil, func(s *stage) {
		late, silent := s.greeted(), s.dial()
		started := time.Now()
		late.expectNothing(authTimeout - time.Second)
		late.send("1 PING")
		late.expect("1 200")
		for _, c := range []*client{late, silent} {
			c.expect("* BYE status=401 :not authenticated within 30s")
			c.expectEnd()
		}
		if took := time.Since(started); took < authTimeout || took > authTimeout+time.Second {
			t.Errorf("they were sent away after %v", took)
		}
		in := s.login("alice")
		in.expectNothing(2 * authTimeout)
		in.send("1 PING")
		in.expect("1 200")
	})
}
