package server

import (
	"context"
	"crypto/x509"

	"simpd/protocol"
)

// externalMechanism authenticates a domain by the client's TLS certificate
// (SIMP.md, section 9).
type externalMechanism struct {
	s      *session
	domain string
}

func (m *externalMechanism) identity() protocol.Client {
	return protocol.Client{Domain: m.domain, Certified: true}
}

func (m *externalMechanism) step(ctx context.Context, data []byte) (answer []byte, done bool, err error) {
	if m.domain, err = m.s.parseDomainIdentity(data); err != nil {
		return nil, false, err
	}
	if err := m.s.awaitDomainTurn(ctx, m.domain); err != nil {
		return nil, false, err
	}
	if err := checkCertificate(m.s.tls().PeerCertificates, m.s.server.config.Federation.Roots(), m.domain); err != nil {
		return nil, false, m.s.domainAuthFailure(m.domain, "the certificate does not prove %s: %v", m.domain, err)
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
