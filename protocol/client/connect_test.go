package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"simpd/protocol/client"
)

// notPublic are addresses that nobody's DNS may lead to, one of each kind.
var notPublic = []string{
	"0.0.0.0", "10.1.2.3", "100.64.0.1", "127.0.0.1", "169.254.169.254", "172.16.0.1", "192.0.0.1", "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1",
	"198.51.100.1", "203.0.113.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "::", "::1", "::ffff:10.1.2.3", "64:ff9b::10.1.2.3", "64:ff9b:1::1",
	"100::1", "2001::1", "2001:db8::1", "2002:7f00:1::1", "2002:a01:203::1", "3fff::1", "fc00::1", "fe80::1", "fec0::1", "ff02::1",
}

// No address that is not public is dialled, neither one that DNS names for a
// host nor one that is written in an SRV record.
func TestRelayDialsPublicAddressesOnly(t *testing.T) {
	for _, ip := range notPublic {
		for name, set := range map[string]func(*abroad){
			"host":    func(a *abroad) { a.zone.ip["host.example.net"] = ip },
			"literal": func(a *abroad) { a.zone.srv["simps tcp two.example"][0].Target = ip },
		} {
			t.Run(name+" "+ip, func(t *testing.T) {
				goAbroad(t, func(a *abroad, _ *client.RelayConfig) { set(a) }, func(a *abroad) {
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

func TestClientDialsPublicAddressesOnly(t *testing.T) {
	for _, ip := range notPublic {
		for _, z := range []zone{
			{ip: map[string]string{"example.com": ip}},
			{srv: map[string][]*net.SRV{"simp tcp example.com": {{Target: ip, Port: 7467}}}, ip: map[string]string{ip: ip}},
		} {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t)
				config := s.config()
				config.Server, config.Security, config.Resolver = "", client.AutoTLS, z
				s.refuse <- errors.New("it was dialled")
				if _, err := client.Open(t.Context(), config); err == nil || len(s.dialled) > 0 {
					t.Errorf("%s: %v, dialled %v", ip, err, s.dialled)
				}
			})
		}
	}
}

// rebinder names a public address the first time, and one inside afterwards.
type rebinder struct {
	zone
	mu    sync.Mutex
	asked int
}

func (r *rebinder) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.asked++; r.asked == 1 {
		return []netip.Addr{netip.MustParseAddr("9.0.2.2")}, nil
	}
	return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
}

// What is dialled is the address that was checked: DNS that changes its mind
// leads nowhere else.
func TestRebinding(t *testing.T) {
	goAbroad(t, func(a *abroad, c *client.RelayConfig) { c.Resolver = &rebinder{zone: a.zone} }, func(a *abroad) {
		for range 5 {
			a.send("bob@two.example")
			time.Sleep(2 * time.Minute)
		}
		if got := fmt.Sprint(a.dialed); got != "[9.0.2.2:7468]" {
			t.Errorf("dialled %s", got)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		config := s.config()
		r := &rebinder{zone: zone{}}
		config.Server, config.Security, config.Resolver = "", client.AutoTLS, r
		for range cap(s.refuse) {
			s.refuse <- errors.New("nobody there")
		}
		for range 3 {
			_, _ = client.Open(t.Context(), config)
		}
		if got := fmt.Sprint(s.dialled); got != "[9.0.2.2:7467]" {
			t.Errorf("dialled %s", got)
		}
	})
}

// A dead IPv6 address, and a dead first target, cost a user's client a moment,
// not a time-out each.
func TestClientHappyEyeballs(t *testing.T) {
	for name, c := range map[string]struct {
		zone zone
		most time.Duration
	}{
		"dead IPv6": {zone{ip: map[string]string{"example.com": "2600:db8::1 2600:db8::2 9.0.2.9"}}, time.Second},
		"dead first target": {zone{
			srv: map[string][]*net.SRV{"simp tcp example.com": {{Target: "dead.example.net.", Port: 7467}, {Target: "live.example.net.", Port: 7467, Priority: 1}}},
			ip:  map[string]string{"dead.example.net": "9.0.2.1 2600:db8::1", "live.example.net": "9.0.2.9"},
		}, 2 * time.Second},
		"first target refuses": {zone{
			srv: map[string][]*net.SRV{"simp tcp example.com": {{Target: "shut.example.net.", Port: 7467}, {Target: "live.example.net.", Port: 7467, Priority: 1}}},
			ip:  map[string]string{"shut.example.net": "9.0.2.3 2600:db8::3", "live.example.net": "9.0.2.9"},
		}, 0},
		"first target is going away": {zone{
			srv: map[string][]*net.SRV{"simp tcp example.com": {{Target: "bye.example.net.", Port: 7467}, {Target: "live.example.net.", Port: 7467, Priority: 1}}},
			ip:  map[string]string{"bye.example.net": "9.0.2.4", "live.example.net": "9.0.2.9"},
		}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t)
				config := s.config()
				config.Server, config.Security, config.Resolver = "", client.AutoTLS, c.zone
				config.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
					switch {
					case strings.Contains(address, "db8::3") || strings.HasPrefix(address, "9.0.2.3:"):
						return nil, errNobody
					case strings.HasPrefix(address, "9.0.2.9:"), strings.HasPrefix(address, "9.0.2.4:"):
						return s.dial(ctx, network, address)
					}
					<-ctx.Done()
					return nil, ctx.Err()
				}
				go func() {
					for p := range s.conns {
						if s.dialled[len(s.dialled)-1] == "9.0.2.4:7467" {
							p.say("* BYE status=503 :draining")
							continue
						}
						p.say("* HELLO version=SIMP/1.0 domain=example.com")
						p.answer("STARTTLS", "403 :here I am")
						_, _ = io.Copy(io.Discard, p.r)
					}
				}()
				began := time.Now()
				_, err := client.Open(t.Context(), config)
				if !errors.Is(err, client.ErrNoTLS) || time.Since(began) > c.most {
					t.Errorf("%v after %v", err, time.Since(began))
				}
				close(s.conns)
			})
		})
	}
}

// A server of a slow link has 15 s for TLS; one that never begins is given up.
func TestTLSHandshakeTime(t *testing.T) {
	for _, c := range []struct {
		pause time.Duration
		good  bool
	}{{14 * time.Second, true}, {16 * time.Second, false}} {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t)
			s.pipe = bufferedPipe
			config := s.config()
			config.Security = client.TLS
			var playing sync.WaitGroup
			defer playing.Wait()
			playing.Go(func() {
				p := <-s.conns
				time.Sleep(c.pause)
				if p.handshake(s.cert) == nil {
					p.say("* BYE status=503 :draining")
				}
				_ = p.conn.Close()
			})
			began := time.Now()
			_, err := client.Open(t.Context(), config)
			if took := time.Since(began); strings.Contains(err.Error(), "draining") != c.good || took > 15*time.Second {
				t.Errorf("%v: %v after %v", c.pause, err, took)
			}
		})
	}
}
