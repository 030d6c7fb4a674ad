package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"simpd/protocol/client"
	"simpd/protocol/internal/outbound/outboundtest"
)

func TestClientDialsPublicAddressesOnly(t *testing.T) {
	for _, ip := range outboundtest.NotPublic {
		for _, z := range []outboundtest.Zone{
			{IP: map[string]string{"example.com": ip}},
			{SRV: map[string][]*net.SRV{"simp tcp example.com": {{Target: ip, Port: 7467}}}, IP: map[string]string{ip: ip}},
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

// What is dialled is the address that was checked: DNS that changes its mind
// leads nowhere else.
func TestRebinding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		config := s.config()
		r := &outboundtest.Rebinder{Zone: outboundtest.Zone{}}
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
		zone outboundtest.Zone
		most time.Duration
	}{
		"dead IPv6": {outboundtest.Zone{IP: map[string]string{"example.com": "2600:db8::1 2600:db8::2 9.0.2.9"}}, time.Second},
		"dead first target": {outboundtest.Zone{
			SRV: map[string][]*net.SRV{"simp tcp example.com": {{Target: "dead.example.net.", Port: 7467}, {Target: "live.example.net.", Port: 7467, Priority: 1}}},
			IP:  map[string]string{"dead.example.net": "9.0.2.1 2600:db8::1", "live.example.net": "9.0.2.9"},
		}, 2 * time.Second},
		"first target refuses": {outboundtest.Zone{
			SRV: map[string][]*net.SRV{"simp tcp example.com": {{Target: "shut.example.net.", Port: 7467}, {Target: "live.example.net.", Port: 7467, Priority: 1}}},
			IP:  map[string]string{"shut.example.net": "9.0.2.3 2600:db8::3", "live.example.net": "9.0.2.9"},
		}, 0},
		"first target is going away": {outboundtest.Zone{
			SRV: map[string][]*net.SRV{"simp tcp example.com": {{Target: "bye.example.net.", Port: 7467}, {Target: "live.example.net.", Port: 7467, Priority: 1}}},
			IP:  map[string]string{"bye.example.net": "9.0.2.4", "live.example.net": "9.0.2.9"},
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
						return nil, outboundtest.ErrRefused
					case strings.HasPrefix(address, "9.0.2.9:"), strings.HasPrefix(address, "9.0.2.4:"):
						return s.dial(ctx, network, address)
					}
					<-ctx.Done()
					return nil, ctx.Err()
				}
				go func() {
					for p := range s.conns {
						if s.dialled[len(s.dialled)-1] == "9.0.2.4:7467" {
							p.Say("* BYE status=503 :draining")
							continue
						}
						p.Say("* HELLO version=SIMP/1.0 domain=example.com")
						p.Answer("STARTTLS", "403 :here I am")
						_, _ = io.Copy(io.Discard, p.Reader)
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
			s.pipe = outboundtest.Pipe
			config := s.config()
			config.Security = client.TLS
			var playing sync.WaitGroup
			defer playing.Wait()
			playing.Go(func() {
				p := <-s.conns
				time.Sleep(c.pause)
				if p.Handshake(s.cert) == nil {
					p.Say("* BYE status=503 :draining")
				}
				_ = p.Conn.Close()
			})
			began := time.Now()
			_, err := client.Open(t.Context(), config)
			if took := time.Since(began); strings.Contains(err.Error(), "draining") != c.good || took > 15*time.Second {
				t.Errorf("%v: %v after %v", c.pause, err, took)
			}
		})
	}
}
