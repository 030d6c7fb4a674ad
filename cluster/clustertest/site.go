// Package clustertest is a whole site in memory for tests, as httptest is for
// HTTP: nodes with their real Raft, gossip, streams, tables and routers, on a
// network in memory with faults, and clients that write down what they are
// told. It is used in a bubble of testing/synctest, where elections and
// evictions take no time:
//
//	synctest.Test(t, func(t *testing.T) {
//		s := clustertest.New(t, clustertest.Config{Nodes: 3})
//		bob := s.Login(1, "bob")
//		bob.Listen(…)
//		outcome := s.Login(2, "alice").Say("bob", "hello")
//		…
//	})
package clustertest

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"simpd/cluster"
	"simpd/cluster/link/linktest"
	"simpd/cluster/link/pki"
	"simpd/cluster/ratelimit"
	storev1 "simpd/proto/simp/store/v1"
)

// Domain is the site's name and its only domain.
const Domain = "example.com"

// Config says what site is wanted.
type Config struct {
	Nodes  int
	Disk   bool // keep data, so that a node can be killed and started again
	Secure bool // TLS between nodes, gossip encrypted
	Timing cluster.Timing
	Users  []string         // names of users that there are; none: alice, bob and carol
	Newest uint32           // the newest schema that its nodes read at first; 0: this version's
	Limits ratelimit.Limits // of each node; zero: none
}

// Site is a site in memory. Its methods fail the test when what they wait for
// does not come within a minute of the bubble's time. It is closed when the
// test ends.
type Site struct {
	t       testing.TB
	config  Config
	dir     string
	Network *linktest.Network
	nodes   []*Node
	running sync.WaitGroup // what clients do by themselves
}

// New starts a site and waits until every node is ready.
func New(t testing.TB, c Config) *Site {
	t.Helper()
	if c.Users == nil {
		c.Users = []string{"alice", "bob", "carol"}
	}
	s := &Site{t: t, config: c, Network: linktest.New()}
	if c.Disk || c.Secure {
		s.dir = t.TempDir() // removed after close
	}
	t.Cleanup(s.close)
	if c.Secure {
		s.makeCertificates()
	}
	for i := 1; i <= c.Nodes; i++ {
		s.nodes = append(s.nodes, &Node{site: s, Number: i, Newest: c.Newest})
		s.Start(i)
	}
	s.AwaitReady()
	s.makeUsers()
	return s
}

func (s *Site) makeCertificates() {
	order := pki.Order{Dir: filepath.Join(s.dir, "tls"), Site: Domain}
	for i := 1; i <= s.config.Nodes; i++ {
		order.Nodes = append(order.Nodes, pki.NodeOrder{ID: ID(i)})
	}
	_, err := pki.Make(order)
	s.must(err)
}

func (s *Site) makeUsers() {
	var changes []*storev1.Change
	for _, name := range s.config.Users {
		changes = append(changes, &storev1.Change{Kind: &storev1.Change_PutAccount{PutAccount: &storev1.PutAccount{
			Address: name + "@" + Domain, Mode: storev1.PutAccount_MODE_CREATE,
			Verifier: &storev1.Verifier{Salt: make([]byte, 16), Iterations: 10000, StoredKey: make([]byte, 32), ServerKey: make([]byte, 32)},
		}}})
	}
	ctx, cancel := s.Within(10 * time.Second)
	defer cancel()
	_, err := s.nodes[0].Propose(ctx, changes...)
	s.must(err)
	s.AwaitSame()
}

// ID is the id of node i, which counts from 1.
func ID(i int) string { return fmt.Sprint("n", i) }

// Host is the address of node i on the network.
func Host(i int) string { return fmt.Sprint("10.0.0.", i) }

// Node returns node i.
func (s *Site) Node(i int) *Node { return s.nodes[i-1] }

// folder returns the data directory of node i, if the site has disks.
func (s *Site) folder(i int) string { return filepath.Join(s.dir, ID(i)) }

// Up returns the nodes that run.
func (s *Site) Up() (up []*Node) {
	for _, n := range s.nodes {
		if n.Node != nil {
			up = append(up, n)
		}
	}
	return up
}

// Start starts node i, anew if it was stopped or killed.
func (s *Site) Start(i int) {
	s.t.Helper()
	s.must(s.nodes[i-1].start())
}

// Kill ends node i as kill -9 would: without a word to anybody.
func (s *Site) Kill(i int) {
	s.t.Helper()
	s.Network.Kill(Host(i))
	s.nodes[i-1].stop(func(n *cluster.Node) error { return n.Close() })
}

// Stop takes node i out of service in good order.
func (s *Site) Stop(i int) {
	s.t.Helper()
	s.nodes[i-1].stop(func(n *cluster.Node) error {
		ctx, cancel := s.Within(30 * time.Second)
		defer cancel()
		return n.Shutdown(ctx)
	})
}

// Isolate cuts node i off from all others, and Rejoin brings it back. What was
// sent meanwhile arrives then.
func (s *Site) Isolate(i int) { s.apart(i, s.Network.Cut) }

// Rejoin ends Isolate.
func (s *Site) Rejoin(i int) { s.apart(i, s.Network.Heal) }

func (s *Site) apart(i int, do func(from, to string)) {
	for j := range s.nodes {
		if j+1 != i {
			do(Host(i), Host(j+1))
			do(Host(j+1), Host(i))
		}
	}
}

// Cut cuts nodes i and j apart, and Heal ends it.
func (s *Site) Cut(i, j int) {
	s.Network.Cut(Host(i), Host(j))
	s.Network.Cut(Host(j), Host(i))
}

// Heal ends Cut.
func (s *Site) Heal(i, j int) {
	s.Network.Heal(Host(i), Host(j))
	s.Network.Heal(Host(j), Host(i))
}

// Leader returns the node that leads, once one does and all that are ready agree.
func (s *Site) Leader() *Node {
	s.t.Helper()
	var leader *Node
	s.Eventually("there is a leader", func() bool {
		leader = nil
		ids := map[string]bool{}
		for _, n := range s.Up() {
			if n.Ready() != nil {
				continue
			}
			ids[n.Leader()] = true
			if n.Leader() == ID(n.Number) {
				leader = n
			}
		}
		return leader != nil && len(ids) == 1
	})
	return leader
}

// AwaitReady waits until every node that runs is ready.
func (s *Site) AwaitReady() {
	s.t.Helper()
	s.Eventually("all nodes are ready", func() bool {
		for _, n := range s.Up() {
			if n.Ready() != nil {
				return false
			}
		}
		return true
	})
}

// AwaitSame waits until the tables of all nodes that run are the same.
func (s *Site) AwaitSame() {
	s.t.Helper()
	s.Eventually("all tables are the same", func() bool {
		first := s.Up()[0].Table.View()
		for _, n := range s.Up()[1:] {
			v := n.Table.View()
			if v.Index() != first.Index() || v.Digest() != first.Digest() {
				return false
			}
		}
		return true
	})
}

// Eventually waits until ok returns true.
func (s *Site) Eventually(what string, ok func() bool) {
	s.t.Helper()
	for range 6000 {
		synctest.Wait()
		if ok() {
			return
		}
		<-time.After(10 * time.Millisecond)
	}
	for _, n := range s.Up() {
		s.t.Logf("%s: leader %q, index %d, epoch %d, ready: %v", ID(n.Number), n.Leader(), n.Table.Index(), n.Epoch(), n.Ready())
	}
	s.t.Fatalf("not within a minute: %s", what)
}

// Within is a context for what should not take longer.
func (s *Site) Within(d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), d)
}

func (s *Site) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *Site) close() {
	for i := range s.nodes {
		s.Rejoin(i + 1)
	}
	for _, n := range s.Up() {
		n.stop(func(n *cluster.Node) error { return n.Close() })
	}
	s.running.Wait()
	<-time.After(10 * time.Second) // memberlist's probes end by their timers alone
}

// logger shows what the nodes say if SIMPD_TEST_LOG is set.
func (s *Site) logger(node string) *slog.Logger {
	if os.Getenv("SIMPD_TEST_LOG") == "" {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(s.t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})).With("at", node)
}
