package api_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"testing"

	"google.golang.org/grpc/codes"

	storev1 "simpd/proto/simp/store/v1"
	simpv1 "simpd/proto/simp/v1"
	"simpd/protocol/signature"
)

// addKey adds the key of a device to a user's list.
func (s *testSite) addKey(user string, seed byte) (id string) {
	public := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize)).Public().(ed25519.PublicKey)
	s.propose(&storev1.Change{Kind: &storev1.Change_AddKey{AddKey: &storev1.AddKey{Address: user, Key: public, Name: "laptop"}}})
	return signature.KeyID(public)
}

// An operator sees a user's keys and revokes one, which says so ever after. No
// call adds one.
func TestKeysAreListedAndRevoked(t *testing.T) {
	s := newSite(t)
	s.appAccount("bob@example.com") // with one key
	second := s.addKey("bob@example.com", 2)
	list := func() *simpv1.ListKeysResponse {
		t.Helper()
		resp, err := s.accounts.ListKeys(t.Context(), &simpv1.ListKeysRequest{Ima: "Bob@example.com"})
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}
	before := list()
	if len(before.Key) != 2 || before.Key[0].Name != "laptop" || before.Key[1].Revoked != nil {
		t.Errorf("listed: %v", before)
	}
	for range 2 { // once more changes nothing
		if _, err := s.accounts.RevokeKey(t.Context(), &simpv1.RevokeKeyRequest{Ima: "bob@example.com", Id: second}); err != nil {
			t.Fatal(err)
		}
	}
	after := list()
	if len(after.Key) != 2 || after.Key[1].Revoked == nil || !after.Key[1].RevokedByOperator || after.Key[0].Revoked != nil || after.Head == before.Head {
		t.Errorf("after the revocation: %v", after)
	}
	for reason, call := range map[string]func(context.Context) error{
		"NO_KEY": func(ctx context.Context) error {
			_, err := s.accounts.RevokeKey(ctx, &simpv1.RevokeKeyRequest{Ima: "bob@example.com", Id: "none"})
			return err
		},
		"NO_ACCOUNT": func(ctx context.Context) error {
			_, err := s.accounts.ListKeys(ctx, &simpv1.ListKeysRequest{Ima: "nobody@example.com"})
			return err
		},
	} {
		wantReason(t, call(t.Context()), codes.NotFound, reason)
	}
}
