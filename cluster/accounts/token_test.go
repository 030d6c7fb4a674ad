package accounts

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"simpd/protocol"
)

// fakeTokens is a source whose tokens are PREFIX:ADDRESS.
type fakeTokens struct {
	prefix string
	err    error
}

func (s fakeTokens) Type() string { return "fake" }
func (s fakeTokens) Close()       {}

func (s fakeTokens) CheckToken(_ context.Context, token string) (Answer, error) {
	if s.err != nil {
		return Answer{}, s.err
	}
	address, ok := strings.CutPrefix(token, s.prefix+":")
	switch {
	case !ok:
		return Answer{}, nil
	case address == "bad":
		return Answer{Verdict: Rejected}, nil
	}
	return Answer{Verdict: Accepted, User: protocol.CanonicalAddress(address)}, nil
}

func (s fakeTokens) Provider() protocol.TokenProvider {
	return protocol.TokenProvider{ClientID: s.prefix}
}

func TestCheckToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := New([]string{"a.example", "b.example", "c.example"}, slog.New(slog.DiscardHandler))
		r.Replace(Set{
			Sources: map[string]Source{"one": fakeTokens{prefix: "1"}, "two": fakeTokens{prefix: "2"}, "broken": fakeTokens{err: errors.New("down")}},
			Domains: map[string][]string{"a.example": {"one", Table, "two"}, "b.example": {"two"}, "c.example": {"broken"}},
		})
		for _, tt := range []struct {
			token, claimed string
			want           Verdict
			source         string
		}{
			{"1:u@a.example", "", Accepted, "one"},
			{"2:u@a.example", "", Accepted, "two"},
			{"2:u@b.example", "u@b.example", Accepted, "two"},
			{"1:u@b.example", "", Rejected, ""},            // of a domain that the source is not for
			{"1:u@elsewhere.example", "", Rejected, ""},    // nor the site
			{"2:u@b.example", "v@b.example", Rejected, ""}, // another's
			{"1:bad", "", Rejected, ""},
			{"3:u@a.example", "u@a.example", Rejected, ""},
		} {
			a, err := r.CheckToken(t.Context(), protocol.TokenLogin{Token: tt.token, User: protocol.CanonicalAddress(tt.claimed)})
			if err != nil || a.Verdict != tt.want || a.Source != tt.source {
				t.Errorf("%s for %q: %+v, %v", tt.token, tt.claimed, a, err)
			}
		}
		// Where a source can't be asked, nothing is known.
		if _, err := r.CheckToken(t.Context(), protocol.TokenLogin{Token: "x", User: protocol.CanonicalAddress("u@c.example")}); err == nil {
			t.Error("it is known although the source is down")
		}
		if !r.HasTable("a.example") || r.HasTable("b.example") {
			t.Error("another domain has the table")
		}
		if m := r.LoginMethods("a.example"); !m.Tokens || m.Provider.ClientID != "1" || m.Passwords != protocol.ChecksInTable {
			t.Errorf("got %+v", m)
		}
		if !r.LoginMethods("").Tokens || !r.IsTableBefore("a.example", "two") || r.IsTableBefore("a.example", "one") || r.IsTableBefore("b.example", "two") {
			t.Error("the order of the sources is another")
		}
	})
}

// Rejected tokens take the same time, whoever issued them and whatever is wrong
// with them.
func TestTokenRejectionsTakeTheSameTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shown := map[string][]string{}
		r := New([]string{"one.example", "two.example"}, slog.New(slog.DiscardHandler))
		defer r.Close()
		r.Replace(Set{
			Sources: map[string]Source{"jwt": fakeTokens{prefix: "1"}, "one": &opaqueTokens{"one", false, shown}, "two": &opaqueTokens{"two", false, shown}},
			Domains: map[string][]string{"one.example": {"jwt", "one"}, "two.example": {"two"}},
		})
		for what, l := range map[string]protocol.TokenLogin{
			"a bad token":                  {Token: "1:bad"},
			"a user of another domain":     {Token: "1:u@two.example"},
			"another user's":               {Token: "1:u@one.example", User: protocol.CanonicalAddress("v@one.example")},
			"one that is not active":       {Token: "made-up", User: protocol.CanonicalAddress("u@two.example")},
			"one that nobody is asked for": {Token: "made-up"},
			"a user of no domain":          {Token: "1:u@one.example", User: protocol.CanonicalAddress("u@else.example")},
		} {
			for _, again := range []string{"", " again"} {
				began := time.Now()
				if a, err := r.CheckToken(t.Context(), l); err != nil || a.Verdict != Rejected || time.Since(began) != rejectionStep {
					t.Errorf("%s%s: %v, %v after %v", what, again, a.Verdict, err, time.Since(began))
				}
			}
		}
	})
}

// opaqueTokens is a source that asks its provider about tokens.
type opaqueTokens struct {
	name   string
	shares bool
	shown  map[string][]string // the tokens that each provider has seen
}

func (opaqueTokens) Type() string                           { return "fake" }
func (opaqueTokens) Close()                                 {}
func (s opaqueTokens) Introspects() (opaque, foreign bool)  { return true, s.shares }
func (s opaqueTokens) Provider() (p protocol.TokenProvider) { return p }
func (s opaqueTokens) issues(token string) bool             { return strings.HasPrefix(token, s.name) }

func (s opaqueTokens) CheckToken(_ context.Context, token string) (Answer, error) {
	s.shown[s.name] = append(s.shown[s.name], token)
	switch {
	case s.issues(token):
		return Answer{Verdict: Accepted, User: protocol.CanonicalAddress("dora@" + s.name + ".example")}, nil
	case s.shares:
		return Answer{}, nil
	}
	return Answer{Verdict: Rejected}, nil
}

// An opaque token is shown to the provider of the domain that the client names.
// If it names none and there are several, nobody is asked, unless they share
// tokens.
func TestOpaqueTokensAreShownToOneProvider(t *testing.T) {
	for _, tt := range []struct {
		shares         bool
		token, claimed string
		want           Verdict
		shown          string
	}{
		{false, "one-1", "dora@one.example", Accepted, "map[one:[one-1]]"},
		{false, "two-1", "dora@two.example", Accepted, "map[two:[two-1]]"},
		{false, "two-1", "", Rejected, "map[]"},
		{true, "two-1", "", Accepted, "map[one:[two-1] two:[two-1]]"},
		{true, "one-1", "", Accepted, "map[one:[one-1]]"},
	} {
		synctest.Test(t, func(t *testing.T) {
			shown := map[string][]string{}
			r := New([]string{"one.example", "two.example"}, slog.New(slog.DiscardHandler))
			defer r.Close()
			r.Replace(Set{
				Sources: map[string]Source{"one": &opaqueTokens{"one", tt.shares, shown}, "two": &opaqueTokens{"two", tt.shares, shown}},
				Domains: map[string][]string{"one.example": {"one"}, "two.example": {"two"}},
			})
			a, err := r.CheckToken(t.Context(), protocol.TokenLogin{Token: tt.token, User: protocol.CanonicalAddress(tt.claimed)})
			if err != nil || a.Verdict != tt.want || fmt.Sprint(shown) != tt.shown {
				t.Errorf("%+v: %v, %v; shown: %v", tt, a.Verdict, err, shown)
			}
		})
	}
}
