package federation_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"simpd/protocol"
	"simpd/protocol/federation"
	"simpd/protocol/internal/outbound/outboundtest"
)

// Every way in which no connection comes about has its status, and nothing of
// a message is ever said in clear.
func TestRelayCantConnect(t *testing.T) {
	const inClear = "9.0.2.3:7467"
	begin := func(a *abroad, play func(p *outboundtest.Peer)) {
		a.Zone.SRV = map[string][]*net.SRV{"simp tcp two.example": {{Target: "host.example.net.", Port: 7467}}}
		a.Zone.IP["host.example.net"] = "9.0.2.3"
		a.put(inClear, play)
	}
	shows := func(cert func(*abroad) tls.Certificate) func(*abroad) {
		return func(a *abroad) {
			c := cert(a)
			a.put(home, func(p *outboundtest.Peer) {
				if p.Handshake(c) == nil {
					_, _ = p.Reader.ReadByte()
				}
			})
		}
	}
	for name, c := range map[string]struct {
		set  func(*abroad)
		want protocol.Status
	}{
		"no such name":        {func(a *abroad) { a.Zone = outboundtest.Zone{} }, 502},
		"no service":          {func(a *abroad) { a.Zone.SRV["simps tcp two.example"] = []*net.SRV{{Target: "."}} }, 502},
		"DNS fails":           {func(a *abroad) { a.Zone = outboundtest.Zone{Err: errors.New("server misbehaving")} }, 502},
		"DNS is silent":       {func(a *abroad) { a.Zone = outboundtest.Zone{Err: &net.DNSError{Err: "i/o timeout", IsTimeout: true}} }, 504},
		"refused":             {func(a *abroad) {}, 502},
		"black hole":          {func(a *abroad) { a.put(home, nil) }, 504},
		"accepts, is silent":  {func(a *abroad) { a.put(home, func(p *outboundtest.Peer) { _, _ = io.Copy(io.Discard, p.Reader) }) }, 504},
		"private address":     {func(a *abroad) { a.Zone.IP["host.example.net"] = "10.1.2.3 127.0.0.1 ::1 fd00::1" }, 502},
		"another's":           {shows(func(a *abroad) tls.Certificate { return a.issue(false, "three.example") }), 502},
		"the target's":        {shows(func(a *abroad) tls.Certificate { return a.issue(false, "host.example.net") }), 502},
		"by common name only": {shows(func(a *abroad) tls.Certificate { return a.issue(false) }), 502},
		"expired":             {shows(func(a *abroad) tls.Certificate { return a.issue(true, "two.example") }), 502},
		"untrusted": {shows(func(a *abroad) tls.Certificate {
			c := a.issue(false, "two.example")
			a.roots = x509.NewCertPool()
			return c
		}), 502},
		"plaintext where TLS is due": {func(a *abroad) {
			a.put(home, func(p *outboundtest.Peer) {
				p.Conn.Write([]byte("* HELLO version=SIMP/1.0\r\n"))
				io.Copy(io.Discard, p.Reader)
			})
		}, 502},
		"plaintext only": {func(a *abroad) {
			begin(a, func(p *outboundtest.Peer) { p.Say("* HELLO version=SIMP/1.0"); p.AnswerAll(always("405 :what?")) })
		}, 502},
		"STARTTLS taken away": {func(a *abroad) {
			begin(a, func(p *outboundtest.Peer) { p.Say("* HELLO version=SIMP/1.0"); p.AnswerAll(always("403 :no TLS here")) })
		}, 502},
		"said behind STARTTLS": {func(a *abroad) {
			begin(a, func(p *outboundtest.Peer) {
				p.Say("* HELLO version=SIMP/1.0")
				p.AnswerAll(always("200\n200 :injected"))
			})
		}, 502},
		"speaks HTTP": {func(a *abroad) { begin(a, func(p *outboundtest.Peer) { p.Say("HTTP/1.1 400 Bad Request") }) }, 502},
		"going away":  {func(a *abroad) { begin(a, func(p *outboundtest.Peer) { p.Say("* BYE status=503 :draining") }) }, 502},
		"other version": {func(a *abroad) {
			a.put(home, func(p *outboundtest.Peer) {
				p.Handshake(a.cert)
				p.Say("* HELLO version=SIMP/2.0")
				p.AnswerAll(always("505 :no"))
			})
		}, 502},
		"no way to prove": {func(a *abroad) {
			a.put(home, func(p *outboundtest.Peer) {
				p.Handshake(a.cert)
				p.Say("* HELLO version=SIMP/1.0")
				p.AnswerAll(always("200 version=SIMP/1.0 auth=PLAIN"))
			})
		}, 502},
		"takes us for nobody": {func(a *abroad) {
			a.put(home, func(p *outboundtest.Peer) {
				p.Handshake(a.cert)
				p.Say("* HELLO version=SIMP/1.0")
				p.Answer("HELLO version=SIMP/1.1", "200 version=SIMP/1.0 auth=DIALBACK")
				p.AnswerAll(always("403 :you are blocked"))
			})
		}, 502},
	} {
		t.Run(name, func(t *testing.T) {
			goAbroad(t, func(a *abroad, _ *federation.Config) { c.set(a) }, func(a *abroad) {
				began := time.Now()
				if got := a.send("bob@two.example"); got.Status != c.want || got.Text == "" {
					t.Errorf("%v, want %d", got, c.want)
				}
				if took := time.Since(began); took > 11*time.Second {
					t.Errorf("it took %v", took)
				}
			})
		})
	}
}

// A site whose TLS is taken away is told nothing in clear but that TLS is
// wanted: neither who calls, nor for whom.
func TestNothingIsSaidInClear(t *testing.T) {
	for _, answer := range []string{"403 :no TLS here", "405 :what?", "200\r\nx 200 :injected", "200", ""} {
		goAbroad(t, nil, func(a *abroad) {
			a.Zone.SRV = map[string][]*net.SRV{"simp tcp two.example": {{Target: "host.example.net.", Port: 7467}}}
			said := make(chan string, 1)
			a.put("9.0.2.2:7467", func(p *outboundtest.Peer) {
				p.Say("* HELLO version=SIMP/1.0")
				first, _ := p.Reader.ReadString('\n')
				if answer != "" {
					tag, _, _ := strings.Cut(first, " ")
					p.Say("%s %s", tag, answer)
				}
				rest, _ := io.ReadAll(p.Reader)
				said <- first + string(rest)
			})
			if got := a.send("bob@two.example"); got.Status != 502 && got.Status != 504 {
				t.Errorf("%q: %v", answer, got)
			}
			got := <-said
			_, verb, _ := strings.Cut(got, " ")
			verb, handshake, _ := strings.Cut(verb, "\r\n")
			if verb != "STARTTLS" || handshake != "" && (answer != "200" || handshake[0] != 0x16) || strings.Contains(got, "alice") || strings.Contains(got, "hello") {
				t.Errorf("after %q it said %.100q", answer, got)
			}
		})
	}
}

// Targets are tried in the order of their priority, until one takes us.
func TestRelayTriesTargets(t *testing.T) {
	goAbroad(t, nil, func(a *abroad) {
		a.Zone.SRV["simps tcp two.example"] = []*net.SRV{
			{Target: "c.example.net.", Port: 3, Priority: 30}, {Target: "a.example.net.", Port: 1, Priority: 10}, {Target: "b.example.net.", Port: 2, Priority: 20},
		}
		a.Zone.IP = map[string]string{"a.example.net": "9.0.2.10", "b.example.net": "2600:db8::11 9.0.2.11", "c.example.net": "9.0.2.12"}
		a.put("9.0.2.10:1", func(p *outboundtest.Peer) { p.Handshake(a.cert); p.Say("* BYE status=503 :draining") })
		a.put("9.0.2.12:3", a.serve(always("200")))
		if got := a.send("bob@two.example"); got.Status != 200 {
			t.Errorf("%v", got)
		}
		if got, want := fmt.Sprint(a.dialed), "[9.0.2.10:1 [2600:db8::11]:2 9.0.2.11:2 9.0.2.12:3]"; got != want {
			t.Errorf("dialed %s, want %s", got, want)
		}
	})
}

// IPv4 is tried while IPv6 is silent.
func TestRelayHappyEyeballs(t *testing.T) {
	goAbroad(t, nil, func(a *abroad) {
		a.Zone.IP["host.example.net"] = "2600:db8::2 9.0.2.2"
		a.put("[2600:db8::2]:7468", nil)
		a.put(home, a.serve(always("200")))
		began := time.Now()
		if got := a.send("bob@two.example"); got.Status != 200 || time.Since(began) > time.Second {
			t.Errorf("%v after %v", got, time.Since(began))
		}
	})
}

// A static route leads to a private address, and the certificate is checked
// for the domain all the same.
func TestRelayStaticRoute(t *testing.T) {
	goAbroad(t, nil, func(a *abroad) {
		a.Zone = outboundtest.Zone{}
		a.rules.Routes = map[string]string{"two.example": "127.0.0.1:7468", "three.example": "127.0.0.1:7468"}
		a.put("127.0.0.1:7468", a.serve(always("200")))
		if got := a.send("bob@two.example"); got.Status != 200 {
			t.Errorf("%v", got)
		}
		a.put("127.0.0.1:7468", func(p *outboundtest.Peer) { _ = p.Handshake(a.cert) })
		if got := a.send("bob@three.example"); got.Status != 502 {
			t.Errorf("with another's certificate: %v", got)
		}
	})
}

// One site that swallows connections keeps nobody from reaching another, and
// no more of one user waits for it than is their share.
func TestRelayOneSiteIsBlack(t *testing.T) {
	goAbroad(t, nil, func(a *abroad) {
		a.Zone.SRV["simps tcp black.example"] = []*net.SRV{{Target: "hole.example.net.", Port: 1}}
		a.Zone.IP["hole.example.net"] = "9.0.2.66"
		a.put("9.0.2.66:1", nil)
		a.put(home, a.serve(always("200")))
		var waiting []<-chan protocol.Outcome
		for i := range 895 {
			waiting = append(waiting, a.start("alice@one.example", "x@black.example", fmt.Sprint("b", i), 10*time.Second))
		}
		began := time.Now()
		if got := a.send("x@black.example"); got.Status != 429 || time.Since(began) != 0 {
			t.Errorf("one too many: %v after %v", got, time.Since(began))
		}
		waiting = append(waiting, a.start("carol@one.example", "x@black.example", "c", 10*time.Second))
		if got := a.send("bob@two.example"); got.Status != 200 || time.Since(began) != 0 {
			t.Errorf("another site: %v after %v", got, time.Since(began))
		}
		for _, w := range waiting {
			if got := <-w; got.Status != 504 {
				t.Errorf("%v", got)
			}
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("all were told after %v", took)
		}
	})
}
