package peerrpc_test

import (
	"context"
	"errors"
	"fmt"
	"simpd/cluster/ratelimit"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"simpd/cluster/link"
	"simpd/cluster/link/linktest"
	"simpd/cluster/peerrpc"
	clusterv1 "simpd/proto/simp/cluster/v1"
	storev1 "simpd/proto/simp/store/v1"
	"simpd/protocol"
	"simpd/store"
)

// server is the node that is called in tests.
type server struct {
	clusterv1.UnimplementedPeerServer
	propose func(ctx context.Context, from string, b []*storev1.Batch) error
	command string
}

func (s *server) Propose(ctx context.Context, r *clusterv1.ProposeRequest) (*clusterv1.ProposeResponse, error) {
	err := s.propose(ctx, link.CallerNode(ctx), r.Batch)
	return &clusterv1.ProposeResponse{Refusal: peerrpc.EncodeError(err, clusterv1.Refusal_REASON_UNKNOWN)}, nil
}

func (s *server) ReadIndex(context.Context, *clusterv1.ReadIndexRequest) (*clusterv1.ReadIndexResponse, error) {
	return &clusterv1.ReadIndexResponse{Index: 7}, nil
}

func (s *server) Applied(ctx context.Context, r *clusterv1.AppliedRequest) (*clusterv1.AppliedResponse, error) {
	var err error
	if r.Index > 7 {
		<-ctx.Done()
		err = ctx.Err()
	}
	return &clusterv1.AppliedResponse{Refusal: peerrpc.EncodeError(err, clusterv1.Refusal_REASON_UNAVAILABLE)}, nil
}

func (s *server) Watchers(_ context.Context, r *clusterv1.WatchersRequest) (*clusterv1.WatchersResponse, error) {
	return &clusterv1.WatchersResponse{By: []string{r.User}}, nil
}

func (s *server) Kick(_ context.Context, r *clusterv1.KickRequest) (*clusterv1.KickResponse, error) {
	if r.Session != nil {
		return &clusterv1.KickResponse{Closed: uint32(r.Session.Number)}, nil
	}
	return &clusterv1.KickResponse{Closed: 2}, nil
}

func (s *server) Status(context.Context, *clusterv1.StatusRequest) (*clusterv1.StatusResponse, error) {
	return &clusterv1.StatusResponse{Index: 7}, nil
}

func (s *server) Probe(context.Context, *clusterv1.ProbeRequest) (*clusterv1.ProbeResponse, error) {
	return &clusterv1.ProbeResponse{BootstrapExpect: 3}, nil
}

func (s *server) Command(ctx context.Context, r *clusterv1.CommandRequest) (*clusterv1.CommandResponse, error) {
	s.command = link.CallerNode(ctx) + " removes " + r.GetRemoveNode().GetNode()
	err := fmt.Errorf("remove: %w", &peerrpc.NotLeaderError{Leader: "n9"})
	return &clusterv1.CommandResponse{Refusal: peerrpc.EncodeError(err, clusterv1.Refusal_REASON_UNKNOWN)}, nil
}

// deaf handles nothing else than calls.
type deaf struct{}

func (deaf) ReceiveMessage(_ string, _ store.Session, _ *protocol.Message, done func(protocol.Outcome)) {
	done(protocol.Outcome{Status: protocol.StatusNotListening})
}
func (deaf) Failed(protocol.Attempt, int)         {}
func (deaf) Succeeded(protocol.Attempt)           {}
func (deaf) Counted(string, []ratelimit.Count)    {}
func (deaf) MemberUp(link.Member)                 {}
func (deaf) MemberSuspect(string, link.Suspicion) {}
func (deaf) MemberLeft(string)                    {}

// pair is two nodes on a network in memory; n1 calls n2.
type pair struct {
	*peerrpc.Client
	network *linktest.Network
	from    *link.Link
	n2      *server
}

// newPair has to be called in a bubble of synctest.
func newPair(t *testing.T) *pair {
	t.Helper()
	p := &pair{network: linktest.New(), n2: &server{}}
	p.from = p.open(t, "n1", "10.0.0.1", &server{})
	p.open(t, "n2", host2, p.n2)
	p.Client = peerrpc.NewClient(p.from)
	for range 6000 {
		if p.from.Connectivity("n2").Connected {
			return p
		}
		<-time.After(10 * time.Millisecond)
	}
	t.Fatal("n1 does not reach n2")
	return nil
}

const host2 = "10.0.0.2"

func (p *pair) open(t *testing.T, id, host string, s *server) *link.Link {
	t.Helper()
	listener, err := p.network.Listen(host + ":7470")
	if err != nil {
		t.Fatal(err)
	}
	gossip, err := p.network.Gossip(host + ":7471")
	if err != nil {
		t.Fatal(err)
	}
	l, err := link.Open(link.Config{
		NodeID: id, Site: "example.com", Listener: listener, Dial: p.network.Dialer(host), Handler: deaf{}, Calls: s,
		Gossip: link.GossipConfig{Transport: gossip, Join: []string{"10.0.0.1:7471"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		l.Close()
		<-time.After(10 * time.Second) // memberlist's probes end by their timers alone
	})
	l.SetConfiguration(link.Configuration{})
	if err := l.Start(); err != nil {
		t.Fatal(err)
	}
	return l
}

// isOnly reports whether err is one of the three that a call may end with, and no other.
func isOnly(err, want error) bool {
	for _, e := range []error{peerrpc.ErrUnavailable, peerrpc.ErrUnknown, peerrpc.ErrRefused} {
		if errors.Is(err, e) != (e == want) {
			return false
		}
	}
	return true
}

func TestErrorsOfTheLeaderArrive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t)
		batch := []*storev1.Batch{{Origin: "n1", Number: 5}}
		for name, c := range map[string]struct {
			answer, want error
			leader       string
		}{
			"none":         {nil, nil, ""},
			"not leader":   {fmt.Errorf("propose: %w", &peerrpc.NotLeaderError{Leader: "n3"}), peerrpc.ErrUnavailable, "n3"},
			"unavailable":  {fmt.Errorf("propose: %w", peerrpc.ErrUnavailable), peerrpc.ErrUnavailable, ""},
			"unknown":      {fmt.Errorf("propose: %w", peerrpc.ErrUnknown), peerrpc.ErrUnknown, ""},
			"refused":      {fmt.Errorf("propose: %w", peerrpc.ErrRefused), peerrpc.ErrRefused, ""},
			"anything":     {errors.New("disk on fire"), peerrpc.ErrUnknown, ""},
			"its own time": {context.DeadlineExceeded, peerrpc.ErrUnknown, ""},
		} {
			p.n2.propose = func(_ context.Context, from string, b []*storev1.Batch) error {
				if from != "n1" || len(b) != 1 || b[0].Number != 5 {
					t.Errorf("proposed by %s: %v", from, b)
				}
				return c.answer
			}
			err := p.Propose(t.Context(), "n2", batch)
			if c.want == nil && err != nil || c.want != nil && !isOnly(err, c.want) {
				t.Errorf("%s: came as %v", name, err)
			}
			var notLeader *peerrpc.NotLeaderError
			if errors.As(err, &notLeader) != (c.leader != "") || notLeader != nil && notLeader.Leader != c.leader {
				t.Errorf("%s: the leader is not told: %v", name, err)
			}
		}
	})
}

func TestACommandArrives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t)
		command := &clusterv1.CommandRequest{Kind: &clusterv1.CommandRequest_RemoveNode_{RemoveNode: &clusterv1.CommandRequest_RemoveNode{Node: "n5"}}}
		err := p.Command(t.Context(), "n2", command)
		var notLeader *peerrpc.NotLeaderError
		if !errors.As(err, &notLeader) || notLeader.Leader != "n9" || p.n2.command != "n1 removes n5" {
			t.Errorf("%v, %q", err, p.n2.command)
		}
	})
}

// A leader of an older version does not know the call: its keys are not shared.
func TestKeysOfAnOlderLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t)
		if keys, err := p.SourceKeys(t.Context(), "n2", &clusterv1.SourceKeysRequest{Source: "login"}); !isOnly(err, peerrpc.ErrRefused) {
			t.Errorf("%v, %v", keys, err)
		}
	})
}

func TestAProposalThatIsCutOffIsUnknownAndSoon(t *testing.T) {
	for name, fault := range map[string]func(p *pair){
		"killed":   func(p *pair) { p.network.Kill(host2) },
		"isolated": func(p *pair) { p.network.Isolate(host2) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPair(t)
				asked := make(chan struct{})
				p.n2.propose = func(ctx context.Context, _ string, _ []*storev1.Batch) error {
					close(asked)
					<-ctx.Done()
					return ctx.Err()
				}
				got := make(chan error)
				go func() { got <- p.Propose(t.Context(), "n2", nil) }()
				<-asked
				before := time.Now()
				fault(p)
				if err := <-got; !isOnly(err, peerrpc.ErrUnknown) {
					t.Errorf("%v", err)
				}
				if took := time.Since(before); took > 6*time.Second {
					t.Errorf("it took %v", took)
				}
				for p.from.Connectivity("n2").Suspicion == link.NotSuspected {
					<-time.After(10 * time.Millisecond)
				}
				before = time.Now()
				if err := p.Propose(t.Context(), "n2", nil); !isOnly(err, peerrpc.ErrUnavailable) || time.Since(before) > 0 {
					t.Errorf("the next one: %v after %v", err, time.Since(before))
				}
			})
		})
	}
}

func TestCallsSayWhatBecameOfThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t)
		ctx := t.Context()
		user, _ := protocol.ParseAddress("alice@example.com")
		session := store.Session{Node: "n2", Epoch: 3, Number: 42}
		if index, err := p.ReadIndex(ctx, "n2"); index != 7 || err != nil {
			t.Errorf("ReadIndex: %d, %v", index, err)
		}
		if err := p.Applied(ctx, "n2", 7); err != nil {
			t.Errorf("Applied: %v", err)
		}
		if by, err := p.Watchers(ctx, "n2", user); err != nil || !slices.Equal(by, []protocol.Address{user}) {
			t.Errorf("Watchers: %v, %v", by, err)
		}
		if n, err := p.Kick(ctx, "n2", user, nil); n != 2 || err != nil {
			t.Errorf("Kick of all: %d, %v", n, err)
		}
		if n, err := p.Kick(ctx, "n2", user, &session); n != 42 || err != nil {
			t.Errorf("Kick of one: %d, %v", n, err)
		}
		if st, err := p.Status(ctx, "n2"); err != nil || st.Index != 7 {
			t.Errorf("Status: %v, %v", st, err)
		}
		if r, err := p.Probe(ctx, "n2"); err != nil || r.BootstrapExpect != 3 {
			t.Errorf("Probe: %v, %v", r, err)
		}
		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		if err := p.Applied(short, "n2", 8); !isOnly(err, peerrpc.ErrUnavailable) {
			t.Errorf("Applied that does not come: %v", err)
		}
		if _, err := p.ReadIndex(ctx, "n7"); !isOnly(err, peerrpc.ErrUnavailable) {
			t.Errorf("a call to nobody: %v", err)
		}
	})
}
