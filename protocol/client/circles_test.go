package client_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"simpd/protocol"
	"simpd/protocol/client"
	"simpd/protocol/internal/outbound/outboundtest"
)

// A server that sends its clients in circles is followed more and more slowly,
// and no more than one connection is being left at a time.
func TestMoveInCircles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		var mu sync.Mutex
		var playing sync.WaitGroup
		made, open, most := 0, 0, 0
		count := func(n int) {
			mu.Lock()
			defer mu.Unlock()
			made += max(n, 0)
			open += n
			most = max(most, open)
		}
		play := func(p *outboundtest.Peer) {
			count(1)
			defer count(-1)
			p.Login()
			_, _ = io.WriteString(p.Conn, "* MOVE to=node2.example.net:7999 within=3600 :round and round\r\n")
			for {
				if _, err := p.Reader.ReadString('\n'); err != nil { // a QUIT is never answered
					return
				}
			}
		}
		go func() {
			for p := range s.conns {
				playing.Go(func() { play(p) })
			}
		}()
		c, err := client.Open(t.Context(), s.config())
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_ = c.Close(ctx)
		playing.Wait()
		close(s.conns)
		if made < 5 || made > 120 || most > 3 {
			t.Errorf("%d connections in 10 minutes, %d at a time", made, most)
		}
	})
}

// While the network is out, a connection is tried at least every 15 s, whether
// it is refused or swallowed.
func TestReconnectsEvery15s(t *testing.T) {
	for name, swallow := range map[string]time.Duration{"refused": 0, "swallowed": time.Hour} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t)
				var mu sync.Mutex
				var out bool
				var tried []time.Time
				config := s.config()
				config.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
					mu.Lock()
					if !out {
						defer mu.Unlock()
						return s.dial(ctx, network, address)
					}
					tried = append(tried, time.Now())
					mu.Unlock()
					select {
					case <-ctx.Done():
						return nil, ctx.Err()
					case <-time.After(swallow):
						return nil, errors.New("network is unreachable")
					}
				}
				c, p := s.open(config, (*outboundtest.Peer).Login)
				time.Sleep(time.Minute)
				mu.Lock()
				out = true
				mu.Unlock()
				last := time.Now()
				_ = p.Conn.Close()
				time.Sleep(30 * time.Minute)
				mu.Lock()
				defer mu.Unlock()
				for _, at := range tried {
					if at.Sub(last) > 15*time.Second {
						t.Errorf("%v without a try", at.Sub(last))
					}
					last = at
				}
				if len(tried) < 120 || len(tried) > 1800 {
					t.Errorf("%d tries in half an hour", len(tried))
				}
				mu.Unlock()
				_ = c.Close(t.Context())
				mu.Lock()
			})
		})
	}
}

// Who was kicked by an operator comes back after a pause, and listens again;
// who is refused then, stays out.
func TestComesBackAfterAKick(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *site, c *client.Client, p *outboundtest.Peer) {
		prepare(t, c, p)
		began := time.Now()
		p.Say("* BYE status=403 :an operator ended this connection")
		p = <-s.conns
		if took := time.Since(began); took < 10*time.Second || took > 15*time.Second {
			t.Errorf("it came back after %v", took)
		}
		p.Login()
		p.Answer("LISTEN state=busy note=x", "200 session=s2 index=20")
		p.Answer("WATCH ima=bob@example.com ima=carol@example.com", "100 ima=bob@example.com state=deaf\n100 ima=carol@example.com state=deaf\n200 index=21")
		p.Say("* BYE status=403 :an operator ended this connection")
		p = <-s.conns
		p.Say("* HELLO version=SIMP/1.0")
		p.Answer("HELLO version=SIMP/1.1 domain=example.com", "200 version=SIMP/1.0 auth=PLAIN")
		p.Respond(strings.Fields(p.Hear())[0], "401 :disabled")
		<-c.Done()
		var refused *protocol.Error
		if err := c.Err(); !errors.As(err, &refused) || refused.Status != 401 {
			t.Errorf("%v", err)
		}
		_ = c.Close(t.Context())
	})
}

// A server that was found by DNS does not lead its clients inside by a MOVE.
func TestMoveDoesNotLeadInside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.pipe = outboundtest.Pipe
		config := s.config()
		config.Server, config.Security = "", client.AutoTLS
		config.Resolver = outboundtest.Zone{IP: map[string]string{"example.com": "9.0.2.9", "inside.example.com": "10.0.0.1"}}
		greet := func(p *outboundtest.Peer) {
			if p.StartTLS(s.cert) == nil {
				p.Answer("HELLO version=SIMP/1.1 domain=example.com", "200 version=SIMP/1.0 domain=example.com size=65536 idle=300 auth=PLAIN history=h1 tls=on")
				p.Respond(strings.Fields(p.Hear())[0], "200 ima=alice@example.com")
			}
		}
		c, p := s.open(config, greet)
		for _, to := range []string{"10.0.0.1:7467", "inside.example.com:7467", "[::1]:7467", "localhost:7467"} {
			p.Say("* MOVE to=%s within=1", to)
			time.Sleep(10 * time.Second)
		}
		for len(s.conns) > 0 {
			p := <-s.conns
			_ = p.Conn.Close()
		}
		for _, at := range s.dialled {
			if at != "9.0.2.9:7467" {
				t.Errorf("it dialled %s", at)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_ = c.Close(ctx)
	})
}
