package sasl

import (
	"context"
	"crypto/x509"

	"simpd/protocol"
)

// External authenticates a domain by the client's TLS certificate
// (SIMP.md, section 9).
type External struct {
	domains Domains
	chain   []*x509.Certificate
	domain  string
}

// NewExternal starts EXTERNAL for a client that has presented chain, whose key
// it has proved in TLS.
func NewExternal(d Domains, chain []*x509.Certificate) *External {
	return &External{domains: d, chain: chain}
}

// Identity returns the domain.
func (m *External) Identity() protocol.Client {
	return protocol.Client{Domain: m.domain, Certified: true}
}

// Step checks the certificate.
func (m *External) Step(ctx context.Context, data []byte) (answer []byte, done bool, err error) {
	if m.domain, err = m.domains.ParseIdentity(data); err != nil {
		return nil, false, err
	}
	if err := m.domains.AwaitTurn(ctx, m.domain); err != nil {
		return nil, false, err
	}
	if err := checkCertificate(m.chain, m.domains.Roots(), m.domain); err != nil {
		return nil, false, failDomain(m.domains, m.domain, "the certificate does not prove %s: %v", m.domain, err)
	}
	return nil, true, nil
}

// checkCertificate returns nil if chain, whose key the peer has proved in
// TLS, is trusted and valid now for domain by a subject alternative name. The
// common name is ignored.
func checkCertificate(chain []*x509.Certificate, roots *x509.CertPool, domain string) error {
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{
		DNSName: domain, Roots: roots, Intermediates: between,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	})
	return err
}
