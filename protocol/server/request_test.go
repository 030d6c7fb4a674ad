package server

import (
	"io"
	"strings"
	"testing"

	"simpd/protocol"
)

// Section 4: before HELLO whatever is none of PING, QUIT and STARTTLS is 409,
// a verb that nobody knows too; while AUTH is unanswered likewise.
func TestUnknownVerbsInTheirTurn(t *testing.T) {
	play(t, nil, func(s *stage) {
		c := s.dial()
		c.send("* DANCE")
		c.send("1 DANCE")
		c.expect("1 409 :HELLO comes first")
		c.send("2 HELLO version=SIMP/1.0")
		c.expect("2 200 <rest>")
		c.send("3 DANCE step=1 step=2 {2}\r\nhi")
		c.expect("3 405 :unknown command DANCE")
		c.send("4 AUTH mech=SCRAM-SHA-256")
		c.expect("4 101 data=")
		c.send("5 DANCE")
		c.expect("5 409 :AUTH is not answered yet: only MORE, PING and QUIT may be sent")
		c.send("4 MORE cancel=yes")
		c.expect("4 401 :given up")
		c.send("* DANCE")
		c.send("6 DANCE")
		c.expect("6 405 :unknown command DANCE")
	})
}

// Section 4: any other major number is 505, however big, and any minor one of
// this major number will do.
func TestVersions(t *testing.T) {
	play(t, nil, func(s *stage) {
		c := s.dial()
		for version, status := range map[string]string{
			"SIMP/2.0": "505", "SIMP/0.9": "505", "SIMP/65536.0": "505", "SIMP/18446744073709551617.3": "505",
			"SIMP/1": "400", "SIMP/1.": "400", "SIMP/.0": "400", "SIMP/-1.0": "400", "SIMP/1.0.0": "400", "1.0": "400", "HTTP/1.0": "400",
		} {
			c.send("1 HELLO version=%s", version)
			c.expect("1 %s :<rest>", status)
		}
		c.send("2 HELLO version=SIMP/1.99999999999999999999")
		c.expect("2 200 version=SIMP/1.1 <rest>")
	})
}

// Section 6: each answer to a SEND bears its id, a refusal too: the one that
// the client gave, or one of the server's where it gave none.
func TestRefusalsOfSENDBearItsID(t *testing.T) {
	play(t, nil, func(s *stage) {
		c := s.login("alice")
		for refused, status := range map[string]string{
			"SEND id=mine {2}\r\nhi":                                  "400 id=mine",
			"SEND id=mine to=bob@example.com":                         "400 id=mine",
			"SEND id=mine to=bob@example.com timeout=0 {2}\r\nhi":     "400 id=mine",
			"SEND id=mine to=bob@example.com agent=a agent=b {0}\r\n": "400 id=mine",
			"SEND id=mine to=nowhere {2}\r\nhi":                       "400 id=mine",
			"SEND to=nowhere {2}\r\nhi":                               "400 id=<any>",
			"SEND id= to=bob@example.com {2}\r\nhi":                   "400",
			"SEND id=mine to=nobody@example.com {2}\r\nhi":            "404 id=mine",
		} {
			c.write("1 " + refused + "\r\n") // the server ignores an empty line
			c.expect("1 %s :<rest>", status)
		}
	})
}

// Section 11: another site's user is shown in a rule as given, and matched
// without case (section 8); one of this site's is shown in canonical form.
func TestRulesShowOthersAsGiven(t *testing.T) {
	play(t, nil, func(s *stage) {
		c := s.login("alice")
		for i, who := range []string{"Bob@EXAMPLE.com", `"Carol"@Other.example`, "cAROL@other.example", "dave@other.example"} {
			c.send("%d ACL who=%s message=deny", i, protocol.Quote(who))
			c.expect("%d 200", i)
		}
		c.send("9 ACL")
		c.expect("9 100 who=bob@example.com message=deny")
		c.expect("9 100 who=cAROL@other.example message=deny")
		c.expect("9 100 who=dave@other.example message=deny")
		c.expect("9 200")
		c.send("10 ACL who=CAROL@other.example")
		c.expect("10 200")
		c.send("11 ACL")
		c.expect("11 100 who=bob@example.com message=deny")
		c.expect("11 100 who=dave@other.example message=deny")
		c.expect("11 200")
	})
}

// What is passed on is written anew from what was read, never the octets
// of the line itself, however it was spelt; the entity is passed on as it is.
func TestLinesArePassedOnWrittenAnew(t *testing.T) {
	play(t, nil, func(s *stage) {
		bob, alice := s.listen("bob"), s.login("alice")
		alice.write("1 sEnD X-Internal=1 from=eve@example.com TO=\"\\\"Bob\\\"@EXAMPLE.com\" Node=n9 session=n1.1.1 id=\"n-1\" time=1999-01-01T00:00:00Z {15}\r\nFrom: eve\r\n\r\nhi")
		line := bob.expect("m1 MESSAGE from=alice@example.com to=bob@example.com id=n-1 time=<any> {15}")
		for _, word := range []string{"internal", "eve", "n9", "session", "1999"} {
			if strings.Contains(strings.ToLower(line), word) {
				t.Errorf("%s came through: %s", word, line)
			}
		}
		entity := make([]byte, 15)
		if _, err := io.ReadFull(bob.in, entity); err != nil || string(entity) != "From: eve\r\n\r\nhi" {
			t.Errorf("the entity is %q, %v", entity, err)
		}
	})
}
