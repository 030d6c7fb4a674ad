package oidc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"simpd/cluster/accounts"
)

// provider makes the requests to the provider.
type provider struct {
	config  Config
	client  *http.Client
	breaker accounts.Breaker
}

// get reads a JSON document.
func (p *provider) get(ctx context.Context, address string, into any) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	return p.do(r, into)
}

// post sends a form and reads a JSON document.
func (p *provider) post(ctx context.Context, address string, form url.Values, into any) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(url.QueryEscape(p.config.IntrospectionID), url.QueryEscape(p.config.IntrospectionKey))
	return p.do(r, into)
}

// do makes a request unless the provider is failing. Every error means that
// nothing is known.
func (p *provider) do(r *http.Request, into any) error {
	ok, retry := p.breaker.Allow(time.Now())
	if !ok {
		return &accounts.UnavailableError{Retry: retry, Err: fmt.Errorf("%s has failed lately", r.URL.Host)}
	}
	began := time.Now()
	err := p.roundTrip(r, into)
	p.breaker.Record(r.Context(), began, accounts.FairTime, err != nil && !isRefusal(err))
	return err
}

func (p *provider) roundTrip(r *http.Request, into any) error {
	r.Header.Set("Accept", "application/json")
	resp, err := p.client.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxResponse))
	switch {
	case err != nil:
		return err
	case resp.StatusCode != http.StatusOK:
		return &statusError{resp.StatusCode, fmt.Sprintf("%s answers %s", r.URL.Redacted(), resp.Status)}
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("%s does not answer with JSON: %w", r.URL.Redacted(), err)
	}
	return nil
}

// statusError is an answer other than 200.
type statusError struct {
	code int
	text string
}

func (e *statusError) Error() string { return e.text }

// isRefusal reports whether the provider refuses what it was sent, which may be
// a token that somebody made up: it does not fail by that.
func isRefusal(err error) bool {
	e, ok := errors.AsType[*statusError](err)
	return ok && slices.Contains([]int{
		http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusRequestURITooLong,
		http.StatusUnprocessableEntity, http.StatusRequestHeaderFieldsTooLarge,
	}, e.code)
}

// configurationURL returns where the provider describes itself (OpenID Connect
// Discovery 1.0, section 4).
func configurationURL(issuer string) string {
	return strings.TrimSuffix(issuer, "/") + "/.well-known/openid-configuration"
}

// keysURL returns where the provider's keys are.
func (p *provider) keysURL(ctx context.Context) (string, error) {
	var d struct {
		Issuer string `json:"issuer"`
		Keys   string `json:"jwks_uri"`
	}
	if err := p.get(ctx, configurationURL(p.config.Issuer), &d); err != nil {
		return "", err
	}
	if d.Issuer != p.config.Issuer {
		return "", fmt.Errorf("the provider calls itself %q, not %q", d.Issuer, p.config.Issuer)
	}
	return d.Keys, ParseURL(d.Keys)
}
