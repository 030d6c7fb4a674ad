package server

import (
	"crypto/tls"
	"errors"
	"fmt"
	"sync/atomic"
)

// Certificates are the site's certificates, as their files were when they
// were last loaded. One is chosen by the name that a client asks for; the
// first where none fits.
type Certificates struct {
	pairs  []CertificateFiles
	loaded atomic.Pointer[[]tls.Certificate]
}

// CertificateFiles name a certificate's chain and its key, both PEM.
type CertificateFiles struct{ Cert, Key string }

// LoadCertificates reads pairs of files.
func LoadCertificates(pairs ...CertificateFiles) (*Certificates, error) {
	if len(pairs) == 0 {
		return nil, errors.New("no certificate is named")
	}
	c := &Certificates{pairs: pairs}
	return c, c.Reload()
}

// NewCertificates holds certificates that come from no files.
func NewCertificates(all ...tls.Certificate) *Certificates {
	c := &Certificates{}
	c.loaded.Store(&all)
	return c
}

// Reload reads the files again. After an error the certificates stay as they
// are. Connections that are open keep theirs. Any goroutine may call it.
func (c *Certificates) Reload() error {
	if len(c.pairs) == 0 {
		return nil
	}
	var all []tls.Certificate
	for _, p := range c.pairs {
		cert, err := tls.LoadX509KeyPair(p.Cert, p.Key)
		if err != nil {
			return fmt.Errorf("certificate %s with key %s: %w", p.Cert, p.Key, err)
		}
		all = append(all, cert)
	}
	c.loaded.Store(&all)
	return nil
}

func (c *Certificates) choose(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	all := *c.loaded.Load()
	for i := range all {
		if hello.SupportsCertificate(&all[i]) == nil {
			return &all[i], nil
		}
	}
	if len(all) == 0 {
		return nil, errors.New("there is no certificate")
	}
	return &all[0], nil
}

// TLSConfig is how TLS is spoken with clients: with forward secrecy and AEAD
// only, without session tickets, under the ALPN name simp or none.
func (c *Certificates) TLSConfig() *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS12,
		CipherSuites:           suites(),
		NextProtos:             []string{"simp"},
		SessionTicketsDisabled: true,
		GetCertificate:         c.choose,
	}
}

// suites are those of TLS 1.2; TLS 1.3 has only good ones.
func suites() []uint16 {
	return []uint16{
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
		tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
		tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
		tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
	}
}
