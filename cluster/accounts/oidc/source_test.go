package oidc

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	goidc "github.com/coreos/go-oidc/v3/oidc"
	"github.com/coreos/go-oidc/v3/oidc/oidctest"

	"simpd/cluster/accounts"
)

// idp is an OpenID provider in this process.
type idp struct {
	*httptest.Server
	t    *testing.T
	oidc *oidctest.Server

	mu      sync.Mutex
	down    bool
	fetches map[string]int // requests by path
	active  map[string]map[string]any
}

// newKey makes a key; the smallest that may be used are fast enough.
func newKey(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newIDP(t *testing.T, keys map[string]*rsa.PrivateKey) *idp {
	t.Helper()
	p := &idp{t: t, oidc: &oidctest.Server{}, fetches: map[string]int{}, active: map[string]map[string]any{}}
	p.setKeys(keys)
	p.Server = httptest.NewServer(http.HandlerFunc(p.serve))
	t.Cleanup(p.Close)
	p.oidc.SetIssuer(p.URL)
	return p
}

func (p *idp) setKeys(keys map[string]*rsa.PrivateKey) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.oidc.PublicKeys = nil
	for id, key := range keys {
		p.oidc.PublicKeys = append(p.oidc.PublicKeys, oidctest.PublicKey{PublicKey: key.Public(), KeyID: id, Algorithm: goidc.RS256})
	}
}

func (p *idp) serve(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fetches[r.URL.Path]++
	switch {
	case p.down:
		http.Error(w, "out of order", http.StatusInternalServerError)
	case r.URL.Path == "/introspect":
		if name, password, _ := r.BasicAuth(); name != "simpd" || password != "key" {
			http.Error(w, "who?", http.StatusUnauthorized)
			return
		}
		if r.FormValue("token") == "unreadable" {
			http.Error(w, "what?", http.StatusBadRequest)
			return
		}
		claims, ok := p.active[r.FormValue("token")]
		if !ok {
			claims = map[string]any{"active": false}
		}
		_ = json.NewEncoder(w).Encode(claims)
	default:
		p.oidc.ServeHTTP(w, r)
	}
}

func (p *idp) setDown(down bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = down
}

// keyFetches returns how often the keys were fetched.
func (p *idp) keyFetches() (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for path, times := range p.fetches {
		if strings.Contains(path, "key") || strings.Contains(path, "jwk") {
			n += times
		}
	}
	return n
}

func (p *idp) source(change func(*Config)) *Source {
	p.t.Helper()
	c := Config{Name: "corp", Issuer: p.URL, Audiences: []string{"simp", "other"}}
	if change != nil {
		change(&c)
	}
	s, err := New(c)
	if err != nil {
		p.t.Fatal(err)
	}
	return s
}

// claimsOf are those of a good token, changed.
func (p *idp) claimsOf(change map[string]any) map[string]any {
	now := time.Now()
	c := map[string]any{
		"iss": p.URL, "aud": "simp", "sub": "1", "exp": now.Add(time.Hour).Unix(), "iat": now.Unix(),
		"email": "Dora@Example.com", "email_verified": true,
	}
	maps.Copy(c, change)
	for name, v := range c {
		if v == nil {
			delete(c, name)
		}
	}
	return c
}

func (p *idp) token(key crypto.PrivateKey, id, algorithm string, change map[string]any) string {
	p.t.Helper()
	b, err := json.Marshal(p.claimsOf(change))
	if err != nil {
		p.t.Fatal(err)
	}
	return oidctest.SignIDToken(key, id, algorithm, string(b))
}

func expect(t *testing.T, s *Source, token string, want accounts.Verdict) accounts.Answer {
	t.Helper()
	a, err := s.CheckToken(context.Background(), token)
	if err != nil || a.Verdict != want {
		t.Errorf("got %v, %v, want %v", a.Verdict, err, want)
	}
	return a
}

func TestTokensOfTheProvider(t *testing.T) {
	key := newKey(t)
	p := newIDP(t, map[string]*rsa.PrivateKey{"k1": key})
	s := p.source(nil)
	a := expect(t, s, p.token(key, "k1", goidc.RS256, nil), accounts.Accepted)
	if a.User.String() != "dora@example.com" || a.Expiry == nil || a.Expiry.Reason != "token expired" || time.Until(a.Expiry.At).Round(time.Minute) != time.Hour {
		t.Errorf("got %+v", a)
	}
	expect(t, s, p.token(key, "k1", goidc.RS256, map[string]any{"aud": []string{"x", "other"}}), accounts.Accepted)
	expect(t, s, p.token(key, "k1", goidc.RS256, map[string]any{"nbf": time.Now().Add(50 * time.Second).Unix()}), accounts.Accepted)
	for name, change := range map[string]map[string]any{
		"another audience":    {"aud": "shop"},
		"no audience":         {"aud": nil},
		"ended":               {"exp": time.Now().Add(-time.Second).Unix()},
		"without an end":      {"exp": nil},
		"not yet valid":       {"nbf": time.Now().Add(2 * time.Minute).Unix()},
		"of the future":       {"iat": time.Now().Add(2 * time.Minute).Unix()},
		"not verified":        {"email_verified": false},
		"nobody has verified": {"email_verified": nil},
		"verified in words":   {"email_verified": "true"},
		"no address":          {"email": nil},
		"a bad address":       {"email": "dora"},
	} {
		t.Run(name, func(t *testing.T) { expect(t, s, p.token(key, "k1", goidc.RS256, change), accounts.Rejected) })
	}
	expect(t, s, p.token(key, "k1", goidc.RS256, map[string]any{"iss": "https://elsewhere.example"}), accounts.Unknown)
	expect(t, s, "opaque", accounts.Unknown)
	expect(t, s, "a.b.c", accounts.Unknown)
	if n := p.keyFetches(); n != 1 {
		t.Errorf("the keys were fetched %d times", n)
	}
}

// The algorithm is the operator's choice, not the token's.
func TestAlgorithmsAreAnAllowList(t *testing.T) {
	key := newKey(t)
	p := newIDP(t, map[string]*rsa.PrivateKey{"k1": key})
	s := p.source(func(c *Config) { c.Algorithms = []string{"RS256"} })
	expect(t, s, p.token(key, "k1", "PS256", nil), accounts.Rejected)
	expect(t, s, p.token([]byte("a secret that is long enough for HMAC, or so"), "k1", "HS256", nil), accounts.Rejected)
	expect(t, s, p.token(newKey(t), "k1", goidc.RS256, nil), accounts.Rejected) // somebody else's key of that name
	for _, bad := range []string{"none", "HS256", "RS1"} {
		if _, err := New(Config{Issuer: p.URL, Audiences: []string{"simp"}, Algorithms: []string{bad}}); err == nil {
			t.Errorf("%s may be configured", bad)
		}
	}
}

func TestOtherClaimsHaveToBeVerifiedToo(t *testing.T) {
	key := newKey(t)
	p := newIDP(t, map[string]*rsa.PrivateKey{"k1": key})
	upn := map[string]any{"upn": "erik@example.com", "email": nil, "email_verified": nil}
	expect(t, p.source(func(c *Config) { c.AddressClaim = "upn" }), p.token(key, "k1", goidc.RS256, upn), accounts.Rejected)
	always := p.source(func(c *Config) { c.AddressClaim, c.VerifiedClaim = "upn", Always })
	if a := expect(t, always, p.token(key, "k1", goidc.RS256, upn), accounts.Accepted); a.User.String() != "erik@example.com" {
		t.Errorf("got %v", a.User)
	}
}

// A burst of logins fetches the keys once.
func TestBurstFetchesKeysOnce(t *testing.T) {
	key := newKey(t)
	p := newIDP(t, map[string]*rsa.PrivateKey{"k1": key})
	s, token := p.source(nil), p.token(key, "k1", goidc.RS256, nil)
	var wg sync.WaitGroup
	var refused atomic.Int32
	for range 100 {
		wg.Go(func() {
			if a, err := s.CheckToken(context.Background(), token); err != nil || a.Verdict != accounts.Accepted {
				refused.Add(1)
			}
		})
	}
	wg.Wait()
	if n := p.keyFetches(); n != 1 || refused.Load() > 0 {
		t.Errorf("%d fetches, %d refused", n, refused.Load())
	}
}

// pass has a source believe that time has passed since its keys were fetched.
func pass(s *Source, d time.Duration) {
	s.keys.mu.Lock()
	defer s.keys.mu.Unlock()
	s.keys.tried, s.keys.fetched = s.keys.tried.Add(-d), s.keys.fetched.Add(-d)
}

// Unknown keys cause one fetch in ten seconds. Until the next, nothing is known
// of their tokens, which are not called invalid.
func TestKeyRotation(t *testing.T) {
	old, fresh := newKey(t), newKey(t)
	p := newIDP(t, map[string]*rsa.PrivateKey{"k1": old})
	s := p.source(nil)
	expect(t, s, p.token(old, "k1", goidc.RS256, nil), accounts.Accepted)
	p.setKeys(map[string]*rsa.PrivateKey{"k1": old, "k2": fresh})
	rotated := p.token(fresh, "k2", goidc.RS256, nil)
	for range 5 {
		_, err := s.CheckToken(context.Background(), rotated)
		if e, ok := errors.AsType[*accounts.UnavailableError](err); !ok || e.Retry <= 0 || e.Retry > refreshInterval {
			t.Errorf("got %v", err)
		}
	}
	if n := p.keyFetches(); n != 1 {
		t.Errorf("%d fetches", n)
	}
	pass(s, refreshInterval)
	expect(t, s, rotated, accounts.Accepted)
	expect(t, s, p.token(old, "k1", goidc.RS256, nil), accounts.Accepted)
	pass(s, refreshInterval)
	expect(t, s, p.token(newKey(t), "k3", goidc.RS256, nil), accounts.Rejected) // the provider has just said so
}

func TestProviderThatIsDown(t *testing.T) {
	key := newKey(t)
	p := newIDP(t, map[string]*rsa.PrivateKey{"k1": key})
	s, token := p.source(nil), p.token(key, "k1", goidc.RS256, nil)
	p.setDown(true)
	if a, err := s.CheckToken(context.Background(), token); err == nil {
		t.Errorf("got %v", a.Verdict)
	}
	p.setDown(false)
	up := p.source(nil)
	expect(t, up, token, accounts.Accepted)
	p.setDown(true)
	expect(t, up, token, accounts.Accepted) // by the keys that it has
}

// A key that the provider has withdrawn is not accepted, however long no token has
// come. If the provider is down, the old keys are.
func TestWithdrawnKeysAfterALongTime(t *testing.T) {
	old, fresh := newKey(t), newKey(t)
	p := newIDP(t, map[string]*rsa.PrivateKey{"k1": old})
	s := p.source(nil)
	check := func(what string, key *rsa.PrivateKey, id string, want accounts.Verdict) {
		t.Helper()
		if a, err := s.CheckToken(t.Context(), p.token(key, id, goidc.RS256, nil)); err != nil || a.Verdict != want {
			t.Errorf("%s: %v, %v", what, a.Verdict, err)
		}
	}
	check("at first", old, "k1", accounts.Accepted)
	p.setKeys(map[string]*rsa.PrivateKey{"k2": fresh})
	pass(s, 24*time.Hour)
	check("a withdrawn key", old, "k1", accounts.Rejected)
	check("the new key", fresh, "k2", accounts.Accepted)
	p.setDown(true)
	pass(s, 24*time.Hour)
	check("the provider is down", fresh, "k2", accounts.Accepted)
	s.keys.mu.Lock()
	s.keys.adoptLocked(s.keys.keys, time.Now()) // from another node
	err := s.keys.err
	s.keys.mu.Unlock()
	if err != nil {
		t.Errorf("after another node has sent keys: %v", err)
	}
}

func TestIntrospection(t *testing.T) {
	p := newIDP(t, nil)
	p.active["opaque"] = p.claimsOf(map[string]any{"active": true})
	p.active["shop"] = p.claimsOf(map[string]any{"active": true, "aud": "shop"})
	p.active["foreign"] = p.claimsOf(map[string]any{"active": true, "iss": "https://elsewhere.example"})
	s := p.source(func(c *Config) {
		c.Introspection, c.IntrospectionID, c.IntrospectionKey = p.URL+"/introspect", "simpd", "key"
	})
	if a := expect(t, s, "opaque", accounts.Accepted); a.User.String() != "dora@example.com" || a.Expiry == nil {
		t.Errorf("got %+v", a)
	}
	for _, token := range []string{"shop", "foreign", "made-up"} {
		expect(t, s, token, accounts.Rejected)
	}
	// A token that the provider does not read is no failure of the provider, of
	// which others would have to wait for the end.
	expect(t, s, "unreadable", accounts.Rejected)
	expect(t, s, "opaque", accounts.Accepted)
	p.setDown(true)
	if a, err := s.CheckToken(context.Background(), "opaque"); err == nil {
		t.Errorf("got %v", a.Verdict)
	}
}

// A source that may see tokens of others leaves those that its provider does not
// vouch for to the next one.
func TestIntrospectionOfTokensOfOthers(t *testing.T) {
	p := newIDP(t, nil)
	p.active["opaque"] = p.claimsOf(map[string]any{"active": true})
	p.active["shop"] = p.claimsOf(map[string]any{"active": true, "aud": "shop"})
	p.active["foreign"] = p.claimsOf(map[string]any{"active": true, "iss": "https://elsewhere.example"})
	s := p.source(func(c *Config) {
		c.Introspection, c.IntrospectionID, c.IntrospectionKey, c.IntrospectAll = p.URL+"/introspect", "simpd", "key", true
	})
	for token, want := range map[string]accounts.Verdict{
		"opaque": accounts.Accepted, "shop": accounts.Rejected, "foreign": accounts.Unknown, "made-up": accounts.Unknown, "unreadable": accounts.Unknown,
	} {
		expect(t, s, token, want)
	}
	if opaque, foreign := s.Introspects(); !opaque || !foreign {
		t.Errorf("%v, %v", opaque, foreign)
	}
}

// A provider that is given little time has not failed.
func TestHastyTokenIsNoFailure(t *testing.T) {
	p := newIDP(t, nil)
	s := p.source(func(c *Config) {
		c.Introspection, c.IntrospectionID, c.IntrospectionKey = p.URL+"/introspect", "simpd", "key"
	})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if a, err := s.CheckToken(ctx, "opaque"); err == nil || s.Servers()[p.URL] {
		t.Errorf("%v, %v; the provider fails: %v", a.Verdict, err, s.Servers()[p.URL])
	}
}

func TestConfigIsChecked(t *testing.T) {
	for _, bad := range []string{"", "login.example.com", "http://login.example.com", "https://u@login.example.com", "https://a/#x"} {
		if _, err := New(Config{Issuer: bad, Audiences: []string{"simp"}}); err == nil {
			t.Errorf("%q may be configured", bad)
		}
	}
	if _, err := New(Config{Issuer: "https://login.example.com"}); err == nil {
		t.Error("no audience is needed")
	}
}
