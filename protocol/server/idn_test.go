package server

import (
	"encoding/base64"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"simpd/protocol"
)

// Lines with addresses that need IDNA are done aside, whatever the verb.
func TestAddressesThatNeedIDNAAreReadAside(t *testing.T) {
	s := &session{server: &Server{config: Config{Domains: []string{"example.com"}}}}
	for line, waits := range map[string]bool{
		"1 SEND to=bob@example.com {0}":          false,
		"1 SEND to=bob@bücher.example {0}":       true,
		"1 SEND to=bøb@example.com {0}":          true,
		"1 SEND to=bob@XN--bcher-kva.example":    true,
		"1 SEND to=bob@example.com note=ü {0}":   false,
		"1 SEND from=ü@a.example to=bob@e.c {0}": true,
		"1 QUERY ima=bob@example.com":            false,
		"1 QUERY ima=bøb@example.com":            true,
		"1 UNWATCH ima=bob@example.com":          false,
		"1 UNWATCH ima=bøb@example.com":          true,
		"1 AUTH mech=SCRAM-SHA-256":              false,
		"1 AUTH mech=PLAIN":                      true,
	} {
		r := &request{}
		if err := protocol.ParseLine(line, &r.line); err != nil {
			t.Fatal(err)
		}
		r.countIDN()
		if blocks := commandFor(r).blocking(s, r); blocks != waits {
			t.Errorf("%s: done aside: %t", line, blocks)
		}
	}
	for name, atOnce := range map[string]bool{"bob@example.com": true, "bøb@example.com": false, "bob@xn--bcher-kva.example": false} {
		r := &request{}
		data := base64.StdEncoding.EncodeToString([]byte("n,,n=" + name + ",r=abc"))
		if err := protocol.ParseLine("1 AUTH mech=SCRAM-SHA-256 data="+data, &r.line); err != nil {
			t.Fatal(err)
		}
		if s.isNonBlockingAuth(r) != atOnce {
			t.Errorf("%s: at once: %t", name, !atOnce)
		}
	}
}

// A user has so many octets of such addresses read in a time, on however many
// connections; others pass meanwhile.
func TestOctetsThatNeedIDNAAreLimited(t *testing.T) {
	const seconds = 20
	address := strings.Repeat("ü", 20) + "@" + strings.Repeat("bücher.", 10) + "example"
	line := fmt.Sprintf("1 UNWATCH ima=%s\r\n", address)
	play(t, nil, func(s *stage) {
		var answers atomic.Int64
		for range 4 {
			c := s.login("alice")
			go c.flood(strings.Repeat(line, 20_000))
			go func() {
				for {
					if _, err := c.in.ReadString('\n'); err != nil {
						return
					}
					answers.Add(1)
				}
			}()
		}
		time.Sleep(seconds * time.Second)
		bob := s.login("bob")
		bob.send("1 UNWATCH ima=%s", address)
		bob.expect("1 200")
		most := int64(256<<10+seconds*64<<10+4*idnPerTurn) / int64(len(address))
		if n := answers.Load(); n < most/2 || n > most {
			t.Errorf("%d such lines were read in %d s: at most %d may be", n, seconds, most)
		}
	})
}

// At most half of the processors read them at a time, and none waits for what
// is cheap.
func TestFewReadIDNAtATime(t *testing.T) {
	readers := make(idnSemaphore, 2)
	reading, over := make(chan struct{}), make(chan struct{})
	for range 3 {
		go func() {
			_ = readers.parse("ü@example.com", func() error {
				reading <- struct{}{}
				<-over
				return nil
			})
		}()
	}
	<-reading
	<-reading
	if err := readers.parse("u@example.com", func() error { return nil }); err != nil {
		t.Error(err)
	}
	select {
	case <-reading:
		t.Error("three read at a time")
	default:
	}
	close(over)
	<-reading
}
