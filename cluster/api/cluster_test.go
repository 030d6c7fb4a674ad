package api_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	storev1 "simpd/proto/simp/store/v1"
	simpv1 "simpd/proto/simp/v1"
	"simpd/protocol"
	"simpd/store"
)

func node(id string, state simpv1.NodeState, role simpv1.NodeRole) *simpv1.NodeStatus {
	return &simpv1.NodeStatus{Id: id, State: state, Role: role}
}

func TestStatusSaysHowTheSiteIs(t *testing.T) {
	const (
		ready    = simpv1.NodeState_NODE_STATE_READY
		down     = simpv1.NodeState_NODE_STATE_DOWN
		leader   = simpv1.NodeRole_NODE_ROLE_LEADER
		follower = simpv1.NodeRole_NODE_ROLE_FOLLOWER
		nonvoter = simpv1.NodeRole_NODE_ROLE_NONVOTER
	)
	s := newSite(t)
	s.listen("alice@example.com", available, "")
	for _, c := range []struct {
		nodes   []*simpv1.NodeStatus
		health  simpv1.Health
		spare   uint32
		summary string
	}{
		{[]*simpv1.NodeStatus{node("n1", ready, leader)}, simpv1.Health_HEALTH_HEALTHY, 0, "healthy: 1 of 1 voters, can lose 0"},
		{[]*simpv1.NodeStatus{node("n1", ready, leader), node("n2", ready, follower), node("n3", ready, follower)},
			simpv1.Health_HEALTH_HEALTHY, 1, "healthy: 3 of 3 voters, can lose 1"},
		{[]*simpv1.NodeStatus{node("n1", ready, leader), node("n2", down, follower), node("n3", ready, follower)},
			simpv1.Health_HEALTH_DEGRADED, 0, "degraded: 1 of 3 nodes not ready; 2 of 3 voters, can lose 0"},
		{[]*simpv1.NodeStatus{node("n1", ready, follower), node("n2", ready, follower), node("n3", down, nonvoter)},
			simpv1.Health_HEALTH_NO_MAJORITY, 0, "no leader is known: 2 of 2 voters"},
		{[]*simpv1.NodeStatus{node("n1", ready, follower), node("n2", down, follower), node("n3", down, follower)},
			simpv1.Health_HEALTH_NO_MAJORITY, 0, "the majority is lost: 1 of 3 voters; nothing can be changed"},
	} {
		s.nodes.list = c.nodes
		got, err := s.cluster.Status(t.Context(), &simpv1.StatusRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if got.Health != c.health || got.SpareVoters != c.spare || got.Summary != c.summary {
			t.Errorf("got %v, %d, %q; want %v, %d, %q", got.Health, got.SpareVoters, got.Summary, c.health, c.spare, c.summary)
		}
		if got.Listeners != 1 || got.Accounts != 1 || got.Node[0].Sessions != 1 || got.Node[0].Epoch != s.epoch || got.AnsweredBy != "n1" {
			t.Errorf("got %v", got)
		}
	}
}

func TestDrainTellsItsProgress(t *testing.T) {
	s := newSite(t)
	stream, err := s.cluster.Drain(t.Context(), &simpv1.DrainRequest{Node: "n2", Timeout: durationpb.New(time.Minute)})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for {
		r, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprint(r.Left, r.Total, r.Leader, r.Done))
	}
	if want := []string{"2 2 true false", "0 2 false false", "0 2 false true"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if !slices.Equal(s.nodes.asked, []string{"drain n2 1m0s"}) {
		t.Errorf("asked for %q", s.nodes.asked)
	}
}

func TestClusterErrors(t *testing.T) {
	s, ctx := newSite(t), t.Context()
	_, err := s.cluster.RemoveNode(ctx, &simpv1.RemoveNodeRequest{})
	wantCode(t, err, codes.InvalidArgument, "node")
	_, err = s.cluster.Undrain(ctx, &simpv1.UndrainRequest{})
	wantCode(t, err, codes.InvalidArgument, "node")
	_, err = s.cluster.KickSession(ctx, &simpv1.KickSessionRequest{})
	wantCode(t, err, codes.InvalidArgument, "ima")
	_, err = s.cluster.KickSession(ctx, &simpv1.KickSessionRequest{Target: &simpv1.KickSessionRequest_Session{Session: "n1"}})
	wantCode(t, err, codes.InvalidArgument, "session")
	_, err = s.cluster.KickSession(ctx, &simpv1.KickSessionRequest{Target: &simpv1.KickSessionRequest_Session{Session: "n1.2.3"}})
	wantCode(t, err, codes.NotFound, "")
	for cause, want := range map[error]codes.Code{
		protocol.Errorf(protocol.StatusUnknownAddress, "no node n9"):   codes.NotFound,
		protocol.Errorf(protocol.StatusWrongState, "too few are left"): codes.FailedPrecondition,
		protocol.Errorf(protocol.StatusUnavailable, "no majority"):     codes.Unavailable,
		errors.New("something else"):                                   codes.Unavailable,
		fmt.Errorf("of the log: %w", errUncertain):                     codes.Unknown,
		errors.Join(errUncertain, context.DeadlineExceeded):            codes.Unknown,
		errors.Join(errNotDone, context.DeadlineExceeded):              codes.Unavailable,
		context.DeadlineExceeded:                                       codes.DeadlineExceeded,
	} {
		s := newSite(t)
		s.nodes.err = cause
		_, err := s.cluster.RemoveNode(ctx, &simpv1.RemoveNodeRequest{Node: "n9"})
		if status.Code(err) != want {
			t.Errorf("%v: %v, want %v", cause, err, want)
		}
	}
}

// TestRemovingANodeRevokesConsoles: its disk has what signs their sessions. That
// comes after the removal, so that the node does not get the new secret.
func TestRemovingANodeRevokesConsoles(t *testing.T) {
	s, ctx := newSite(t), t.Context()
	request := &simpv1.RemoveNodeRequest{Node: "n3"}
	if _, err := s.cluster.RemoveNode(ctx, request); err != nil {
		t.Fatalf("in a site without consoles: %v", err)
	}
	s.propose(&storev1.Change{Kind: &storev1.Change_SetSchema{SetSchema: &storev1.SetSchema{Schema: store.NewestSchema}}})
	s.nodes.err = protocol.Errorf(protocol.StatusWrongState, "too few are left")
	_, err := s.cluster.RemoveNode(ctx, request)
	wantCode(t, err, codes.FailedPrecondition, "")
	if generation, _ := s.table.ConsoleKey(); generation != 0 {
		t.Errorf("a removal that was refused has revoked: %d", generation)
	}
	s.nodes.err = nil
	if _, err := s.cluster.RemoveNode(ctx, request); err != nil {
		t.Fatal(err)
	}
	generation, first := s.table.ConsoleKey()
	if generation != 1 || len(first) != 32 {
		t.Errorf("after a removal: %d, %x", generation, first)
	}
	if _, err := s.cluster.RevokeConsole(ctx, &simpv1.RevokeConsoleRequest{}); err != nil {
		t.Fatal(err)
	}
	if generation, second := s.table.ConsoleKey(); generation != 2 || bytes.Equal(first, second) {
		t.Errorf("after a revocation: %d, %x", generation, second)
	}
	s.directory.err = errUncertain
	_, err = s.cluster.RemoveNode(ctx, request)
	if err == nil || !strings.Contains(err.Error(), "n3 is removed") || !strings.Contains(err.Error(), "simpctl console --revoke") {
		t.Errorf("where the revocation fails: %v", err)
	}
}

func TestSessionsAreListedAndKicked(t *testing.T) {
	s, ctx := newSite(t), t.Context()
	for i := range 5 {
		s.listen(fmt.Sprintf("u%d@example.com", i), available, "")
	}
	second := s.listen("u1@example.com", away, "phone")
	var all []string
	r := &simpv1.ListSessionsRequest{Node: "n1", PageSize: 2}
	for {
		resp, err := s.cluster.ListSessions(ctx, r)
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range resp.Session {
			all = append(all, u.Ima)
		}
		if resp.NextPageToken == "" {
			break
		}
		r.PageToken = resp.NextPageToken
	}
	if want := []string{"u0@example.com", "u1@example.com", "u1@example.com", "u2@example.com", "u3@example.com", "u4@example.com"}; !slices.Equal(all, want) {
		t.Errorf("listed %q", all)
	}
	one, err := s.cluster.ListSessions(ctx, &simpv1.ListSessionsRequest{Ima: "U1@example.com"})
	if err != nil || len(one.Session) != 2 || one.Session[1].Session.Client != "192.0.2.1:1" {
		t.Fatalf("got %v, %v", one, err)
	}
	id := fmt.Sprintf("n1.%d.%d", second.Epoch, second.Number)
	kicked, err := s.cluster.KickSession(ctx, &simpv1.KickSessionRequest{Target: &simpv1.KickSessionRequest_Session{Session: id}})
	if err != nil || kicked.Closed != 1 || !slices.Equal(s.nodes.asked, []string{"kick u1@example.com " + id}) {
		t.Errorf("got %v, %v, and asked for %q", kicked, err, s.nodes.asked)
	}
}
