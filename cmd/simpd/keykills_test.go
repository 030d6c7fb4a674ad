package main

import (
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"simpd/cmd/testkit/site"
	"simpd/protocol/client"
	"simpd/protocol/signature"
)

// Keys are added and revoked while nodes are killed: what was acknowledged is
// in the list of every node in the end, and each list continues all that were
// seen before.
func TestNoAcknowledgedKeyIsLost(t *testing.T) {
	g := newGlobe(t)
	s := g.processSite("one.example", 3)
	users := []string{"u1", "u2", "u3"}
	if err := s.AddUsers(s.Nodes[0], users...); err != nil {
		t.Fatal(err)
	}
	var done atomic.Int64
	over := make(chan struct{})
	var work sync.WaitGroup
	keepers := make([]*keyKeeper, len(users))
	for i, user := range users {
		k := &keyKeeper{t: t, user: user, added: map[string]bool{}, revoked: map[string]bool{}}
		k.Client = g.roamer(mustAddress(t, user+"@one.example"), &logbook{taken: map[string]bool{}})
		keepers[i] = k
		work.Go(func() { k.change(&done, over) })
	}
	for _, n := range s.Nodes {
		want := done.Load() + 12
		eventually(t, "keys are changed", func() bool { return done.Load() >= want })
		n.Kill()
		if err := n.Begin(); err != nil {
			t.Fatal(err)
		}
		if err := n.Ready(site.Patience); err != nil {
			t.Fatal(err)
		}
	}
	close(over)
	join(t, "all changes are answered", &work)
	for _, k := range keepers {
		for _, n := range s.Nodes {
			k.check(g.connect(s, n, k.user, client.Config{}), n.ID)
		}
		t.Logf("%s: %d keys added, %d revoked", k.user, len(k.added), len(k.revoked))
	}
}

// keyKeeper changes a user's keys, and remembers what was acknowledged.
type keyKeeper struct {
	*client.Client
	t              *testing.T
	user           string
	added, revoked map[string]bool // acknowledged, by id
	heads          []signature.Head
}

// change adds a key, revokes it, and so on, until it is over.
func (k *keyKeeper) change(done *atomic.Int64, over chan struct{}) {
	for i := 0; i < signature.MaxKeys; i++ {
		select {
		case <-over:
			return
		default:
		}
		seed := sha256.Sum256([]byte(fmt.Sprint(k.user, i)))
		public := publicOf(ed25519.NewKeyFromSeed(seed[:]))
		id := signature.KeyID(public)
		if _, err := k.AddKey(k.t.Context(), public, "", nil); err == nil {
			k.added[id] = true
			done.Add(1)
		}
		if list, err := k.Keys(k.t.Context()); err == nil {
			k.heads = append(k.heads, list.Head())
		}
		if _, err := k.RevokeKey(k.t.Context(), id); err == nil {
			k.revoked[id] = true
			done.Add(1)
		}
	}
}

// check compares the list that a node shows with what was acknowledged.
func (k *keyKeeper) check(c *client.Client, node string) {
	k.t.Helper()
	list, err := c.FreshKeysOf(k.t.Context(), c.CanonicalUser())
	if err != nil {
		k.t.Fatal(err)
	}
	for id := range k.added {
		if _, there := list.Key(id); !there {
			k.t.Errorf("%s: the key %s of %s was acknowledged, and is not there", node, id, k.user)
		}
	}
	for id := range k.revoked {
		if key, there := list.Key(id); !there || key.RevokedAs == 0 {
			k.t.Errorf("%s: the key %s of %s was revoked, and is live", node, id, k.user)
		}
	}
	for _, head := range k.heads {
		if !list.Extends(head) {
			k.t.Errorf("%s: the list of %s does not continue one that was seen", node, k.user)
			return
		}
	}
}

// refuseKeys checks that no key can be added at a node while its site has nodes
// of a release that does not know keys, and that simp says why.
func refuseKeys(t *testing.T, s *site.Site, n *site.Node, want string) {
	t.Helper()
	if err := s.AddUsers(s.Nodes[0], "keyless"); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SIMP_PASSWORD", testPassword)
	code, said := runTo(t, "", "simp", append(s.Person(n, "keyless"), "key", "add")...)
	if code != 1 || !strings.Contains(said, want) {
		t.Errorf("%s: simp key add: exit code %d, %q; want %q", n.ID, code, said, want)
	}
}
