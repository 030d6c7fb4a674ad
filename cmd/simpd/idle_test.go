package main

import (
	"context"
	"flag"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"simpd/cmd/simpd/site"
	"simpd/protocol"
	"simpd/protocol/client"
)

var idleSessions = flag.Int("idle", 100, "how many idle sessions a node has when it is drained")

// TestDrainIdle: a node full of idle sessions is stopped within its
// drain-timeout, and everybody has moved.
func TestDrainIdle(t *testing.T) {
	program, err := exec.LookPath("simpd")
	if err != nil {
		t.Fatal(err)
	}
	s, err := site.New(site.Config{Bin: filepath.Dir(program), Dir: t.TempDir(), Nodes: 3, Password: testPassword, Insecure: true, Flags: []string{"--drain-timeout=60s"}})
	t.Cleanup(func() { _ = s.Close() })
	if err == nil {
		err = s.BeginAll()
	}
	if err != nil {
		t.Fatal(err)
	}
	i := &idle{t: t, site: s}
	i.gather(*idleSessions)
	before := i.pace(5 * time.Second)
	begun := time.Now()
	draining, stopped := context.WithCancel(t.Context())
	during := make(chan time.Duration, 1)
	go func() { during <- i.paceUntil(draining) }()
	stop(t, s.Nodes[0])
	took := time.Since(begun)
	stopped()
	t.Logf("%d sessions left in %v; p99 of a message between the other nodes: %v before, %v meanwhile", *idleSessions, took, before, <-during)
	if lost, moved := i.lost.Load(), i.moved.Load(); lost > 0 || moved != int64(*idleSessions) || took > 30*time.Second {
		t.Errorf("%d sessions were lost and %d have moved, in %v", lost, moved, took)
	}
	i.close()
}

// idle is sessions that do nothing, and a pair that does.
type idle struct {
	t           *testing.T
	site        *site.Site
	all         []*client.Client
	from, to    *client.Client
	moved, lost atomic.Int64
}

const sessionsOfOne = 10

func (i *idle) gather(n int) {
	i.t.Helper()
	names := []string{"from", "to"}
	for u := range n/sessionsOfOne + 1 {
		names = append(names, fmt.Sprintf("idle%d", u))
	}
	if err := i.site.AddUsers(i.site.Nodes[0], names...); err != nil {
		i.t.Fatal(err)
	}
	i.from, i.to = i.open("from", 1), i.open("to", 2)
	i.all = make([]*client.Client, n)
	var opening sync.WaitGroup
	next := make(chan int)
	for range 16 {
		opening.Go(func() {
			for u := range next {
				i.all[u] = i.open(fmt.Sprintf("idle%d", u/sessionsOfOne), 0)
			}
		})
	}
	for u := range n {
		next <- u
	}
	close(next)
	opening.Wait()
}

func (i *idle) open(name string, at int) *client.Client {
	user, err := protocol.ParseAddress(name + "@" + i.site.Domain)
	if err != nil {
		i.t.Error(err)
		return nil
	}
	c, err := client.Open(i.t.Context(), client.Config{
		User: user, Password: testPassword, Server: i.site.Nodes[at].SIMP, Security: client.Plaintext,
		OnEvent: i.event, OnMessage: func(context.Context, *protocol.Message) error { return nil },
	})
	if err == nil {
		_, err = c.Listen(i.t.Context(), protocol.ListenRequest{State: protocol.Available})
	}
	if err != nil {
		i.t.Errorf("%s: %v", name, err)
	}
	return c
}

func (i *idle) event(e client.Event) {
	switch e.Kind {
	case client.Moved:
		i.moved.Add(1)
	case client.Lost:
		i.lost.Add(1)
	}
}

// pace returns the p99 of messages between the two other nodes.
func (i *idle) pace(d time.Duration) time.Duration {
	ctx, cancel := context.WithTimeout(i.t.Context(), d)
	defer cancel()
	return i.paceUntil(ctx)
}

func (i *idle) paceUntil(ctx context.Context) time.Duration {
	var took []time.Duration
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for ctx.Err() == nil {
		begun := time.Now()
		report, err := i.from.Send(context.WithoutCancel(ctx), client.Outgoing{To: []protocol.Address{i.to.User()}, Entity: client.Text("tick")})
		if err != nil || report.Status != protocol.StatusOK {
			i.t.Errorf("%+v %v", report, err)
		}
		took = append(took, time.Since(begun))
		<-tick.C
	}
	slices.Sort(took)
	return took[len(took)*99/100]
}

func (i *idle) close() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var closing sync.WaitGroup
	for _, c := range append(i.all, i.from, i.to) {
		closing.Go(func() { _ = c.Close(ctx) })
	}
	closing.Wait()
}
