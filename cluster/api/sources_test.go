package api_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	"simpd/cluster/accounts"
	"simpd/cluster/api"
	storev1 "simpd/proto/simp/store/v1"
	simpv1 "simpd/proto/simp/v1"
	"simpd/protocol"
	"simpd/store"
)

// explainer is a source whose users are named; without any it can't be asked.
type explainer map[string]accounts.Verdict

func (explainer) Type() string { return "test" }
func (explainer) Close()       {}

func (explainer) CheckPassword(context.Context, protocol.PasswordLogin) (accounts.Answer, error) {
	return accounts.Answer{}, errors.New("a password was asked for")
}

func (e explainer) Explain(_ context.Context, user protocol.Address) ([]accounts.Step, accounts.Verdict, error) {
	if e == nil {
		return []accounts.Step{{Text: "connection refused"}}, accounts.Unknown, errors.New("connection refused")
	}
	return []accounts.Step{{Text: "looked for " + user.String(), OK: true}}, e[user.Local()], nil
}

func TestCheckSources(t *testing.T) {
	registry := accounts.New([]string{"example.com", "example.org"}, slog.New(slog.DiscardHandler))
	registry.Replace(accounts.Set{
		Sources: map[string]accounts.Source{"corp": explainer{"dora": accounts.Accepted, "erik": accounts.Rejected}, "down": explainer(nil)},
		Domains: map[string][]string{"example.com": {"corp", accounts.Table}, "example.org": {accounts.Table, "down"}},
	})
	s := newSite(t, func(c *api.Config) { c.Sources = registry })
	s.propose(&storev1.Change{Kind: &storev1.Change_SetSchema{SetSchema: &storev1.SetSchema{Schema: store.NewestSchema}}})
	s.account("alice@example.com")
	s.account("off@example.com")
	for user, source := range map[string]string{"finn@example.com": "corp", "gone@example.com": "old"} {
		s.ownedAccount(user, source)
	}
	if _, err := s.accounts.Disable(t.Context(), &simpv1.DisableAccountRequest{Ima: "off@example.com"}); err != nil {
		t.Fatal(err)
	}
	for user, want := range map[string]struct {
		accepted bool
		summary  string
		verdicts string // of the sources, in their order
	}{
		"dora@example.com":  {true, "dora@example.com can log in with the password of corp", "ACCEPTED UNSPECIFIED"},
		"erik@example.com":  {false, "corp knows the user and does not admit it", "REJECTED UNSPECIFIED"},
		"Alice@example.com": {true, "alice@example.com can log in with the password of table", "UNKNOWN ACCEPTED"},
		"eve@example.com":   {false, "no source knows the user", "UNKNOWN UNKNOWN"},
		"finn@example.com":  {false, "no source knows the user", "UNKNOWN UNSPECIFIED"},
		"gone@example.com":  {false, "belongs to the source old, which the domain does not have", "UNSPECIFIED UNSPECIFIED"},
		"off@example.com":   {false, "an operator has disabled the account", "UNKNOWN REJECTED"},
		"eve@example.org":   {false, "down can't be asked", "UNKNOWN UNSPECIFIED"},
	} {
		resp, err := s.accounts.CheckSources(t.Context(), &simpv1.CheckSourcesRequest{Ima: user})
		if err != nil {
			t.Errorf("%s: %v", user, err)
			continue
		}
		var verdicts []string
		for _, c := range resp.Source {
			verdicts = append(verdicts, strings.TrimPrefix(c.Verdict.String(), "SOURCE_VERDICT_"))
		}
		if resp.Accepted != want.accepted || !strings.Contains(resp.Summary, want.summary) || strings.Join(verdicts, " ") != want.verdicts {
			t.Errorf("%s: %v", user, resp)
		}
	}
	if _, err := s.accounts.CheckSources(t.Context(), &simpv1.CheckSourcesRequest{Ima: "x@elsewhere.example"}); err == nil {
		t.Error("a user of another site is explained")
	}
	_, err := s.accounts.SetPassword(t.Context(), &simpv1.SetPasswordRequest{Ima: "finn@example.com", Credential: someCredential()})
	wantReason(t, err, codes.FailedPrecondition, "REFUSED")
}
