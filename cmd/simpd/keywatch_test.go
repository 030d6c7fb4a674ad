package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"testing"
	"time"

	"simpd/cmd/testkit/site"
	"simpd/protocol"
	"simpd/protocol/client"
	"simpd/protocol/signature"
)

// deviceKey makes a private key that is the same in each run.
func deviceKey(seed byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
}

func publicOf(key ed25519.PrivateKey) ed25519.PublicKey { return key.Public().(ed25519.PublicKey) }

// connect logs a user of a site in at one of its nodes.
func (g *globe) connect(s *site.Site, n *site.Node, user string, config client.Config) *client.Client {
	g.Helper()
	ctx, cancel := context.WithTimeout(g.Context(), patience)
	defer cancel()
	config.User, config.Password = mustAddress(g.T, user+"@"+s.Domain), testPassword
	config.Server, config.Security, config.TLS = n.SIMPS, client.TLS, &tls.Config{RootCAs: g.authority.Roots()}
	c, err := client.Open(ctx, config)
	if err != nil {
		g.Fatal(err)
	}
	g.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_ = c.Close(ctx)
	})
	return c
}

// keyWatcher is told of changes of a user's keys.
type keyWatcher struct {
	where string
	heard chan protocol.KeyNotice
}

// watchKeys connects a user who watches another one, and waits until the watch
// has begun there.
func (g *globe) watchKeys(s *site.Site, n *site.Node, user string, of protocol.Address) *keyWatcher {
	g.Helper()
	w := &keyWatcher{where: user + " at " + n.ID + " of " + s.Domain, heard: make(chan protocol.KeyNotice, 100)}
	seen := make(chan protocol.Presence, 100)
	c := g.connect(s, n, user, client.Config{
		OnKeys:     func(n protocol.KeyNotice) { w.heard <- n },
		OnPresence: func(p protocol.Presence) { seen <- p },
	})
	if _, err := c.Watch(g.Context(), of); err != nil {
		g.Fatal(err)
	}
	for receive(g.T, "the presence of "+of.String()+" at "+w.where, seen).State == protocol.Unknown {
	}
	return w
}

// A change of a user's keys reaches whoever watches them, at each of three
// nodes and at another site, and the user's own sessions. The log says after
// what time.
func TestKeyChangesReachWatchersEverywhere(t *testing.T) {
	g := newGlobe(t)
	one, two := g.processSite("one.example", 3), g.processSite("two.example", 1)
	for s, users := range map[*site.Site][]string{one: {"alice", "carol"}, two: {"bob"}} {
		if err := s.AddUsers(s.Nodes[0], users...); err != nil {
			t.Fatal(err)
		}
	}
	alice := g.connect(one, one.Nodes[0], "alice", client.Config{})
	var watchers []*keyWatcher
	for _, n := range one.Nodes {
		watchers = append(watchers, g.watchKeys(one, n, "carol", alice.User()), g.watchKeys(one, n, "alice", alice.User()))
	}
	watchers = append(watchers, g.watchKeys(two, two.Nodes[0], "bob", alice.User()))
	slowest := map[string]time.Duration{}
	for seed := byte(1); seed <= 5; seed++ {
		for _, change := range []func() (uint64, error){
			func() (uint64, error) { return alice.AddKey(t.Context(), publicOf(deviceKey(seed)), "", nil) },
			func() (uint64, error) {
				return alice.RevokeKey(t.Context(), signature.KeyID(publicOf(deviceKey(seed))))
			},
		} {
			began, index := time.Now(), make(chan uint64, 1)
			go func() {
				i, err := change()
				if err != nil {
					t.Error(err)
				}
				index <- i
			}()
			for _, w := range watchers {
				n := receive(t, "a change of keys at "+w.where, w.heard)
				slowest[w.where] = max(slowest[w.where], time.Since(began))
				if n.Address.String() != alice.User().String() {
					t.Errorf("%s heard of %s", w.where, n.Address)
				}
			}
			receive(t, "the change is acknowledged", index)
		}
	}
	for _, w := range watchers {
		t.Logf("%s: the slowest of 10 changes came after %v", w.where, slowest[w.where])
	}
}
