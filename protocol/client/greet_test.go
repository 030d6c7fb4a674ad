package client_test

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"simpd/protocol/client"
	"simpd/protocol/internal/outbound/outboundtest"
)

// A server that does not speak SIMP is found out at once, or as soon as the
// first question makes it speak, and the text says what it is.
func TestServerSpeaksSomethingElse(t *testing.T) {
	for _, c := range outboundtest.OtherServers {
		t.Run(c.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t)
				s.pipe = outboundtest.Pipe
				config := s.config()
				config.Security = client.StartTLS
				began := time.Now()
				err := attempt(t, s, config, outboundtest.Greets(c.Said, c.Waits))
				if !errors.Is(err, client.ErrProtocol) || !strings.Contains(err.Error(), "speaks "+c.Name) || time.Since(began) > 2*time.Second {
					t.Errorf("%v after %v", err, time.Since(began))
				}
			})
		})
	}
}

// A server that is slow to greet is sent a PING, and served all the same.
func TestSlowGreeting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		c, p := s.open(s.config(), func(p *outboundtest.Peer) {
			time.Sleep(5 * time.Second)
			p.Say("* HELLO version=SIMP/1.0 domain=example.com")
			p.Answer("PING", "200")
			p.Answer("HELLO version=SIMP/1.1 domain=example.com", "200 version=SIMP/1.0 domain=example.com size=65536 idle=300 auth=PLAIN history=h1")
			p.Respond(strings.Fields(p.Hear())[0], "200 ima=alice@example.com")
		})
		closeWith(t, c, p)
	})
}

// Lines without end before the end of AUTH are not read without end.
func TestEndlessBanner(t *testing.T) {
	for name, line := range map[string]string{"empty": "\r\n", "requests": "* NEWS\r\n", "answers": "x 200\r\n", "partial": "o1 100\r\n", "junk": "=\r\n"} {
		for _, greeted := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := newSite(t)
					lines := 0
					err := attempt(t, s, s.config(), func(p *outboundtest.Peer) {
						if greeted {
							p.Say("* HELLO version=SIMP/1.0 domain=example.com")
							p.Hear()
						}
						for lines = 0; lines < 100_000; lines++ {
							if _, err := io.WriteString(p.Conn, line); err != nil {
								return
							}
						}
					})
					if !errors.Is(err, client.ErrProtocol) || lines > 2000 {
						t.Errorf("%v after %d lines", err, lines)
					}
				})
			})
		}
	}
}

// Only a final 200 proves anything: a challenge where none is due, or another
// 2xx, does not.
func TestOnlyA200IsAProof(t *testing.T) {
	for _, answer := range []string{"101 data=", "100 domain=one.example", "199", "201", "207", "299", "101"} {
		t.Run(answer, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t)
				err := attempt(t, s, s.config(), func(p *outboundtest.Peer) {
					p.Say("* HELLO version=SIMP/1.0 domain=example.com")
					p.Answer("HELLO version=SIMP/1.1 domain=example.com", "200 version=SIMP/1.0 auth=PLAIN")
					p.Respond(strings.Fields(p.Hear())[0], answer)
					_, _ = io.Copy(io.Discard, p.Reader)
				})
				if err == nil {
					t.Error("it went on")
				}
			})
		})
	}
}
