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

	"simpd/cmd/simpd/site"
	"simpd/protocol"
	"simpd/protocol/client"
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
	resolver := (&federation{dns: g.zone.Addr}).resolver()
	ctx, cancel := context.WithTimeout(g.Context(), patience)
	defer cancel()
	c, err := client.Open(ctx, client.Config{
		User: a, Password: testPassword, TLS: &tls.Config{RootCAs: g.authority.Roots()}, Resolver: resolver, AllowPrivate: true,
		Dial:      (&net.Dialer{Resolver: resolver}).DialContext,
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
// The environment may set how many messages there are (SIMPD_MESSAGES).
func TestKillsAcrossSites(t *testing.T) {
	total := 1200
	if s := os.Getenv("SIMPD_MESSAGES"); s != "" {
		total, _ = strconv.Atoi(s)
	}
	g := newGlobe(t)
	one, two := g.processSite("one.example", 3), g.processSite("two.example", 1)
	b := &logbook{said: map[string]protocol.Status{}, taken: map[string]bool{}}
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
				sendMany(t, b, here[i], there[(i+lane)%len(users)].User(), fmt.Sprintf("a%d-%d", i, lane), total/32)
			})
			senders.Go(func() {
				sendMany(t, b, there[i], here[(i+lane)%len(users)].User(), fmt.Sprintf("b%d-%d", i, lane), total/32)
			})
		}
	}
	stopped := make(chan struct{})
	go func() { defer close(stopped); senders.Wait() }()
	b.killAt(t, stopped, total/4, one.Nodes[1])
	b.killAt(t, stopped, total/2, two.Nodes[0])
	b.killAt(t, stopped, total*3/4, one.Nodes[0])
	receive(t, "all is sent", stopped)
	for _, c := range append(here, there...) { // all that is on its way has come
		if _, err := c.Ping(t.Context()); err != nil {
			t.Error(err)
		}
	}
	count := b.check(t)
	t.Logf("%d messages: %v", total, count)
	if count[protocol.StatusOK] < total/4 {
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
// Where nothing goes out it takes its time, so that more is sent while it does.
func sendMany(t *testing.T, b *logbook, c *client.Client, to protocol.Address, name string, n int) {
	pace := time.NewTicker(50 * time.Millisecond)
	defer pace.Stop()
	for i := range n {
		id := fmt.Sprintf("%s-%d", name, i)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		report, err := c.Send(ctx, client.Outgoing{To: []protocol.Address{to}, Entity: client.Text(id), ID: id})
		cancel()
		switch {
		case errors.Is(err, client.ErrNotSent):
			b.say(id, 0)
		case err != nil:
			t.Errorf("%s: %v", id, err)
		default:
			b.say(id, report.Each[0].Status)
			if s := report.Each[0].Status; s == protocol.StatusRemoteFailure || s == protocol.StatusRemoteTimeout {
				<-pace.C
			}
		}
	}
}

// killAt kills a node once so many outcomes are known, and starts it again.
func (b *logbook) killAt(t *testing.T, stopped <-chan struct{}, at int, n *site.Node) {
	t.Helper()
	again := time.NewTicker(time.Millisecond)
	defer again.Stop()
	for int(b.sent.Load()) < at {
		select {
		case <-again.C:
		case <-stopped:
			t.Errorf("all was sent before %s was killed", n.ID)
			return
		}
	}
	n.Kill()
	if err := n.Begin(); err != nil {
		t.Fatal(err)
	}
	if err := n.Ready(site.Patience); err != nil {
		t.Fatal(err)
	}
}
