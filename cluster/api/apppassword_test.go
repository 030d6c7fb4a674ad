package api_test

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	storev1 "simpd/proto/simp/store/v1"
	simpv1 "simpd/proto/simp/v1"
	"simpd/store"
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

// A password that an operator sets ends the app passwords.
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

// An operator's verifier with the salt that the account has, as simpctl makes
// it for an import, ends the app passwords if it is of another password.
func TestVerifiersOfTheSameSaltRemoveAppPasswords(t *testing.T) {
	for by, set := range map[string]func(s *testSite, c *simpv1.Credential) error{
		"SetPassword": func(s *testSite, c *simpv1.Credential) error {
			_, err := s.accounts.SetPassword(t.Context(), &simpv1.SetPasswordRequest{Ima: "bob@example.com", Credential: c})
			return err
		},
		"Import": func(s *testSite, c *simpv1.Credential) error {
			stream, err := s.accounts.Import(t.Context())
			if err != nil {
				return err
			}
			_ = stream.Send(&simpv1.ImportAccountsRequest{Account: []*simpv1.ImportedAccount{{Ima: "bob@example.com", Credential: c}}})
			_, err = stream.CloseAndRecv()
			return err
		},
	} {
		s := newSite(t)
		s.appAccount("bob@example.com")
		bob, _ := s.table.Account(address("bob@example.com"))
		for _, tt := range []struct {
			credential *simpv1.Credential
			left       int
		}{{someCredential(), 1}, {otherCredential(), 0}} {
			if err := set(s, tt.credential); err != nil {
				t.Fatalf("%s: %v", by, err)
			}
			now, _ := s.table.Account(address("bob@example.com"))
			if len(now.AppPasswords()) != tt.left || !bytes.Equal(now.Verifier.Salt, bob.Verifier.Salt) {
				t.Errorf("%s: %+v", by, now)
			}
		}
	}
}

// A node whose table is behind removes an app password that it does not know
// yet.
func TestNodeThatIsBehindRemovesAppPasswords(t *testing.T) {
	s := newSite(t)
	s.appAccount("bob@example.com")
	var snapshot bytes.Buffer
	if _, err := s.table.Snapshot().WriteTo(&snapshot); err != nil {
		t.Fatal(err)
	}
	ahead := store.New(store.Config{})
	if err := ahead.Restore(&snapshot); err != nil {
		t.Fatal(err)
	}
	s.directory.table = ahead
	tablet := s.appPassword("bob@example.com", "tablet", 0)
	if _, err := s.accounts.RemoveAppPassword(t.Context(), &simpv1.RemoveAppPasswordRequest{Ima: "bob@example.com", Id: tablet}); err != nil {
		t.Fatal(err)
	}
	if bob, _ := ahead.Account(address("bob@example.com")); bob.AppPassword(tablet) != nil {
		t.Error("it is not removed")
	}
}

// Before all nodes know app passwords, there is none to remove, and nothing is
// proposed.
func TestNoAppPasswordIsRemovedBeforeTheirSchema(t *testing.T) {
	s := newSite(t)
	s.account("bob@example.com")
	s.directory.err = errors.New("a proposal")
	for user, reason := range map[string]string{"bob@example.com": "NO_APP_PASSWORD", "nobody@example.com": "NO_ACCOUNT"} {
		_, err := s.accounts.RemoveAppPassword(t.Context(), &simpv1.RemoveAppPasswordRequest{Ima: user, Id: 1})
		wantReason(t, err, codes.NotFound, reason)
	}
}
