package main

import (
	"context"
	"crypto/tls"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"simpd/cluster/link/pki"
	"simpd/cmd/testkit/site"
	clusterv1 "simpd/proto/simp/cluster/v1"
	storev1 "simpd/proto/simp/store/v1"
	"simpd/store"
)

// thief has the keys of a node.
type thief struct {
	*testing.T
	identity *pki.Identity
}

func newThief(t *testing.T, s *site.Site, id string) *thief {
	t.Helper()
	identity, err := pki.Load(s.Key("ca.crt"), s.Key("node-"+id+".crt"), s.Key("node-"+id+".key"))
	if err != nil {
		t.Fatal(err)
	}
	return &thief{t, identity}
}

func (x *thief) dial(to *site.Node, protocol string, timeout time.Duration) (net.Conn, error) {
	d := &net.Dialer{Timeout: timeout}
	return tls.DialWithDialer(d, "tcp", to.Cluster, x.identity.Client(to.ID, protocol))
}

// probe asks a node what it has.
func (x *thief) probe(to *site.Node) (*clusterv1.ProbeResponse, error) {
	c, err := grpc.NewClient("passthrough:///"+to.Cluster, grpc.WithTransportCredentials(insecure.NewCredentials()), // the dialer speaks TLS
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) { return x.dial(to, "simp-cluster/1", 3*time.Second) }))
	if err != nil {
		x.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(x.Context(), 3*time.Second)
	defer cancel()
	return clusterv1.NewPeerClient(c).Probe(ctx, &clusterv1.ProbeRequest{})
}

// layer carries Raft to one node.
type layer struct {
	*thief
	to   *site.Node
	done chan struct{}
}

func (l layer) Dial(_ raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	return l.dial(l.to, "simp-raft/1", timeout)
}

func (l layer) Accept() (net.Conn, error) {
	<-l.done
	return nil, net.ErrClosed
}

func (l layer) Close() error   { close(l.done); return nil }
func (l layer) Addr() net.Addr { return &net.TCPAddr{} }

// attackByRaft deposes the leader and writes an account into a node's table, if
// it is let.
func (x *thief) attackByRaft(to *site.Node, clusterID string) {
	x.Helper()
	t := raft.NewNetworkTransportWithLogger(layer{x, to, make(chan struct{})}, 1, 2*time.Second, hclog.NewNullLogger())
	defer t.Close()
	h := raft.RPCHeader{ProtocolVersion: 3, ID: []byte("n3\x00" + clusterID), Addr: []byte("127.0.0.1:1")}
	var vote raft.RequestVoteResponse
	err := t.RequestVote("x", "x", &raft.RequestVoteRequest{RPCHeader: h, Term: 1000, LastLogIndex: 1 << 40, LastLogTerm: 1000, LeadershipTransfer: true}, &vote)
	if err == nil {
		x.Errorf("%s answers a call for its vote: %+v", to.ID, vote)
	}
	entry := store.EncodeEntry(&storev1.Entry{MinSchema: 1, Batch: []*storev1.Batch{{Change: []*storev1.Change{{
		Kind: &storev1.Change_PutAccount{PutAccount: &storev1.PutAccount{Address: "thief@example.com", Mode: storev1.PutAccount_MODE_CREATE,
			Verifier: &storev1.Verifier{Salt: make([]byte, 16), Iterations: 4096, StoredKey: make([]byte, 32), ServerKey: make([]byte, 32)}}}}}}}})
	var appended raft.AppendEntriesResponse
	err = t.AppendEntries("x", "x", &raft.AppendEntriesRequest{RPCHeader: h, Term: 1000, LeaderCommitIndex: 1 << 40,
		Entries: []*raft.Log{{Index: 1, Term: 1000, Type: raft.LogCommand, Data: entry}}}, &appended)
	if err == nil {
		x.Errorf("%s takes entries: %+v", to.ID, appended)
	}
}

// TestARemovedNodeIsNobody: with the keys of a node that was removed nothing
// can be learned, deposed or written, and an empty folder under its id is not
// taken in; an operator admits the id, and it takes a new certificate too.
func TestARemovedNodeIsNobody(t *testing.T) {
	s := startCrowdSite(t)
	n1, n3 := s.Nodes[0], s.Nodes[2]
	x := newThief(t, s, "n3")
	known, err := x.probe(n1)
	if err != nil || known.GetClusterId() == "" {
		t.Fatalf("a node of the site is told %v, %v", known, err)
	}
	eventually(t, "the certificates are recorded, and n3 is removed", func() bool {
		code, _, err := s.Simpctl(n1, "node", "remove", "n3", "--yes")
		return err == nil && code == 0
	})
	attack := func() {
		t.Helper()
		for _, n := range s.Nodes[:2] {
			if p, err := x.probe(n); err == nil {
				t.Errorf("%s tells a removed node %v", n.ID, p)
			}
			x.attackByRaft(n, known.GetClusterId())
		}
		if _, said, err := s.Simpctl(n1, "account", "list"); err != nil || strings.Contains(said, "thief") {
			t.Errorf("the accounts: %s, %v", said, err)
		}
	}
	attack()
	stop(t, n3)
	if err := os.RemoveAll(n3.Dir); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	if err := n3.Begin(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "an empty folder is refused", func() bool {
		return strings.Contains(n1.Said(), "its certificate was revoked") || time.Since(begun) > patience/2
	})
	roll(t, s.Nodes[:2]) // the site remembers
	attack()
	if code, said, err := s.Simpctl(n1, "node", "admit", "n3"); err != nil || code != 0 {
		t.Fatal(code, said, err)
	}
	attack() // the old certificate is refused all the same
	if err := n3.Ready(3 * time.Second); err == nil {
		t.Error("it is taken in with the old certificate")
	}
	stop(t, n3)
	if err := s.RenewKeys(n3); err != nil {
		t.Fatal(err)
	}
	if err := n3.Begin(); err != nil {
		t.Fatal(err)
	}
	if err := n3.Ready(patience); err != nil {
		t.Fatal(err)
	}
	attack()
}

// roll stops nodes all at once and starts them again.
func roll(t *testing.T, nodes []*site.Node) {
	t.Helper()
	for _, n := range nodes {
		n.Kill()
	}
	for _, n := range nodes {
		if err := n.Begin(); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range nodes {
		if err := n.Ready(patience); err != nil {
			t.Fatal(err)
		}
	}
}
