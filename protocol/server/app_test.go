package server

import (
	"fmt"
	"strings"
	"testing"

	"simpd/protocol"
	"simpd/protocol/server/internal/sasl"
	"simpd/protocol/transcript"
)

// appPassword adds an app password, and returns its id and what it is.
func (c *client) appPassword(name string) (id, password string) {
	c.Helper()
	c.send("p APP add=%q", name)
	line := c.expect("p 200 id=<any> data=<any>")
	fields := strings.Fields(line)
	return strings.TrimPrefix(fields[2], "id="), strings.TrimPrefix(fields[3], "data=")
}

// The answer to HELLO has the newest version that both sides know.
func TestHELLONegotiatesVersionAndDomain(t *testing.T) {
	play(t, nil, func(s *stage) {
		for request, answer := range map[string]string{
			"version=SIMP/1.0":                       "200 version=SIMP/1.0 <rest>",
			"version=SIMP/1.00":                      "200 version=SIMP/1.0 <rest>",
			"version=SIMP/1.1":                       "200 version=SIMP/1.1 <rest>",
			"version=SIMP/1.2":                       "200 version=SIMP/1.1 <rest>",
			"version=SIMP/1.1 domain=EXAMPLE.com":    "200 version=SIMP/1.1 domain=example.com size=65536 idle=300 auth=SCRAM-SHA-256,PLAIN <rest>",
			"version=SIMP/1.0 domain=example.com":    "200 version=SIMP/1.0 <rest>",
			"version=SIMP/1.1 domain=example.net":    "403 :example.net is not a domain of this site",
			"version=SIMP/1.1 domain=bücher.example": "403 :xn--bcher-kva.example is not a domain of this site",
			"version=SIMP/1.1 domain=[192.0.2.1]":    "403 :<rest>",
			"version=SIMP/1.1 domain=a..b":           "400 :<rest>",
			"version=SIMP/1.1 domain=":               "400 :<rest>",
		} {
			c := s.dial()
			c.send("1 HELLO %s", request)
			c.expect("1 %s", answer)
		}
		c := s.dial() // after a 403 the client may name another
		c.send("1 HELLO version=SIMP/1.1 domain=example.net")
		c.expect("1 403 <rest>")
		c.send("2 HELLO version=SIMP/1.1 domain=example.com")
		c.expect("2 200 <rest>")
	})
}

func TestAPPWantsWhatItSays(t *testing.T) {
	play(t, nil, func(s *stage) {
		c := s.login("alice")
		c.send("1 APP")
		c.expect("1 200")
		for request, answer := range map[string]string{
			"APP add=":                                  "400 :<rest>",
			"APP add=" + strings.Repeat("x", 257):       "400 :<rest>",
			"APP add=x remove=1":                        "400 :add and remove exclude each other",
			"APP add=x until=tomorrow":                  "400 :<rest>",
			"APP add=x until=1999-12-31T23:59:59Z":      "400 :<rest>",
			"APP add=x until=9999-12-31T23:59:59-12:00": "400 :<rest>", // the year 10000 in UTC
			"APP remove=x":                              "400 :<rest>",
			"APP remove=1":                              "404 :<rest>",
			"APP add=x add=y":                           "400 :add is given twice",
		} {
			c.send("2 %s", request)
			c.expect("2 %s", answer)
		}
		c.send(`3 APP add="my phone" until=2999-12-31T23:59:59.5Z`)
		c.expect("3 200 id=<any> data=<any>")
		c.send("4 APP")
		c.expect(`4 100 id=<any> name="my phone" created=2026-11-29T12:00:00.000Z until=2999-12-31T23:59:59.500Z`)
		c.expect("4 200")
	})
}

func TestAPPWantsTLS(t *testing.T) {
	play(t, func(c *Config) { c.Insecure = false }, func(s *stage) {
		c := s.greeted()
		if line := c.scram(sasl.NameScram, "secret", nil); !transcript.Fits("a 200 <rest>", line) {
			t.Fatal(line)
		}
		c.send("1 APP add=phone")
		c.expect("1 421 :<rest>")
		c.send("2 APP")
		c.expect("2 200")
	})
}

// All passwords of a user work by all mechanisms, and the session says which
// app password it has used.
func TestLoginByAppPassword(t *testing.T) {
	play(t, nil, func(s *stage) {
		c := s.login("alice")
		ids, passwords := make([]string, protocol.MaxAppPasswords), make([]string, protocol.MaxAppPasswords)
		for i := range ids {
			ids[i], passwords[i] = c.appPassword(fmt.Sprint("device ", i))
		}
		c.send("1 APP add=more")
		c.expect("1 409 :<rest>")
		for i, password := range passwords {
			plain := s.greeted()
			for range 2 { // the second time it is remembered
				plain.send("1 AUTH mech=PLAIN data=%s", plainData("alice", password))
				plain.expect("1 200 ima=alice@example.com app=%s", ids[i])
				plain = s.greeted()
			}
			if line := plain.scram(sasl.NameScram, password, nil); !transcript.Fits("a 200 ima=alice@example.com app="+ids[i]+" data=<any>", line) {
				t.Errorf("by SCRAM: %s", line)
			}
		}
		own := s.greeted()
		if line := own.scram(sasl.NameScram, "secret", nil); !transcript.Fits("a 200 ima=alice@example.com data=<any>", line) {
			t.Errorf("the account's own: %s", line)
		}
		wrong := s.greeted()
		if line := wrong.scram(sasl.NameScram, "wrong", nil); line != "a 401 :the address or the password is wrong" {
			t.Error(line)
		}
		wrong.send("1 AUTH mech=PLAIN data=%s", plainData("bob", passwords[0]))
		wrong.expect("1 401 :the address or the password is wrong")
		c.send("2 APP remove=%s", ids[3])
		c.expect("2 200")
		wrong.send("3 AUTH mech=PLAIN data=%s", plainData("alice", passwords[3]))
		wrong.expect("3 401 :the address or the password is wrong")
		if line := wrong.scram(sasl.NameScram, passwords[3], nil); line != "a 401 :the address or the password is wrong" {
			t.Error(line)
		}
	})
}

// Whoever has a device can read what there is, and lock nobody out.
func TestSessionsOfAppPasswordsChangeNoPasswords(t *testing.T) {
	play(t, nil, func(s *stage) {
		id, password := s.login("alice").appPassword("phone")
		c := s.greeted()
		c.send("1 AUTH mech=PLAIN data=%s", plainData("alice", password))
		c.expect("1 200 <rest>")
		for _, request := range []string{
			"PASSWD data=" + b64(password+"\x00better"), "PASSWD data=" + b64("secret\x00better"), "APP add=more", "APP remove=" + id,
		} {
			c.send("2 %s", request)
			c.expect("2 403 :<rest>")
		}
		c.send("3 APP")
		c.expect("3 100 id=%s name=phone <rest>", id)
		c.expect("3 200")
		c.send("4 LISTEN")
		c.expect("4 200 <rest>")
	})
}

// PASSWD keeps the salt, so that the app passwords go on to work; and an app
// password does not count as the old one.
func TestPASSWDKeepsAppPasswords(t *testing.T) {
	play(t, nil, func(s *stage) {
		c := s.login("alice")
		id, password := c.appPassword("phone")
		c.send("1 PASSWD data=%s", b64(password+"\x00better"))
		c.expect("1 401 :<rest>")
		c.send("2 PASSWD data=%s", b64("secret\x00better"))
		c.expect("2 200")
		own, _ := s.site.Credentials(address(t, "alice@example.com"))
		if string(own.Salt) != "0123456789abcdef" {
			t.Errorf("the salt is %q", own.Salt)
		}
		again := s.greeted()
		if line := again.scram(sasl.NameScram, "better", nil); !transcript.Fits("a 200 ima=alice@example.com data=<any>", line) {
			t.Error(line)
		}
		again = s.greeted()
		if line := again.scram(sasl.NameScram, password, nil); !transcript.Fits("a 200 ima=alice@example.com app="+id+" data=<any>", line) {
			t.Error(line)
		}
	})
}
