package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"simpd/cmd/testkit/site"
	"simpd/protocol"
	"simpd/protocol/client"
)

// crowd is people at a site who chat in pairs, and others who watch them all,
// through clients that follow MOVE. What none of them may ever notice is
// noted: an outcome that is not 200, a change of presence, a lost connection.
type crowd struct {
	t        *testing.T
	site     *site.Site
	tls      *tls.Config
	chatters []*client.Client
	others   []*client.Client

	ctx   context.Context
	stop  context.CancelFunc
	work  sync.WaitGroup
	sent  atomic.Int64
	moved atomic.Int64
	taken atomic.Int64

	mu    sync.Mutex
	wrong []string
}

const chatPause = 20 * time.Millisecond // between two messages of one person

// gather connects pairs and watchers, spread over the nodes, and has the
// pairs chat.
func gather(t *testing.T, s *site.Site, pairs, watchers int) *crowd {
	t.Helper()
	pem, err := os.ReadFile(s.CA)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	c := &crowd{t: t, site: s, tls: &tls.Config{RootCAs: roots}}
	c.ctx, c.stop = context.WithCancel(t.Context())
	if err := s.AddUsers(s.Nodes[0], crowdNames(pairs, watchers)...); err != nil {
		t.Fatal(err)
	}
	for i := range 2 * pairs {
		c.chatters = append(c.chatters, c.connect("chat"+strconv.Itoa(i), i))
	}
	for i := range watchers {
		c.others = append(c.others, c.watcher("watch"+strconv.Itoa(i), i))
	}
	for i := range c.chatters {
		c.work.Go(func() { c.chat(c.chatters[i], c.chatters[i^1].User()) })
	}
	return c
}

func crowdNames(pairs, watchers int) (names []string) {
	for i := range 2 * pairs {
		names = append(names, "chat"+strconv.Itoa(i))
	}
	for i := range watchers {
		names = append(names, "watch"+strconv.Itoa(i))
	}
	return names
}

// connect logs a person in who listens. Odd ones begin with TLS at once.
func (c *crowd) connect(name string, i int) *client.Client {
	c.t.Helper()
	return c.open(name, i, client.Config{OnMessage: func(context.Context, *protocol.Message) error {
		c.taken.Add(1)
		return nil
	}})
}

func (c *crowd) open(name string, i int, config client.Config) *client.Client {
	c.t.Helper()
	at := c.site.Nodes[i%len(c.site.Nodes)]
	config.User, config.Password, config.TLS = c.address(name), testPassword, c.tls
	config.Server, config.Security = at.SIMP, client.StartTLS
	if i%2 == 1 {
		config.Server, config.Security = at.SIMPS, client.TLS
	}
	config.OnEvent = func(e client.Event) { c.event(name, e) }
	p, err := client.Open(c.ctx, config)
	if err != nil {
		c.t.Fatalf("%s: %v", name, err)
	}
	if _, err := p.Listen(c.ctx, protocol.ListenRequest{State: protocol.Available, Note: "here"}); err != nil {
		c.t.Fatalf("%s: LISTEN: %v", name, err)
	}
	return p
}

// watcher logs a person in who watches all chatters, and to whom each of them
// may be shown only once: as available.
func (c *crowd) watcher(name string, i int) *client.Client {
	c.t.Helper()
	var all []protocol.Address
	for _, p := range c.chatters {
		all = append(all, p.User())
	}
	seen := map[protocol.Address]bool{}
	w := c.open(name, i, client.Config{OnPresence: func(p protocol.Presence) {
		if seen[p.Address] || p.State != protocol.Available {
			c.note("%s is shown %s as %s, index %d", name, p.Address, p.State, p.Index)
		}
		seen[p.Address] = true
	}})
	if _, err := w.Watch(c.ctx, all...); err != nil {
		c.t.Fatalf("%s: WATCH: %v", name, err)
	}
	return w
}

func (c *crowd) address(name string) protocol.Address {
	a, err := protocol.ParseAddress(name + "@" + c.site.Domain)
	if err != nil {
		c.t.Fatal(err)
	}
	return a
}

func (c *crowd) event(name string, e client.Event) {
	switch e.Kind {
	case client.Moved:
		c.moved.Add(1)
	case client.Retrying: // a way to the new node that was not there yet
	case client.Stale, client.Fresh: // a starved node says that it does not know; it says nothing false
	default:
		c.note("%s: %s: %s", name, e.Kind, e.Text)
	}
}

func (c *crowd) note(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wrong = append(c.wrong, time.Now().Format("15:04:05.000 ")+fmt.Sprintf(format, args...))
}

// chat sends one message after another, until the crowd is dispersed.
func (c *crowd) chat(p *client.Client, to protocol.Address) {
	pause := time.NewTicker(chatPause)
	defer pause.Stop()
	for {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx), patience)
		report, err := p.Send(ctx, client.Message{To: []protocol.Address{to}, Entity: client.Text("hello")})
		cancel()
		switch {
		case errors.Is(err, client.ErrClosed):
			return
		case err != nil:
			c.note("%s to %s: %v", p.User(), to, err)
		case report.Status != protocol.StatusOK:
			c.note("%s to %s: %d %s", p.User(), to, report.Status, report.Results[0].Text)
		}
		c.sent.Add(1)
		select {
		case <-pause.C:
		case <-c.ctx.Done():
			return
		}
	}
}

// chatOn returns once everybody has sent some messages more.
func (c *crowd) chatOn() {
	c.t.Helper()
	want := c.sent.Load() + int64(5*len(c.chatters))
	eventually(c.t, "the crowd chats", func() bool { return c.sent.Load() >= want })
}

// disperse ends the chat and reports what somebody has noticed.
func (c *crowd) disperse() {
	c.t.Helper()
	c.fallSilent()
	c.mu.Lock()
	wrong := c.wrong
	c.mu.Unlock()
	for i, w := range wrong {
		if i == 20 {
			c.t.Errorf("and %d more", len(wrong)-i)
			break
		}
		c.t.Error(w)
	}
	c.goHome()
	c.t.Logf("%d messages, %d moves", c.sent.Load(), c.moved.Load())
}

func (c *crowd) fallSilent() {
	c.t.Helper()
	c.stop()
	join(c.t, "the last messages are sent", &c.work)
}

// goHome ends the chat, whatever somebody has noticed.
func (c *crowd) goHome() {
	c.t.Helper()
	c.fallSilent()
	for _, p := range append(c.others, c.chatters...) {
		if err := p.Close(context.Background()); err != nil {
			c.t.Errorf("%s: %v", p.User(), err)
		}
	}
}
