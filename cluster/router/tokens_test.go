package router

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"simpd/cluster/accounts"
	"simpd/protocol"
)

// tokenSource has tokens that are token-of-NAME, and end in an hour.
type tokenSource struct{}

func (tokenSource) Type() string                     { return "fake" }
func (tokenSource) Close()                           {}
func (tokenSource) Provider() protocol.TokenProvider { return protocol.TokenProvider{} }

func (tokenSource) CheckToken(_ context.Context, token string) (accounts.Answer, error) {
	name, ok := strings.CutPrefix(token, "token-of-")
	switch {
	case token == "later":
		return accounts.Answer{}, errors.New("down")
	case !ok:
		return accounts.Answer{Verdict: accounts.Rejected}, nil
	}
	return accounts.Answer{
		Verdict: accounts.Accepted, User: addr(name + "@example.com"),
		Expiry: &protocol.Expiry{At: time.Now().Add(time.Hour), Reason: "token expired"},
	}, nil
}

// newTokenSite starts a site whose domain has these sources: idp, and the table.
func newTokenSite(t *testing.T, order ...string) *site {
	s := newSite(t, "n1")
	r := accounts.New([]string{"example.com"}, slog.New(slog.DiscardHandler))
	r.Replace(accounts.Set{Sources: map[string]accounts.Source{"idp": tokenSource{}}, Domains: map[string][]string{"example.com": order}})
	s.nodes["n1"].config.Sources = r
	return s
}

// present logs in with a token, and returns the status.
func (s *site) present(token string) (protocol.VerifiedLogin, protocol.Status) {
	v, err := s.nodes["n1"].AskToken(s.t.Context(), protocol.TokenLogin{Token: token})
	var refused *protocol.Error
	if errors.As(err, &refused) {
		return v, refused.Status
	}
	return v, protocol.StatusOK
}

// No invitation creates an account that could never log in.
func TestNoInvitationsWithoutTheTable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for want, order := range map[protocol.Status][]string{protocol.StatusForbidden: {"idp"}, protocol.StatusOK: {"idp", accounts.Table}} {
			s := newTokenSite(t, order...)
			s.raiseSchema()
			s.invite("code", nil)
			if got := s.nodes["n1"].join("code", "dave@example.com"); got != want {
				t.Errorf("%v: %d, want %d", order, got, want)
			}
		}
	})
}

// The first login by token registers the account, and the session ends with the
// token.
func TestTokenLogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTokenSite(t, accounts.Table, "idp")
		if _, status := s.present("token-of-dora"); status != protocol.StatusUnavailable {
			t.Errorf("before the schema: %d", status)
		}
		s.raiseSchema()
		v, status := s.present("token-of-dora")
		if status != protocol.StatusOK || v.User != addr("dora@example.com") {
			t.Fatalf("got %+v, %d", v, status)
		}
		if a, known := s.nodes["n1"].config.Table.Account(v.User); !known || a.Source() != "idp" {
			t.Errorf("registered: %t, %+v", known, a)
		}
		c := s.enter("dora", "n1", v)
		time.Sleep(2 * time.Hour) // of the bubble's clock
		if got := c.heard(); !slices.Contains(got, "bye 401") {
			t.Errorf("after the token's end it heard %v", got)
		}
		for token, want := range map[string]protocol.Status{
			"x": protocol.StatusUnauthorized, "later": protocol.StatusUnavailable,
			"token-of-alice": protocol.StatusUnauthorized, // whom the table has, which comes first
		} {
			if _, status := s.present(token); status != want {
				t.Errorf("%s: %d, want %d", token, status, want)
			}
		}
	})
}
