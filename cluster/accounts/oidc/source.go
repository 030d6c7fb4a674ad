package oidc

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/url"
	"slices"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"

	"simpd/cluster/accounts"
	"simpd/protocol"
)

// maxSkew limits the difference between the provider's clock and this machine's.
const maxSkew = 60 * time.Second

// Source checks the tokens of one provider. Any goroutine may call its methods.
type Source struct {
	config   Config
	provider *provider
	keys     *keySet
}

var (
	_ accounts.TokenSource  = (*Source)(nil)
	_ accounts.Introspector = (*Source)(nil)
	_ accounts.Monitored    = (*Source)(nil)
)

// New returns a Source. It does not connect.
func New(c Config) (*Source, error) {
	if err := ParseURL(c.Issuer); err != nil {
		return nil, err
	}
	if len(c.Audiences) == 0 {
		return nil, errors.New("no audience is named")
	}
	if len(c.Algorithms) == 0 {
		c.Algorithms = DefaultAlgorithms
	}
	c.AddressClaim = cmp.Or(c.AddressClaim, "email")
	c.VerifiedClaim = cmp.Or(c.VerifiedClaim, "email_verified")
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	p := &provider{config: c, client: newHTTPClient(c.Roots)}
	keys := &keySet{provider: p}
	for _, name := range c.Algorithms {
		if err := ParseAlgorithm(name); err != nil {
			return nil, err
		}
		keys.algorithms = append(keys.algorithms, jose.SignatureAlgorithm(name))
	}
	return &Source{config: c, provider: p, keys: keys}, nil
}

// Type returns the word for it in the accounts file.
func (s *Source) Type() string { return "oidc" }

// Close closes the connections to the provider that are not in use.
func (s *Source) Close() { s.provider.client.CloseIdleConnections() }

// Servers returns the state of the provider.
func (s *Source) Servers() map[string]bool {
	return map[string]bool{s.config.Issuer: s.provider.breaker.IsOpen()}
}

// Provider returns what programs for people have to know to get a token.
func (s *Source) Provider() protocol.TokenProvider {
	return protocol.TokenProvider{Configuration: configurationURL(s.config.Issuer), ClientID: s.config.ClientID, Scope: s.config.Scope}
}

// Introspects reports whether opaque tokens are shown to the provider, and
// whether also those that another one may have issued.
func (s *Source) Introspects() (opaque, foreign bool) {
	return s.config.Introspection != "", s.config.IntrospectAll
}

// CheckToken reports whose token it is.
func (s *Source) CheckToken(ctx context.Context, token string) (accounts.Answer, error) {
	if accounts.IsOpaque(token) {
		return s.introspect(ctx, token)
	}
	if !s.isIssuer(token) {
		return accounts.Answer{}, nil // it may be another source's
	}
	q := &keyQuery{keys: s.keys}
	verified, err := s.verifier(q).Verify(ctx, token)
	switch {
	case q.unavailable != nil:
		return accounts.Answer{}, q.unavailable
	case err != nil:
		return s.reject(err.Error())
	}
	c := claims{}
	if err := verified.Claims(&c); err != nil {
		return s.reject("its claims can't be read: " + err.Error())
	}
	return s.checkClaims(c)
}

// isIssuer reports whether a token says that it is from this provider, which is
// not verified yet.
func (s *Source) isIssuer(token string) bool {
	signed, err := jose.ParseSignedCompact(token, allAlgorithms())
	if err != nil {
		return false
	}
	var c struct {
		Issuer string `json:"iss"`
	}
	return json.Unmarshal(signed.UnsafePayloadWithoutVerification(), &c) == nil && c.Issuer == s.config.Issuer
}

// allAlgorithms returns the algorithms of tokens that are read at all, so that a
// token of this provider with one that is not accepted is rejected, and not
// unknown.
func allAlgorithms() []jose.SignatureAlgorithm {
	all := []jose.SignatureAlgorithm{jose.HS256, jose.HS384, jose.HS512}
	for _, name := range DefaultAlgorithms {
		all = append(all, jose.SignatureAlgorithm(name))
	}
	return all
}

// verifier returns what verifies one token.
func (s *Source) verifier(q *keyQuery) *oidc.IDTokenVerifier {
	return oidc.NewVerifier(s.config.Issuer, q, &oidc.Config{
		SupportedSigningAlgs: s.config.Algorithms,
		SkipClientIDCheck:    true, // there may be several audiences: checkClaims
		SkipExpiryCheck:      true, // with another tolerance: checkClaims
	})
}

// keyQuery verifies the signature of one token, and remembers an error that is
// not the token's fault.
type keyQuery struct {
	keys        *keySet
	unavailable error
}

// VerifySignature returns the token's payload.
func (q *keyQuery) VerifySignature(ctx context.Context, token string) ([]byte, error) {
	payload, err := q.keys.VerifySignature(ctx, token)
	if err != nil && !errors.Is(err, errWrongSignature) {
		q.unavailable = err
	}
	return payload, err
}

// reject rejects a token. The reason is for the log: the client is not told.
func (s *Source) reject(why string) (accounts.Answer, error) {
	s.config.Logger.Info("a token was rejected", "source", s.config.Name, "reason", why)
	return accounts.Answer{Verdict: accounts.Rejected}, nil
}

// disown rejects an opaque token that the provider does not vouch for, or leaves
// it to the next source, whose provider may have issued it.
func (s *Source) disown(why string) (accounts.Answer, error) {
	if s.config.IntrospectAll {
		return accounts.Answer{}, nil
	}
	return s.reject(why)
}

// introspect asks the provider about a token (RFC 7662).
func (s *Source) introspect(ctx context.Context, token string) (accounts.Answer, error) {
	if s.config.Introspection == "" {
		return accounts.Answer{}, nil
	}
	c := claims{}
	form := url.Values{"token": {token}, "token_type_hint": {"access_token"}}
	if err := s.provider.post(ctx, s.config.Introspection, form, &c); isRefusal(err) {
		return s.disown("the provider does not take it: " + err.Error())
	} else if err != nil {
		return accounts.Answer{}, err
	}
	if active, _ := c["active"].(bool); !active {
		return s.disown("the provider says that it is not active")
	}
	if issuer, given := c["iss"]; given && issuer != s.config.Issuer {
		return s.disown("it is of another issuer")
	}
	return s.checkClaims(c)
}

// checkClaims checks for whom and until when a token is, and takes the user's
// address from it.
func (s *Source) checkClaims(c claims) (accounts.Answer, error) {
	now := time.Now()
	expiry, ok := c.time("exp")
	switch {
	case !ok:
		return s.reject("it has no end")
	case !now.Before(expiry):
		return s.reject("it has ended")
	case c.isAfter("nbf", now.Add(maxSkew)), c.isAfter("iat", now.Add(maxSkew)):
		return s.reject("it is not valid yet; are the clocks right?")
	case !slices.ContainsFunc(c.strings("aud"), func(a string) bool { return slices.Contains(s.config.Audiences, a) }):
		return s.reject("it is for another audience")
	}
	if s.config.VerifiedClaim != Always {
		if verified, _ := c[s.config.VerifiedClaim].(bool); !verified {
			return s.reject("the claim " + s.config.VerifiedClaim + " is not true")
		}
	}
	text, _ := c[s.config.AddressClaim].(string)
	user, err := protocol.ParseAddress(text)
	if err != nil {
		return s.reject("the claim " + s.config.AddressClaim + " holds no address")
	}
	folded, ok := user.PRECISFold()
	if !ok {
		return s.reject("the claim " + s.config.AddressClaim + " holds no address that a user can have")
	}
	return accounts.Answer{
		Verdict: accounts.Accepted, User: folded,
		Expiry: &protocol.Expiry{At: expiry, Reason: "token expired"},
	}, nil
}

// claims holds the claims of a token.
type claims map[string]any

// time returns a claim that is a time, in seconds since 1970.
func (c claims) time(name string) (time.Time, bool) {
	seconds, ok := c[name].(float64)
	if !ok || seconds <= 0 || seconds > 1<<40 {
		return time.Time{}, false
	}
	return time.Unix(int64(seconds), 0), true
}

// isAfter reports whether a claim is a time after t.
func (c claims) isAfter(name string, t time.Time) bool {
	at, ok := c.time(name)
	return ok && at.After(t)
}

// strings returns a claim that is a string or a list of strings.
func (c claims) strings(name string) (list []string) {
	switch v := c[name].(type) {
	case string:
		return []string{v}
	case []any:
		for _, one := range v {
			if s, ok := one.(string); ok {
				list = append(list, s)
			}
		}
	}
	return list
}
