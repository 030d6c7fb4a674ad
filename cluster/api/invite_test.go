package api_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"

	"simpd/cluster/api"
	storev1 "simpd/proto/simp/store/v1"
	simpv1 "simpd/proto/simp/v1"
	"simpd/protocol"
	"simpd/store"
)

// goOn raises the site to the newest schema.
func (s *testSite) goOn() {
	s.t.Helper()
	s.propose(&storev1.Change{Kind: &storev1.Change_SetSchema{SetSchema: &storev1.SetSchema{Schema: store.NewestSchema}}})
}

func TestAnInvitationsLife(t *testing.T) {
	var log bytes.Buffer
	s := newSite(t, func(c *api.Config) {
		c.WebAddress = "https://chat.example.com/"
		c.Logger = slog.New(slog.NewTextHandler(&log, nil))
	})
	s.goOn()
	first, err := s.invites.Create(t.Context(), &simpv1.CreateInvitationRequest{})
	if err != nil {
		t.Fatal(err)
	}
	i := first.Invitation
	if i.Domain != "example.com" || i.Uses != 1 || i.Until.AsTime().Sub(i.Created.AsTime()).Round(time.Minute) != 7*24*time.Hour ||
		first.Link != "https://chat.example.com/#join="+first.Code || len(first.Code) < 34 || i.Id == 0 {
		t.Errorf("made %v", first)
	}
	kept := s.table.Invitation(protocol.HashInvitationCode(strings.ToUpper(first.Code)))
	if kept == nil || kept.ID != i.Id {
		t.Fatalf("the table has %+v", s.table.View().Invitations())
	}
	second, err := s.invites.Create(t.Context(), &simpv1.CreateInvitationRequest{
		Domain: "Example.ORG", Uses: 30, Expires: durationpb.New(time.Hour), Contact: "Bob@example.com",
	})
	if err != nil || second.Invitation.Domain != "example.org" || second.Invitation.Contact != "bob@example.com" || second.Code == first.Code {
		t.Fatalf("made %v, %v", second, err)
	}
	list := func(r *simpv1.ListInvitationsRequest) []*simpv1.Invitation {
		t.Helper()
		resp, err := s.invites.List(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		return resp.Invitation
	}
	if all := list(&simpv1.ListInvitationsRequest{}); len(all) != 2 || all[0].Id != i.Id || all[1].Uses != 30 || all[1].By == "" {
		t.Errorf("listed %v", all)
	}
	if all := list(&simpv1.ListInvitationsRequest{Domain: "example.org"}); len(all) != 1 || all[0].Id != second.Invitation.Id {
		t.Errorf("listed %v", all)
	}
	if _, err := s.invites.Remove(t.Context(), &simpv1.RemoveInvitationRequest{Id: i.Id}); err != nil {
		t.Fatal(err)
	}
	if all := list(&simpv1.ListInvitationsRequest{}); len(all) != 1 || all[0].Id != second.Invitation.Id {
		t.Errorf("left %v", all)
	}
	_, err = s.invites.Remove(t.Context(), &simpv1.RemoveInvitationRequest{Id: i.Id})
	wantReason(t, err, codes.NotFound, "NO_INVITATION")
	for _, part := range []string{"InviteService/Create", fmt.Sprintf("invitation %d for example.com, 1 uses", i.Id), "InviteService/Remove", fmt.Sprintf("\"invitation %d\"", i.Id)} {
		if !strings.Contains(log.String(), part) {
			t.Errorf("%q is not in the audit log:\n%s", part, log.String())
		}
	}
	if strings.Contains(log.String(), first.Code) {
		t.Error("a code is in the log")
	}
}

func TestInvitationErrorsNameTheField(t *testing.T) {
	s := newSite(t)
	s.goOn()
	for field, r := range map[string]*simpv1.CreateInvitationRequest{
		"domain":  {Domain: "elsewhere.example"},
		"uses":    {Uses: 10_001},
		"expires": {Expires: durationpb.New(time.Second)},
		"contact": {Contact: "bob"},
	} {
		_, err := s.invites.Create(t.Context(), r)
		wantCode(t, err, codes.InvalidArgument, field)
	}
	_, err := s.invites.Create(t.Context(), &simpv1.CreateInvitationRequest{Expires: durationpb.New(367 * 24 * time.Hour)})
	wantCode(t, err, codes.InvalidArgument, "expires")
	_, err = s.invites.List(t.Context(), &simpv1.ListInvitationsRequest{PageToken: "x"})
	wantCode(t, err, codes.InvalidArgument, "page_token")
	if n := len(s.table.View().Invitations()); n > 0 {
		t.Errorf("%d invitations were made", n)
	}
}

// Pages show each invitation once; those that have ended are not shown.
func TestInvitationsAreListedByPages(t *testing.T) {
	s := newSite(t)
	s.goOn()
	s.invitation(func(add *storev1.AddInvitation) { add.UntilMs = time.Now().Add(-time.Hour).UnixMilli() })
	var want []uint64
	for n := range 5 {
		want = append(want, s.invitation(func(add *storev1.AddInvitation) {
			add.CodeHash = protocol.HashInvitationCode(fmt.Sprint("code", n))
		}))
	}
	var got []uint64
	r := &simpv1.ListInvitationsRequest{PageSize: 2}
	for {
		resp, err := s.invites.List(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range resp.Invitation {
			got = append(got, i.Id)
		}
		if r.PageToken = resp.NextPageToken; r.PageToken == "" {
			break
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("listed %v, want %v", got, want)
	}
}

// Before all nodes know invitations there are none, and nothing is proposed.
func TestNoInvitationsBeforeTheirSchema(t *testing.T) {
	s := newSite(t)
	s.directory.err = errors.New("a proposal")
	_, err := s.invites.Create(t.Context(), &simpv1.CreateInvitationRequest{})
	wantReason(t, err, codes.Unavailable, "UNAVAILABLE")
	_, err = s.invites.Remove(t.Context(), &simpv1.RemoveInvitationRequest{Id: 1})
	wantReason(t, err, codes.NotFound, "NO_INVITATION")
}

// A backup holds the invitations.
func TestBackupHoldsInvitations(t *testing.T) {
	s, other := newSite(t), newSite(t)
	s.appAccount("alice@example.com")
	id := s.invitation(nil)
	other.goOn()
	resp, err := restore(t, other, fetch(t, s))
	if err != nil || resp.Invitations != 1 {
		t.Fatalf("restored %v, %v", resp, err)
	}
	if left := other.table.View().Invitations(); len(left) != 1 || left[0].ID != id {
		t.Errorf("%+v", left)
	}
}
