package server

import (
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Whatever leaves the position in the stream in doubt ends the
// connection, and nothing of it is relayed.
func TestFramingIsNeverRepaired(t *testing.T) {
	for name, octets := range map[string]string{
		"bare LF":                "1 PING\n2 PING\r\n",
		"bare CR":                "1 PING\r2 PING\r\n",
		"CR CR LF":               "1 PING\r\r\n",
		"NUL":                    "1 PING\x00\r\n",
		"invalid UTF-8":          "1 PING x=\xc3\x28\r\n",
		"overlong UTF-8":         "1 PING x=\xc0\xaf\r\n",
		"surrogate":              "1 PING x=\xed\xa0\x80\r\n",
		"no end":                 strings.Repeat("x", 5000),
		"literal +5":             "1 SEND to=bob@example.com {+5}\r\nhello",
		"literal 05":             "1 SEND to=bob@example.com {05}\r\nhello",
		"literal -1":             "1 SEND to=bob@example.com {-1}\r\nhello",
		"literal 0x5":            "1 SEND to=bob@example.com {0x5}\r\nhello",
		"literal empty":          "1 SEND to=bob@example.com {}\r\nhello",
		"literal huge":           "1 SEND to=bob@example.com {9223372036854775808}\r\nhello",
		"literal open":           "1 SEND to=bob@example.com {5\r\nhello",
		"literal nested":         "1 SEND to=bob@example.com {{5}}\r\nhello",
		"literal and more":       "1 SEND to=bob@example.com {5}x\r\nhello",
		"LF in a literal's line": "1 SEND to=bob@example.com {5}\nhello",
	} {
		t.Run(name, func(t *testing.T) {
			play(t, nil, func(s *stage) {
				bob, c := s.listen("bob"), s.login("alice")
				c.write(octets + "3 SEND to=bob@example.com {1}\r\nx")
				c.expect("* BYE status=400 :<rest>")
				c.expectEnd()
				bob.expectNothing(time.Second)
			})
		})
	}
}

// A literal that stands elsewhere than at the end is a malformed param.
func TestLiteralElsewhereIsMalformed(t *testing.T) {
	play(t, nil, func(s *stage) {
		c := s.login("alice")
		c.send("1 SEND {5} to=bob@example.com")
		c.expect("1 400 <rest>")
		c.send(`2 LISTEN note="{5}"`)
		c.expect("2 200 <rest>")
		c.send("3 UNLISTEN :see {5}")
		c.expect("3 200 <rest>")
	})
}

// TLS or HTTP on the plain port ends at once, without a word of ours.
func TestForeignProtocols(t *testing.T) {
	for name, octets := range map[string]string{
		"TLS": "\x16\x03\x01\x02\x00", "GET": "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
		"POST": "POST /simp HTTP/1.0\r\n", "HTTP/2": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			play(t, nil, func(s *stage) {
				c := s.dial()
				if _, err := io.WriteString(c.Conn, octets); err != nil {
					t.Fatal(err)
				}
				c.expectEnd()
				if s.server.metrics.WrongProtocol.Load() != 1 {
					t.Error("it was not counted")
				}
			})
		})
	}
	play(t, nil, func(s *stage) { // what looks like it and is not
		c := s.dial()
		c.send("GET PING")
		c.expect("GET 200")
		c.send("GET / HTTP/1.1")
		c.expect("GET 400 <rest>")
	})
}

// A response with a literal is wrong, but says what it says, also where its
// octets come later.
func TestResponseWithLiteral(t *testing.T) {
	play(t, nil, func(s *stage) {
		bob, alice := s.listen("bob"), s.login("alice")
		alice.write("1 SEND to=bob@example.com {1}\r\nx2 SEND to=bob@example.com {1}\r\ny")
		bob.message()
		bob.message()
		bob.write("m1 200 {5}\r\n")
		synctest.Wait()
		bob.write("m2 48")
		synctest.Wait()
		bob.write("6 :m2 486\r\n")
		alice.expect("1 200 <rest>")
		bob.send("m2 486")
		alice.expect("2 486 <rest>")
	})
}
