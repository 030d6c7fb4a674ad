package federation_test

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"simpd/protocol/federation"
	"simpd/protocol/internal/outbound/outboundtest"
)

// No address that is not public is dialled, neither one that DNS names for a
// host nor one that is written in an SRV record.
func TestRelayDialsPublicAddressesOnly(t *testing.T) {
	for _, ip := range outboundtest.NotPublic {
		for name, set := range map[string]func(*abroad){
			"host":    func(a *abroad) { a.Zone.IP["host.example.net"] = ip },
			"literal": func(a *abroad) { a.Zone.SRV["simps tcp two.example"][0].Target = ip },
		} {
			t.Run(name+" "+ip, func(t *testing.T) {
				goAbroad(t, func(a *abroad, _ *federation.Config) { set(a) }, func(a *abroad) {
					if got := a.send("bob@two.example"); got.Status != 502 || a.dials() > 0 {
						t.Errorf("%v, dialled %v", got, a.dialed)
					}
					if err := a.relay.Verify(context.Background(), "two.example", "one.example", make([]byte, 16), nil); err == nil || a.dials() > 0 {
						t.Errorf("VERIFY: %v, dialled %v", err, a.dialed)
					}
					all, _ := a.relay.Diagnose(context.Background(), "one.example", "two.example")
					last := all[len(all)-1]
					if a.dials() > 0 || !strings.Contains(last.Text, "no public address") || !strings.Contains(last.Text, netip.MustParseAddr(ip).Unmap().String()) {
						t.Errorf("survey: %+v, dialled %v", last, a.dialed)
					}
				})
			})
		}
	}
}

// What is dialled is the address that was checked: DNS that changes its mind
// leads nowhere else.
func TestRelayRebinding(t *testing.T) {
	goAbroad(t, func(a *abroad, c *federation.Config) { c.Resolver = &outboundtest.Rebinder{Zone: a.Zone} }, func(a *abroad) {
		for range 5 {
			a.send("bob@two.example")
			time.Sleep(2 * time.Minute)
		}
		if got := fmt.Sprint(a.dialed); got != "[9.0.2.2:7468]" {
			t.Errorf("dialled %s", got)
		}
	})
}

// A server that does not speak SIMP is found out at once, or as soon as the
// first question makes it speak, and the text says what it is.
func TestRemoteServerSpeaksSomethingElse(t *testing.T) {
	for _, c := range outboundtest.OtherServers {
		t.Run(c.Name+" for a relay", func(t *testing.T) {
			goAbroad(t, nil, func(a *abroad) {
				a.Zone.SRV = map[string][]*net.SRV{"simp tcp two.example": {{Target: "host.example.net.", Port: 7467}}}
				a.put("9.0.2.2:7467", outboundtest.Greets(c.Said, c.Waits))
				began := time.Now()
				if got := a.send("bob@two.example"); got.Status != 502 || !strings.Contains(got.Text, "speaks "+c.Name) || time.Since(began) > 2*time.Second {
					t.Errorf("%v after %v", got, time.Since(began))
				}
			})
		})
		t.Run(c.Name+" where TLS is due", func(t *testing.T) {
			goAbroad(t, nil, func(a *abroad) {
				a.put(home, outboundtest.Greets(c.Said, c.Waits))
				began := time.Now()
				got := a.send("bob@two.example")
				if got.Status != 502 || time.Since(began) > 2*time.Second || c.Name != "TLS" && !strings.Contains(got.Text, "but "+c.Name) {
					t.Errorf("%v after %v", got, time.Since(began))
				}
			})
		})
	}
}

// Only a final 200 proves anything: a challenge where none is due, or another
// 2xx, does not.
func TestOnlyA200ProvesThisSite(t *testing.T) {
	for _, answer := range []string{"101 data=", "100 domain=one.example", "199", "201", "207", "299", "101"} {
		t.Run(answer, func(t *testing.T) {
			own := func(a *abroad, c *federation.Config) {
				cert := a.issue(false, "one.example")
				c.Certificate = func(string) *tls.Certificate { return &cert }
			}
			goAbroad(t, own, func(a *abroad) {
				sent := false
				a.put(home, func(p *outboundtest.Peer) {
					if p.Handshake(a.cert) != nil {
						return
					}
					p.Say("* HELLO version=SIMP/1.0 domain=two.example")
					p.Answer("HELLO version=SIMP/1.1", "200 version=SIMP/1.0 domain=two.example auth=EXTERNAL")
					p.Answer("AUTH mech=EXTERNAL data="+base64.StdEncoding.EncodeToString([]byte("one.example")), answer)
					p.AnswerAll(func(verb, _ string) string { sent = sent || verb == "SEND"; return "200" })
				})
				if got := a.send("bob@two.example"); got.Status != 502 && got.Status != 504 || sent {
					t.Errorf("%v, sent: %v", got, sent)
				}
			})
		})
	}
}
