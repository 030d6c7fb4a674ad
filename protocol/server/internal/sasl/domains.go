package sasl

import (
	"context"
	"crypto/x509"

	"simpd/protocol"
)

// Domains is what the mechanisms for other sites ask the server, on behalf of
// one connection. AwaitTurn and Verify block.
type Domains interface {
	// ParseIdentity returns the domain that data names, if the policy allows it
	// and not too many of its logins have failed.
	ParseIdentity(data []byte) (domain string, err error)
	// AwaitTurn waits until a proof of domain may be checked.
	AwaitTurn(ctx context.Context, domain string) error
	// CountFailure counts a failed proof of domain.
	CountFailure(domain string)
	// Roots returns the trusted authorities; nil means the system's.
	Roots() *x509.CertPool
	// RequiresCertificate reports whether DIALBACK does not suffice for domain.
	RequiresCertificate(domain string) bool
	// Verify asks domain's home server whether data is its proof for nonce. The
	// error is a *protocol.Error with status 401 if it is not.
	Verify(ctx context.Context, domain string, nonce, data []byte) error
}

// failDomain counts a failed proof of a domain, and returns the error.
func failDomain(d Domains, domain, format string, args ...any) error {
	d.CountFailure(domain)
	return protocol.Errorf(protocol.StatusUnauthorized, format, args...)
}
