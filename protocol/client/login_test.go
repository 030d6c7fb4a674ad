package client_test

import (
	"context"
	"encoding/base64"
	"errors"
	"net"
	"strings"
	"testing"
	"testing/synctest"

	"simpd/protocol"
	"simpd/protocol/client"
	"simpd/protocol/internal/outbound/outboundtest"
)

// attempt opens a client while play says the server's part, and returns the error.
func attempt(t *testing.T, s *site, config client.Config, play func(p *outboundtest.Peer)) error {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		if p, ok := <-s.conns; ok {
			play(p)
			_ = p.Conn.Close()
		}
	}()
	c, err := client.Open(t.Context(), config)
	close(s.conns)
	<-done
	if c != nil {
		_ = c.Close(context.Background())
	}
	return err
}

func TestLoginByScramPlusUnderStartTLS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		config := s.config()
		config.Security = client.AutoTLS
		c, p := s.open(config, func(p *outboundtest.Peer) {
			if err := p.StartTLS(s.cert); err != nil {
				t.Error(err)
			}
			p.Answer("HELLO version=SIMP/1.1 domain=example.com", "200 version=SIMP/1.0 idle=300 auth=SCRAM-SHA-256-PLUS,SCRAM-SHA-256,PLAIN history=h1 tls=on")
			p.SCRAM("SCRAM-SHA-256-PLUS", outboundtest.Password)
		})
		go p.Quit()
		if err := c.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestLoginByTLSAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		config := s.config()
		config.Security, config.Server = client.AutoTLS, "node1.example.net:7468"
		c, p := s.open(config, func(p *outboundtest.Peer) {
			if err := p.Handshake(s.cert); err != nil {
				t.Error(err)
			}
			p.Login()
		})
		go p.Quit()
		_ = c.Close(t.Context())
		if len(s.dialled) != 1 || s.dialled[0] != "node1.example.net:7468" {
			t.Errorf("dialled %q", s.dialled)
		}
	})
}

// A server that lets everybody in has not proved that it knows the password.
func TestServerHasToProveItself(t *testing.T) {
	for name, play := range map[string]func(p *outboundtest.Peer){
		"knows another password": func(p *outboundtest.Peer) { p.LoginBy("SCRAM-SHA-256"); p.SCRAM("SCRAM-SHA-256", "another") },
		"says 200 at once": func(p *outboundtest.Peer) {
			p.LoginBy("SCRAM-SHA-256,PLAIN")
			tag, _, _ := strings.Cut(p.Hear(), " ")
			p.Say("%s 200 ima=alice@example.com", tag)
		},
		"wants too much work": func(p *outboundtest.Peer) {
			p.LoginBy("SCRAM-SHA-256")
			tag, data, _ := strings.Cut(p.Hear(), " AUTH mech=SCRAM-SHA-256 data=")
			first, _ := base64.StdEncoding.DecodeString(data)
			_, nonce, _ := strings.Cut(string(first), "r=")
			p.Say("%s 101 data=%s", tag, base64.StdEncoding.EncodeToString([]byte("r="+nonce+"x,s=AAAAAAAAAAAAAAAAAAAAAA==,i=2000000000")))
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t)
				if err := attempt(t, s, s.config(), play); !errors.Is(err, client.ErrProtocol) {
					t.Errorf("%v", err)
				}
			})
		})
	}
}

// Where the server recommends PLAIN, a directory checks the password; SCRAM is
// for app passwords.
func TestRecommendedMechanism(t *testing.T) {
	app := protocol.NewAppPassword(make([]byte, protocol.AppPasswordOctets))
	for offer, passwords := range map[string]map[string]string{
		"PLAIN,SCRAM-SHA-256": {outboundtest.Password: "PLAIN", app: "SCRAM-SHA-256"},
		"SCRAM-SHA-256,PLAIN": {outboundtest.Password: "SCRAM-SHA-256", app: "SCRAM-SHA-256"},
		"PLAIN,X":             {outboundtest.Password: "PLAIN", app: "PLAIN"},
	} {
		for password, want := range passwords {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t)
				config := s.config()
				config.Password = password
				err := attempt(t, s, config, func(p *outboundtest.Peer) {
					p.LoginBy(offer)
					line := p.Hear()
					if !strings.Contains(line, " AUTH mech="+want+" ") {
						t.Errorf("%s: %q", offer, line)
					}
					tag, _, _ := strings.Cut(line, " ")
					p.Say("%s 401 :no", tag)
				})
				if refused, ok := errors.AsType[*protocol.Error](err); !ok || refused.Status != protocol.StatusUnauthorized {
					t.Errorf("%v", err)
				}
			})
		}
	}
}

func TestWrongPassword(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		err := attempt(t, s, s.config(), func(p *outboundtest.Peer) {
			p.LoginBy("")
		})
		if !errors.Is(err, client.ErrProtocol) {
			t.Errorf("no mechanism: %v", err)
		}
		s = newSite(t)
		err = attempt(t, s, s.config(), func(p *outboundtest.Peer) {
			p.LoginBy("PLAIN,X")
			tag, _, _ := strings.Cut(p.Hear(), " ")
			p.Say("%s 401 :wrong address or password", tag)
		})
		var refused *protocol.Error
		if !errors.As(err, &refused) || refused.Status != protocol.StatusUnauthorized {
			t.Errorf("%v", err)
		}
	})
}

// The certificate has to be valid for the domain of the user's address, not
// for the name of the server.
func TestCertificateIsForTheDomain(t *testing.T) {
	for _, security := range []client.Security{client.StartTLS, client.TLS} {
		s := newSite(t)
		s.pipe = loopback(t)
		s.cert, s.roots = certificate(t, "simp.example.net")
		config := s.config()
		config.Security = security
		config.TLS.InsecureSkipVerify = true // which is not heeded
		err := attempt(t, s, config, func(p *outboundtest.Peer) {
			handshake := p.Handshake
			if security == client.StartTLS {
				handshake = p.StartTLS
			}
			if handshake(s.cert) == nil {
				if _, err := p.Reader.ReadByte(); err == nil {
					t.Error("the client went on")
				}
			}
		})
		if err == nil || !strings.Contains(err.Error(), "example.com") {
			t.Errorf("%v", err)
		}
	}
}

func TestStartTLSCantBeTakenAway(t *testing.T) {
	for name, play := range map[string]func(p *outboundtest.Peer){
		"unknown": func(p *outboundtest.Peer) { p.Say("* HELLO version=SIMP/1.0"); p.Answer("STARTTLS", "405 :what?") },
		"no cert": func(p *outboundtest.Peer) {
			p.Say("* HELLO version=SIMP/1.0")
			p.Answer("STARTTLS", "403 :no certificate")
		},
		"not now": func(p *outboundtest.Peer) { p.Say("* HELLO version=SIMP/1.0"); p.Answer("STARTTLS", "409 :no") },
		"injected": func(p *outboundtest.Peer) {
			p.Say("* HELLO version=SIMP/1.0")
			p.Say("%s 200\r\n* MOVE to=evil:1 within=1", p.Want("STARTTLS"))
		},
		"no hello":  func(p *outboundtest.Peer) { p.Say("1 200 ima=alice@example.com") },
		"cut off":   func(p *outboundtest.Peer) { p.Say("* HELLO version=SIMP/1.0"); p.Hear() },
		"says BYE":  func(p *outboundtest.Peer) { p.Say("* BYE status=503 :draining") },
		"no SIMP":   func(p *outboundtest.Peer) { p.Say("220 smtp.example.com ESMTP") },
		"bare LF":   func(p *outboundtest.Peer) { _, _ = p.Conn.Write([]byte("* HELLO version=SIMP/1.0\n")) },
		"too long":  func(p *outboundtest.Peer) { _, _ = p.Conn.Write([]byte("* HELLO " + strings.Repeat("x", 5000))) },
		"a literal": func(p *outboundtest.Peer) { p.Say("* HELLO version=SIMP/1.0 {99999999}") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t)
				config := s.config()
				config.Security = client.StartTLS
				err := attempt(t, s, config, play)
				if err == nil {
					t.Error("the client went on in clear")
				}
			})
		})
	}
}

func TestSilentServerIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		err := attempt(t, s, s.config(), func(p *outboundtest.Peer) { p.Want("PING"); p.Gone() })
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "did not say") {
			t.Errorf("%v", err)
		}
	})
}

// elsewhere is a connection that claims to lead to another machine.
type elsewhere struct{ net.Conn }

func (elsewhere) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 7467} }

func TestNothingInClearToAnotherMachine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		config := s.config()
		config.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := s.dial(ctx, network, address)
			return elsewhere{conn}, err
		}
		err := attempt(t, s, config, func(p *outboundtest.Peer) { p.Gone() })
		if err == nil || !strings.Contains(err.Error(), "not safe") {
			t.Errorf("%v", err)
		}
	})
}

func TestConfigIsChecked(t *testing.T) {
	for name, config := range map[string]client.Config{
		"no user":     {Password: "x", Server: "a:1"},
		"no password": {User: address(t, "a@example.com"), Server: "a:1"},
		"no port":     {User: address(t, "a@example.com"), Password: "x", Server: "a"},
		"no host":     {User: address(t, "a@example.com"), Password: "x", Server: ":1"},
	} {
		if c, err := client.Open(t.Context(), config); err == nil {
			t.Errorf("%s: %v", name, c)
		}
	}
}
