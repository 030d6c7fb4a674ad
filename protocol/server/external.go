package server

import (
	"context"
	"crypto/x509"

	"simpd/protocol"
)

// external proves a domain by the certificate that the client showed in TLS
// (SIMP.md, section 9).
type external struct {
	s      *session
	domain string
}

func (m *external) proof() protocol.Client { return protocol.Client{Domain: m.domain, Certified: true} }

func (m *external) next(ctx context.Context, data []byte) (answer []byte, done bool, err error) {
	if m.domain, err = m.s.admitDomain(data); err != nil {
		return nil, false, err
	}
	if err := m.s.awaitDomainTurn(ctx, m.domain); err != nil {
		return nil, false, err
	}
	if err := checkCertificate(m.s.tls().PeerCertificates, m.s.server.config.Partners.Roots(), m.domain); err != nil {
		return nil, false, m.s.unproved(m.domain, "the certificate does not prove %s: %v", m.domain, err)
	}
	return nil, true, nil
}

// checkCertificate returns nil if chain, whose key the peer has proved in TLS,
// is trusted and valid now for domain, by a subject alternative name. The
// common name does not count.
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
