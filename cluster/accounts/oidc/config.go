// Package oidc is the account source for OpenID providers and other
// authorization servers of OAuth 2. It checks access tokens that are JSON Web
// Tokens with the provider's keys, and asks the provider about others.
package oidc

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"time"

	"simpd/cluster/accounts"
)

// Config configures a Source.
type Config struct {
	Name   string // of the source
	Issuer string // the provider's identifier, a URL (ParseURL)
	// Audiences are the values of the claim aud that are accepted; at least one.
	Audiences []string
	// Algorithms are the algorithms of signatures that are accepted; empty:
	// DefaultAlgorithms.
	Algorithms []string
	// AddressClaim is the claim that holds the user's address; empty: email.
	AddressClaim string
	// VerifiedClaim is the claim that has to be true, so that the address counts
	// as verified; empty: email_verified. With Always, the provider vouches for
	// each address.
	VerifiedClaim string

	// ClientID and Scope are what programs for people get tokens with, and are
	// told; they may be empty.
	ClientID, Scope string

	// Introspection is where the provider is asked about tokens that are not JSON
	// Web Tokens (RFC 7662), with this name and password; empty: they are
	// rejected.
	Introspection                     string
	IntrospectionID, IntrospectionKey string
	// IntrospectAll has the provider be shown tokens that another provider may
	// have issued. Those that it does not know are left to the next source.
	IntrospectAll bool

	// AskSite asks the node that fetches keys for the site for those of the
	// source's provider. With ErrNotShared, or if it is nil, they are fetched here.
	AskSite func(ctx context.Context, source string, known accounts.SharedKeys) (accounts.SharedKeys, error)

	// Roots are the authorities of the provider; nil: those of the system.
	Roots  *x509.CertPool
	Logger *slog.Logger
}

// Always is the VerifiedClaim of providers that vouch for each address.
const Always = "always"

// DefaultAlgorithms are the algorithms that are accepted if none are named. All
// of them need the provider's private key.
var DefaultAlgorithms = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}

// ParseAlgorithm checks the name of an algorithm. Those with a shared key, and
// none, are refused.
func ParseAlgorithm(s string) error {
	if !slices.Contains(DefaultAlgorithms, s) {
		return fmt.Errorf("invalid algorithm %q: must be one of %v", s, DefaultAlgorithms)
	}
	return nil
}

// ParseURL checks an address of the provider: https, or http on loopback.
func ParseURL(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Hostname() == "" || u.User != nil || u.Fragment != "" {
		return fmt.Errorf("invalid URL %q: must be like https://login.example.com", s)
	}
	ip, err := netip.ParseAddr(u.Hostname())
	isLoopback := u.Hostname() == "localhost" || err == nil && ip.IsLoopback()
	if u.Scheme != "https" && !(u.Scheme == "http" && isLoopback) {
		return fmt.Errorf("invalid URL %q: must begin with https://; http:// is for loopback only", s)
	}
	return nil
}

const (
	requestTimeout = 2500 * time.Millisecond // of a request to the provider
	maxResponse    = 1 << 20                 // octets
)

// newHTTPClient returns a client that follows no redirects: each address of the
// provider is configured, or named by it.
func newHTTPClient(roots *x509.CertPool) *http.Client {
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
		TLSHandshakeTimeout: requestTimeout, ResponseHeaderTimeout: requestTimeout, MaxIdleConnsPerHost: 8, IdleConnTimeout: time.Minute,
	}
	return &http.Client{
		Transport: transport, Timeout: requestTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
