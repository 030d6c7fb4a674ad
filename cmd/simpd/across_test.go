package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"simpd/cmd/testkit/site"
	"simpd/protocol"
	"simpd/protocol/client"
	"simpd/protocol/dns"
)

// processSite is a site of real processes that finds others by DNS.
func (g *globe) processSite(domain string, nodes int) *site.Site {
	g.Helper()
	dir, certs := g.TempDir(), g.TempDir()
	cert, key, err := g.authority.IssueFiles(certs, domain)
	if err != nil {
		g.Fatal(err)
	}
	s, err := site.New(site.Config{Dir: dir, Nodes: nodes, Domain: domain, Password: testPassword, Flags: []string{
		"--tls-cert", cert, "--tls-key", key, "--federation-ca", g.roots, "--dns", g.zone.Addr, "--route", "one.example=dns", "--route", "two.example=dns",
	}})
	g.Cleanup(func() { _ = s.Close() })
	if err != nil {
		g.Fatal(err)
	}
	if err := s.BeginAll(); err != nil {
		g.Fatal(err)
	}
	for _, n := range s.Nodes {
		host, port, _ := net.SplitHostPort(n.SIMPS)
		number, _ := strconv.Atoi(port)
		g.zone.AddSRV("simps", domain, 0, 10, uint16(number), n.ID+"."+domain)
		g.zone.AddAddress(n.ID+"."+domain, netip.MustParseAddr(host))
	}
	return s
}

// logbook is what was said of messages, and what came.
type logbook struct {
	mu    sync.Mutex
	said  map[string]protocol.Status // 0: it certainly never left
	taken map[string]bool
	sent  atomic.Int64
	over  chan struct{} // closed: no more is to be sent
}

func (b *logbook) take(m *protocol.Message) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.taken[m.ID] = true
}

func (b *logbook) say(id string, s protocol.Status) {
	b.mu.Lock()
	b.said[id] = s
	b.mu.Unlock()
	b.sent.Add(1)
}

// check holds each outcome against what came, and returns how many there were
// of each.
func (b *logbook) check(t *testing.T) map[protocol.Status]int {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	count := map[protocol.Status]int{}
	for id, s := range b.said {
		count[s]++
		switch {
		case s == protocol.StatusOK && !b.taken[id]:
			t.Errorf("%s: delivered, and nobody has it", id)
		case s != protocol.StatusOK && s != protocol.StatusIndeterminate && b.taken[id]:
			t.Errorf("%s: %d, and somebody has it", id, s)
		}
	}
	return count
}

// roamer connects a user by DNS to any node of their site, again and again.
func (g *globe) roamer(a protocol.Address, b *logbook) *client.Client {
	g.Helper()
	ctx, cancel := context.WithTimeout(g.Context(), patience)
	defer cancel()
	c, err := client.Open(ctx, client.Config{
		User: a, Password: testPassword, TLS: &tls.Config{RootCAs: g.authority.Roots()}, Resolver: dns.NewServer(g.zone.Addr), AllowPrivate: true,
		OnMessage: func(_ context.Context, m *protocol.Message) error { b.take(m); return nil },
	})
	if err != nil {
		g.Fatal(err)
	}
	g.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_ = c.Close(ctx)
	})
	if _, err := c.Listen(ctx, protocol.ListenRequest{State: protocol.Available}); err != nil {
		g.Fatal(err)
	}
	return c
}

// Nodes on either side are killed while messages cross: no outcome is false.
// More is sent until all of them are back. The environment may set how many
// messages there are at least (SIMPD_MESSAGES).
func TestKillsAcrossSites(t *testing.T) {
	total := 1200
	if s := os.Getenv("SIMPD_MESSAGES"); s != "" {
		total, _ = strconv.Atoi(s)
	}
	g := newGlobe(t)
	one, two := g.processSite("one.example", 3), g.processSite("two.example", 1)
	b := &logbook{said: map[string]protocol.Status{}, taken: map[string]bool{}, over: make(chan struct{})}
	users := []string{"u1", "u2", "u3", "u4"}
	var here, there []*client.Client
	for _, s := range []*site.Site{one, two} {
		if err := s.AddUsers(s.Nodes[0], users...); err != nil {
			t.Fatal(err)
		}
	}
	for _, u := range users {
		here = append(here, g.roamer(mustAddress(t, u+"@one.example"), b))
		there = append(there, g.roamer(mustAddress(t, u+"@two.example"), b))
	}
	var senders sync.WaitGroup
	for i := range users {
		for lane := range 4 {
			senders.Go(func() {
				sendMany(t, b, here[i], there[(i+lane)%len(users)].User(), fmt.Sprintf("a%d-%d", i, lane))
			})
			senders.Go(func() {
				sendMany(t, b, there[i], here[(i+lane)%len(users)].User(), fmt.Sprintf("b%d-%d", i, lane))
			})
		}
	}
	b.killAt(t, total/4, one.Nodes[1])
	b.killAt(t, total/2, two.Nodes[0])
	b.killAt(t, total*3/4, one.Nodes[0])
	b.await(t, total)
	close(b.over)
	join(t, "all is sent", &senders)
	for _, c := range append(here, there...) { // all that is on its way has come
		if _, err := c.Ping(t.Context()); err != nil {
			t.Error(err)
		}
	}
	count := b.check(t)
	t.Logf("%d messages: %v", b.sent.Load(), count)
	if count[protocol.StatusOK] < total/4 || len(count) < 2 {
		t.Errorf("too little was seen: %v", count)
	}
}

func mustAddress(t *testing.T, s string) protocol.Address {
	t.Helper()
	a, err := protocol.ParseAddress(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// sendMany sends messages one after the other and writes down what became of each.
// Where nothing goes out it takes its time.
func sendMany(t *testing.T, b *logbook, c *client.Client, to protocol.Address, name string) {
	pace := time.NewTicker(50 * time.Millisecond)
	defer pace.Stop()
	for i := 0; !b.isOver() && t.Context().Err() == nil; i++ {
		id := fmt.Sprintf("%s-%d", name, i)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		report, err := c.Send(ctx, client.Message{To: []protocol.Address{to}, Entity: client.Text(id), ID: id})
		cancel()
		switch {
		case errors.Is(err, client.ErrNotSent):
			b.say(id, 0)
		case err != nil:
			t.Errorf("%s: %v", id, err)
		default:
			b.say(id, report.Results[0].Status)
			if s := report.Results[0].Status; s == protocol.StatusRemoteFailure || s == protocol.StatusRemoteTimeout {
				<-pace.C
			}
		}
	}
}

func (b *logbook) isOver() bool {
	select {
	case <-b.over:
		return true
	default:
		return false
	}
}

// await waits until so many outcomes are known; some have to come all the time.
func (b *logbook) await(t *testing.T, n int) {
	t.Helper()
	again := time.NewTicker(time.Millisecond)
	defer again.Stop()
	stuck, before := time.Now(), int64(0)
	for b.sent.Load() < int64(n) {
		<-again.C
		if now := b.sent.Load(); now > before {
			stuck, before = time.Now(), now
		}
		if time.Since(stuck) > patience {
			giveUp(t, fmt.Sprintf("%d outcomes are known", n))
		}
	}
}

// killAt kills a node once so many outcomes are known, and starts it again.
func (b *logbook) killAt(t *testing.T, at int, n *site.Node) {
	t.Helper()
	b.await(t, at)
	n.Kill()
	if err := n.Begin(); err != nil {
		t.Fatal(err)
	}
	if err := n.Ready(site.Patience); err != nil {
		t.Fatal(err)
	}
}
