package clustertest

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"simpd/protocol"
	"simpd/protocol/signature"
	"simpd/store"
)

// next is the schema of the version to come.
const next = store.NewestSchema + 1

// TestTheSchemaIsRaisedOnceAllReadIt: a site goes over to a version that reads
// a newer schema, node by node. The log goes on to it a minute after the last
// one, and until then each node may go back.
func TestTheSchemaIsRaisedOnceAllReadIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(t, Config{Nodes: 3, Disk: true})
		s.replace(1, next)
		s.replace(2, next)
		s.stays(store.NewestSchema, 3*time.Minute) // n3 does not read it
		s.replace(3, next)
		s.stays(store.NewestSchema, 50*time.Second)
		s.replace(2, store.NewestSchema) // and goes back, as it may
		s.stays(store.NewestSchema, 3*time.Minute)
		s.Stop(2)
		s.stays(store.NewestSchema, 2*time.Minute) // who is away counts too
		s.begin(2, next)
		s.goesOnTo(next)
		s.replace(3, next) // from its disk: what it has written it reads
		s.stays(next, time.Second)
	})
}

// TestAnOlderVersionStopsAtANewerSchema: where the log has gone on, an older
// version says so and ends. It skips nothing.
func TestAnOlderVersionStopsAtANewerSchema(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(t, Config{Nodes: 3, Disk: true})
		for i := 1; i <= 3; i++ {
			s.replace(i, next)
		}
		s.goesOnTo(next)
		s.Stop(3)
		s.endsAtOnce(3, fmt.Sprintf("the site goes on to schema %d, while this program reads up to %d: a newer program is needed", next, store.NewestSchema))
		s.exchange(1, 2)
		s.begin(3, next) // it has lost nothing
		s.stays(next, time.Second)
	})
}

// TestAnOlderVersionIsNotTakenIn: a new node of an older version stays outside
// of a site whose log has gone on.
func TestAnOlderVersionIsNotTakenIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(t, Config{Nodes: 3, Disk: true})
		for i := 1; i <= 3; i++ {
			s.replace(i, next)
		}
		s.goesOnTo(next)
		s.Kill(3)
		s.Leader()
		ctx, cancel := s.Within(10 * time.Second)
		defer cancel()
		s.must(s.Node(1).RemoveNode(ctx, ID(3)))
		s.must(s.Node(1).AdmitNode(ctx, ID(3)))
		s.must(os.RemoveAll(s.folder(3)))
		n := s.Node(3)
		n.Newest = store.NewestSchema
		s.Start(3)
		<-time.After(time.Minute)
		if err := n.Ready(); err == nil {
			t.Error("it is part of the site")
		}
		s.Kill(3)
		s.begin(3, next)
		s.stays(next, time.Second)
	})
}

// TestKeysWaitForTheSchema: while a node of a site is of the version before
// devices' keys, no node takes a key, and says why. Once all are upgraded and
// the schema is raised, all do. What was refused was not half done.
func TestKeysWaitForTheSchema(t *testing.T) {
	const before = 3 // the last schema without keys
	public := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)).Public().(ed25519.PublicKey)
	key := signature.Key{ID: signature.KeyID(public), Key: public}
	synctest.Test(t, func(t *testing.T) {
		s := New(t, Config{Nodes: 3, Disk: true, Newest: before})
		refused := func(i int) {
			t.Helper()
			bob := s.Login(i, "bob")
			defer bob.Close()
			_, err := bob.AddKey(t.Context(), key)
			var e *protocol.Error
			if !errors.As(err, &e) || e.Status != protocol.StatusUnavailable || e.Text != "the site is being upgraded; keys can be added once all nodes are upgraded" {
				t.Errorf("n%d: %v", i, err)
			}
			if keys, head := bob.Keys(); len(keys) > 0 || head != (signature.Head{}) {
				t.Errorf("n%d lists %v", i, keys)
			}
		}
		s.replace(1, store.NewestSchema)
		s.replace(2, store.NewestSchema)
		<-time.After(3 * time.Minute)
		for i := 1; i <= 3; i++ {
			refused(i)
		}
		s.replace(3, store.NewestSchema)
		refused(3)
		<-time.After(time.Minute) // until then each node may go back
		s.Eventually("a key is taken", func() bool {
			bob := s.Login(2, "bob")
			defer bob.Close()
			_, err := bob.AddKey(t.Context(), key)
			return err == nil
		})
		s.AwaitSame()
		for i := 1; i <= 3; i++ {
			bob := s.Login(i, "bob")
			if keys, _ := bob.Keys(); len(keys) != 1 || keys[0].ID != key.ID {
				t.Errorf("n%d lists %v", i, keys)
			}
			bob.Close()
		}
	})
}

// replace restarts a node as a version that reads up to that schema.
func (s *Site) replace(i int, newest uint32) {
	s.t.Helper()
	s.Stop(i)
	s.begin(i, newest)
}

func (s *Site) begin(i int, newest uint32) {
	s.t.Helper()
	s.nodes[i-1].Newest = newest
	s.Start(i)
	s.AwaitReady()
	s.exchange(i, 1+i%3)
}

// exchange has bob at one node hear from alice at another, where both run.
func (s *Site) exchange(i, j int) {
	s.t.Helper()
	if s.nodes[i-1].Node == nil || s.nodes[j-1].Node == nil {
		return
	}
	bob, alice := s.Login(i, "bob"), s.Login(j, "alice")
	defer bob.Close()
	defer alice.Close()
	_, _, err := bob.Listen(protocol.ListenRequest{})
	s.must(err)
	if got := alice.Say("bob", "hello"); got.Status != protocol.StatusOK {
		s.t.Errorf("from %d to %d: %v", j, i, got)
	}
}

// stays checks that all nodes work and that the schema is the same for so long.
func (s *Site) stays(schema uint32, d time.Duration) {
	s.t.Helper()
	<-time.After(d)
	for _, n := range s.Up() {
		if got := n.Table.Schema(); got != schema {
			s.t.Fatalf("after %v n%d has schema %d, want %d", d, n.Number, got, schema)
		}
	}
	s.exchange(1, 2)
	s.exchange(3, 1)
	s.AwaitSame()
}

// goesOnTo waits until the log has gone on, which takes a minute and no more
// than a minute and a half.
func (s *Site) goesOnTo(schema uint32) {
	s.t.Helper()
	s.stays(schema-1, 50*time.Second)
	s.Eventually("the schema is raised", func() bool {
		for _, n := range s.Up() {
			if n.Table.Schema() != schema {
				return false
			}
		}
		return true
	})
	s.exchange(2, 3)
	s.AwaitSame()
}

// endsAtOnce starts a node as this version, which has to end with that sentence.
func (s *Site) endsAtOnce(i int, why string) {
	s.t.Helper()
	n := s.nodes[i-1]
	var mu sync.Mutex
	var ended error
	n.Newest, n.Fatal = store.NewestSchema, func(err error) {
		mu.Lock()
		defer mu.Unlock()
		ended = err
	}
	s.Start(i)
	s.Eventually("it can't go on", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return ended != nil
	})
	if !strings.Contains(ended.Error(), why) {
		s.t.Errorf("it says: %v", ended)
	}
	if n.Ready() == nil {
		s.t.Error("it takes clients")
	}
	s.Kill(i)
	n.Fatal = nil
}
