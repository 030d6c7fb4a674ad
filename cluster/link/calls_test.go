package link

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	clusterv1 "simpd/proto/simp/cluster/v1"
	storev1 "simpd/proto/simp/store/v1"
)

type raftResponse struct {
	request  raft.RequestVoteRequest
	response raft.RequestVoteResponse
}

// isOnly reports whether err is one of the three that a call may end with, and no other.
func isOnly(err, want error) bool {
	for _, e := range []error{ErrUnavailable, ErrUnknown, ErrRefused} {
		if errors.Is(err, e) != (e == want) {
			return false
		}
	}
	return true
}

func TestErrorsOfTheLeaderArrive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t).up(2)
		batch := []*storev1.Batch{{Origin: "n1", Number: 5}}
		for name, c := range map[string]struct {
			answer, want error
			leader       string
		}{
			"none":         {nil, nil, ""},
			"not leader":   {fmt.Errorf("propose: %w", &NotLeaderError{Leader: "n3"}), ErrUnavailable, "n3"},
			"unavailable":  {fmt.Errorf("propose: %w", ErrUnavailable), ErrUnavailable, ""},
			"unknown":      {fmt.Errorf("propose: %w", ErrUnknown), ErrUnknown, ""},
			"refused":      {fmt.Errorf("propose: %w", ErrRefused), ErrRefused, ""},
			"anything":     {errors.New("disk on fire"), ErrUnknown, ""},
			"its own time": {context.DeadlineExceeded, ErrUnknown, ""},
		} {
			s.handlers["n2"].propose = func(_ context.Context, from string, b []*storev1.Batch) error {
				if from != "n1" || len(b) != 1 || b[0].Number != 5 {
					t.Errorf("proposed by %s: %v", from, b)
				}
				return c.answer
			}
			err := s.links["n1"].Propose(t.Context(), "n2", batch)
			if c.want == nil && err != nil || c.want != nil && !isOnly(err, c.want) {
				t.Errorf("%s: came as %v", name, err)
			}
			var notLeader *NotLeaderError
			if errors.As(err, &notLeader) != (c.leader != "") || notLeader != nil && notLeader.Leader != c.leader {
				t.Errorf("%s: the leader is not told: %v", name, err)
			}
		}
	})
}

func TestACommandArrives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t).up(2)
		command := &clusterv1.CommandRequest{Kind: &clusterv1.CommandRequest_RemoveNode_{RemoveNode: &clusterv1.CommandRequest_RemoveNode{Node: "n5"}}}
		err := s.links["n1"].Command(t.Context(), "n2", command)
		var notLeader *NotLeaderError
		if !errors.As(err, &notLeader) || notLeader.Leader != "n9" || s.handlers["n2"].command != "n1 removes n5" {
			t.Errorf("%v, %q", err, s.handlers["n2"].command)
		}
	})
}

func TestAProposalThatIsCutOffIsUnknownAndSoon(t *testing.T) {
	for name, fault := range map[string]func(s *site){
		"killed":   func(s *site) { s.network.Kill(hostOf(2)) },
		"isolated": func(s *site) { s.network.Isolate(hostOf(2)) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t).up(2)
				asked := make(chan struct{})
				s.handlers["n2"].propose = func(ctx context.Context, _ string, _ []*storev1.Batch) error {
					close(asked)
					<-ctx.Done()
					return ctx.Err()
				}
				got := make(chan error)
				go func() { got <- s.links["n1"].Propose(t.Context(), "n2", nil) }()
				<-asked
				before := time.Now()
				fault(s)
				if err := <-got; !isOnly(err, ErrUnknown) {
					t.Errorf("%v", err)
				}
				if took := time.Since(before); took > 6*time.Second {
					t.Errorf("it took %v", took)
				}
				s.eventually(func() bool { return s.links["n1"].Connectivity("n2").Suspicion != NotSuspected }, "it is noticed")
				before = time.Now()
				if err := s.links["n1"].Propose(t.Context(), "n2", nil); !isOnly(err, ErrUnavailable) || time.Since(before) > 0 {
					t.Errorf("the next one: %v after %v", err, time.Since(before))
				}
			})
		})
	}
}

func TestANodeThatIsGivenUpIsNotCalledAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t).up(2)
		p := s.links["n1"].peers.get("n2")
		s.links["n1"].SetRemoved(Removed{Nodes: map[string]bool{"n2": true}})
		s.links["n1"].SetConfiguration(configuration(1, 1))
		synctest.Wait()
		if _, err := p.callClient(t.Context()); err == nil {
			t.Error("it is called")
		}
		if _, err := s.links["n1"].Status(t.Context(), "n2"); !isOnly(err, ErrUnavailable) {
			t.Errorf("a call: %v", err)
		}
	})
}
