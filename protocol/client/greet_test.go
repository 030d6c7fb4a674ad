package client_test

import (
	"crypto/tls"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"simpd/protocol/client"
)

// greets plays a server that says something as soon as it is reached, or, with
// waits, as soon as the client has said something.
func greets(said string, waits bool) func(p *peer) {
	return func(p *peer) {
		if waits {
			_, _ = p.r.ReadByte()
		}
		_, _ = io.WriteString(p.conn, said)
		_, _ = io.Copy(io.Discard, p.r)
	}
}

// otherServers are servers that do not speak SIMP, and how each is called.
var otherServers = []struct {
	said  string
	waits bool
	name  string
}{
	{"SSH-2.0-OpenSSH_9.6\r\n", false, "SSH"},
	{"220 mail.example.net ESMTP Postfix\r\n", false, "SMTP"},
	{"* OK IMAP4rev1 ready\r\n", false, "IMAP"},
	{"+OK POP3\r\n", false, "POP3"},
	{"HTTP/1.1 400 Bad Request\r\nServer: nginx\r\n\r\n", true, "HTTP"},
	{"<?xml version='1.0'?><stream:error/>", true, "XMPP"},
	{"\x15\x03\x01\x00\x02\x02\x16", true, "TLS"}, // the alert of a server that expected a ClientHello
	{"\x15\x03\x03\x00\x02\x02\x0a", true, "TLS"},
	{"\x00\x00\x01garbage", false, "something else"},
	{"500 what?\r\n", true, "something else"},
}

// A server that does not speak SIMP is found out at once, or as soon as the
// first question makes it speak, and the text says what it is.
func TestServerSpeaksSomethingElse(t *testing.T) {
	for _, c := range otherServers {
		t.Run(c.name+" for a relay", func(t *testing.T) {
			goAbroad(t, nil, func(a *abroad) {
				a.zone.srv = map[string][]*net.SRV{"simp tcp two.example": {{Target: "host.example.net.", Port: 7467}}}
				a.put("9.0.2.2:7467", greets(c.said, c.waits))
				began := time.Now()
				if got := a.send("bob@two.example"); got.Status != 502 || !strings.Contains(got.Text, "speaks "+c.name) || time.Since(began) > 2*time.Second {
					t.Errorf("%v after %v", got, time.Since(began))
				}
			})
		})
		t.Run(c.name+" where TLS is due", func(t *testing.T) {
			goAbroad(t, nil, func(a *abroad) {
				a.put(home, greets(c.said, c.waits))
				began := time.Now()
				got := a.send("bob@two.example")
				if got.Status != 502 || time.Since(began) > 2*time.Second || c.name != "TLS" && !strings.Contains(got.Text, "but "+c.name) {
					t.Errorf("%v after %v", got, time.Since(began))
				}
			})
		})
		t.Run(c.name+" for a user", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t)
				s.pipe = bufferedPipe
				config := s.config()
				config.Security = client.StartTLS
				began := time.Now()
				err := attempt(t, s, config, greets(c.said, c.waits))
				if !errors.Is(err, client.ErrProtocol) || !strings.Contains(err.Error(), "speaks "+c.name) || time.Since(began) > 2*time.Second {
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
		c, p := s.open(s.config(), func(p *peer) {
			time.Sleep(5 * time.Second)
			p.say("* HELLO version=SIMP/1.0 domain=example.com")
			p.answer("PING", "200")
			p.answer("HELLO version=SIMP/1.0", "200 version=SIMP/1.0 domain=example.com size=65536 idle=300 auth=PLAIN history=h1")
			p.respond(strings.Fields(p.hear())[0], "200 ima=alice@example.com")
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
					err := attempt(t, s, s.config(), func(p *peer) {
						if greeted {
							p.say("* HELLO version=SIMP/1.0 domain=example.com")
							p.hear()
						}
						for lines = 0; lines < 100_000; lines++ {
							if _, err := io.WriteString(p.conn, line); err != nil {
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
		t.Run("EXTERNAL "+answer, func(t *testing.T) {
			own := func(a *abroad, c *client.RelayConfig) {
				cert := a.issue(false, "one.example")
				c.Certificate = func(string) *tls.Certificate { return &cert }
			}
			goAbroad(t, own, func(a *abroad) {
				sent := false
				a.put(home, func(p *peer) {
					if p.handshake(a.cert) != nil {
						return
					}
					p.say("* HELLO version=SIMP/1.0 domain=two.example")
					p.answer("HELLO version=SIMP/1.0", "200 version=SIMP/1.0 domain=two.example auth=EXTERNAL")
					p.answer("AUTH mech=EXTERNAL data="+base64.StdEncoding.EncodeToString([]byte("one.example")), answer)
					p.answerAll(func(verb, _ string) string { sent = sent || verb == "SEND"; return "200" })
				})
				if got := a.send("bob@two.example"); got.Status != 502 && got.Status != 504 || sent {
					t.Errorf("%v, sent: %v", got, sent)
				}
			})
		})
		t.Run("PLAIN "+answer, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t)
				err := attempt(t, s, s.config(), func(p *peer) {
					p.say("* HELLO version=SIMP/1.0 domain=example.com")
					p.answer("HELLO version=SIMP/1.0", "200 version=SIMP/1.0 auth=PLAIN")
					p.respond(strings.Fields(p.hear())[0], answer)
					_, _ = io.Copy(io.Discard, p.r)
				})
				if err == nil {
					t.Error("it went on")
				}
			})
		})
	}
}
