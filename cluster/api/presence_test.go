package api_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	storev1 "simpd/proto/simp/store/v1"
	simpv1 "simpd/proto/simp/v1"
)

const (
	available = storev1.State_STATE_AVAILABLE
	busy      = storev1.State_STATE_BUSY
	away      = storev1.State_STATE_AWAY
)

func TestGetTellsTheBestStateAndAllSessions(t *testing.T) {
	s := newSite(t)
	s.listen("alice@example.com", away, "at lunch")
	s.listen("alice@example.com", busy, "in a call")
	resp, err := s.presence.Get(t.Context(), &simpv1.GetRequest{Ima: []string{"Alice@example.com", "nobody@example.com", "alice@example.com"}})
	if err != nil {
		t.Fatal(err)
	}
	if len(resp.Presence) != 2 || resp.Position.Index != s.table.Index() {
		t.Fatalf("got %v", resp)
	}
	alice, nobody := resp.Presence[0], resp.Presence[1]
	if alice.Ima != "alice@example.com" || alice.State != simpv1.State_STATE_BUSY || alice.Note != "in a call" || len(alice.Session) != 2 {
		t.Errorf("alice: %v", alice)
	}
	first := alice.Session[0]
	if first.Id == "" || first.Node != "n1" || first.State != simpv1.State_STATE_AWAY || first.Note != "at lunch" ||
		first.Since.AsTime().IsZero() || first.Agent != "test/1" || first.Client != "192.0.2.1:1" {
		t.Errorf("alice's first session: %v", first)
	}
	if nobody.State != simpv1.State_STATE_DEAF || nobody.Since != nil || nobody.Index != 0 || len(nobody.Session) != 0 {
		t.Errorf("nobody: %v", nobody)
	}
}

func TestGetAndListWhileCutOff(t *testing.T) {
	s := newSite(t)
	for _, c := range []struct {
		since time.Duration
		fresh bool
		want  codes.Code
	}{
		{0, true, codes.OK}, {0, false, codes.OK},
		{time.Millisecond, true, codes.Unavailable}, {2999 * time.Millisecond, false, codes.OK},
		{3 * time.Second, false, codes.Unavailable},
	} {
		s.directory.cut(c.since)
		_, err := s.presence.Get(t.Context(), &simpv1.GetRequest{Ima: []string{"a@example.com"}, Fresh: c.fresh})
		if status.Code(err) != c.want {
			t.Errorf("Get, out of touch for %s, fresh %v: %v, want %v", c.since, c.fresh, err, c.want)
		}
		_, err = s.presence.List(t.Context(), &simpv1.ListRequest{Fresh: c.fresh})
		if status.Code(err) != c.want {
			t.Errorf("List, out of touch for %s, fresh %v: %v, want %v", c.since, c.fresh, err, c.want)
		}
	}
	s.directory.cut(0)
	s.directory.confirm = errors.New("no leader")
	_, err := s.presence.Get(t.Context(), &simpv1.GetRequest{Ima: []string{"a@example.com"}, Fresh: true})
	wantCode(t, err, codes.Unavailable, "")
}

func TestListFiltersAndPages(t *testing.T) {
	s := newSite(t)
	for i := range 7 {
		s.listen(fmt.Sprintf("u%d@example.com", i), available, "")
	}
	s.listen("b@example.org", busy, "")
	list := func(r *simpv1.ListRequest) (all []string) {
		t.Helper()
		for {
			resp, err := s.presence.List(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range resp.Presence {
				all = append(all, p.Ima)
			}
			if resp.NextPageToken == "" {
				return all
			}
			r.PageToken = resp.NextPageToken
			s.listen(fmt.Sprintf("u%d-late@example.com", len(all)), available, "")
		}
	}
	if got := list(&simpv1.ListRequest{PageSize: 3}); len(got) != 8 || !slices.IsSorted(got) {
		t.Errorf("all: %q", got)
	}
	if got := list(&simpv1.ListRequest{Domain: "example.org"}); !slices.Equal(got, []string{"b@example.org"}) {
		t.Errorf("of a domain: %q", got)
	}
	if got := list(&simpv1.ListRequest{State: simpv1.State_STATE_BUSY}); !slices.Equal(got, []string{"b@example.org"}) {
		t.Errorf("who is busy: %q", got)
	}
	if got := list(&simpv1.ListRequest{Node: "n2"}); got != nil {
		t.Errorf("of another node: %q", got)
	}
}

func TestPresenceErrorsNameTheField(t *testing.T) {
	s, ctx := newSite(t), t.Context()
	many := make([]string, 1001)
	for i := range many {
		many[i] = fmt.Sprintf("u%d@example.com", i)
	}
	for field, r := range map[string]*simpv1.GetRequest{
		"ima":    {},
		"ima[1]": {Ima: []string{"a@example.com", "b@elsewhere.example"}},
		"ima[0]": {Ima: []string{"@"}},
	} {
		_, err := s.presence.Get(ctx, r)
		wantCode(t, err, codes.InvalidArgument, field)
	}
	_, err := s.presence.Get(ctx, &simpv1.GetRequest{Ima: many})
	wantCode(t, err, codes.InvalidArgument, "ima")
	for field, r := range map[string]*simpv1.ListRequest{
		"domain":     {Domain: "elsewhere.example"},
		"state":      {State: simpv1.State_STATE_DEAF},
		"page_size":  {PageSize: -1},
		"page_token": {PageToken: "x"},
	} {
		_, err := s.presence.List(ctx, r)
		wantCode(t, err, codes.InvalidArgument, field)
	}
	for field, r := range map[string]*simpv1.WatchRequest{
		"ima[0]":        {Ima: []string{"x"}},
		"domain":        {Ima: []string{"a@example.com"}, Domain: "example.com"},
		"after.history": {After: &simpv1.Position{Index: 1}},
	} {
		stream, err := s.presence.Watch(ctx, r)
		if err == nil {
			_, err = stream.Recv()
		}
		wantCode(t, err, codes.InvalidArgument, field)
	}
}
