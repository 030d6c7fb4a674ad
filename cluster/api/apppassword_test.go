package api_test

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	storev1 "simpd/proto/simp/store/v1"
	simpv1 "simpd/proto/simp/v1"
)

func TestAppPasswordsAreListedAndRemoved(t *testing.T) {
	s := newSite(t)
	phone := s.appAccount("bob@example.com")
	tablet := s.appPassword("bob@example.com", "tablet", 1_900_000_000_000)
	s.propose(&storev1.Change{Kind: &storev1.Change_MarkAppPasswordUsed{MarkAppPasswordUsed: &storev1.MarkAppPasswordUsed{
		Address: "bob@example.com", Id: phone, Day: 20833,
	}}})
	list := func() []*simpv1.AppPassword {
		t.Helper()
		resp, err := s.accounts.ListAppPasswords(t.Context(), &simpv1.ListAppPasswordsRequest{Ima: "Bob@example.com"})
		if err != nil {
			t.Fatal(err)
		}
		return resp.AppPassword
	}
	all := list()
	if len(all) != 2 || all[0].Id != phone || all[0].Name != "phone" || all[0].Until != nil ||
		!all[0].Used.AsTime().Equal(time.Date(2027, 1, 15, 0, 0, 0, 0, time.UTC)) || all[1].Used != nil || all[1].Until.GetSeconds() != 1_900_000_000 {
		t.Errorf("listed: %v", all)
	}
	if _, err := s.accounts.RemoveAppPassword(t.Context(), &simpv1.RemoveAppPasswordRequest{Ima: "bob@example.com", Id: phone}); err != nil {
		t.Fatal(err)
	}
	if all := list(); len(all) != 1 || all[0].Id != tablet {
		t.Errorf("left: %v", all)
	}
	for reason, call := range map[string]func(context.Context) error{
		"NO_APP_PASSWORD": func(ctx context.Context) error {
			_, err := s.accounts.RemoveAppPassword(ctx, &simpv1.RemoveAppPasswordRequest{Ima: "bob@example.com", Id: phone})
			return err
		},
		"NO_ACCOUNT": func(ctx context.Context) error {
			_, err := s.accounts.RemoveAppPassword(ctx, &simpv1.RemoveAppPasswordRequest{Ima: "nobody@example.com", Id: phone})
			return err
		},
	} {
		wantReason(t, call(t.Context()), codes.NotFound, reason)
	}
	_, err := s.accounts.ListAppPasswords(t.Context(), &simpv1.ListAppPasswordsRequest{Ima: "nobody@example.com"})
	wantReason(t, err, codes.NotFound, "NO_ACCOUNT")
	_, err = s.accounts.ListAppPasswords(t.Context(), &simpv1.ListAppPasswordsRequest{Ima: "bob"})
	wantCode(t, err, codes.InvalidArgument, "ima")
}

// A password that an operator sets has a salt of its own, and so it ends the
// app passwords.
func TestSetPasswordRemovesAppPasswords(t *testing.T) {
	s := newSite(t)
	s.appAccount("bob@example.com")
	if _, err := s.accounts.SetPassword(t.Context(), &simpv1.SetPasswordRequest{Ima: "bob@example.com", Credential: password("new")}); err != nil {
		t.Fatal(err)
	}
	if bob, _ := s.table.Account(address("bob@example.com")); len(bob.AppPasswords()) > 0 {
		t.Errorf("left: %+v", bob.AppPasswords())
	}
}
