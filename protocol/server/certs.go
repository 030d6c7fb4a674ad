package server

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"simpd/protocol/secretfile"
	"simpd/protocol/tlspolicy"
)

// Certificates holds the site's certificates as they were last loaded. One is
// selected by the name that a client requests, the first if none matches.
type Certificates struct {
	reloadMu            sync.Mutex
	certFiles, keyFiles []string // guarded by reloadMu; empty without files

	loaded atomic.Pointer[[]tls.Certificate]
}

// LoadCertificates loads pairs of PEM files: certs[i] is a chain, keys[i] the
// key of its first certificate, which must not be accessible to others
// (secretfile.Check).
func LoadCertificates(certs, keys []string) (*Certificates, error) {
	c := &Certificates{}
	if err := c.ReloadFrom(certs, keys); err != nil {
		return nil, err
	}
	return c, nil
}

// NewCertificates returns certificates that do not come from files.
func NewCertificates(all ...tls.Certificate) *Certificates {
	c := &Certificates{}
	c.loaded.Store(&all)
	return c
}

// Reload reads the files again. If it fails, the certificates remain as they
// were. Open connections keep theirs. Any goroutine may call it.
func (c *Certificates) Reload() error {
	c.reloadMu.Lock()
	defer c.reloadMu.Unlock()
	if len(c.certFiles) == 0 {
		return nil
	}
	return c.reload(c.certFiles, c.keyFiles)
}

// ReloadFrom reloads from other files, given as to LoadCertificates, which
// later calls of Reload read too.
func (c *Certificates) ReloadFrom(certs, keys []string) error {
	if len(certs) == 0 || len(certs) != len(keys) {
		return fmt.Errorf("%d certificates and %d keys: they go in pairs", len(certs), len(keys))
	}
	c.reloadMu.Lock()
	defer c.reloadMu.Unlock()
	return c.reload(certs, keys)
}

// reload loads the files. The caller holds c.reloadMu.
func (c *Certificates) reload(certs, keys []string) error {
	all := make([]tls.Certificate, len(certs))
	for i := range certs {
		cert, err := secretfile.LoadPair(certs[i], keys[i])
		if err != nil {
			return err
		}
		all[i] = cert
	}
	c.certFiles, c.keyFiles = certs, keys
	c.loaded.Store(&all)
	return nil
}

// Leaf is a loaded certificate. It must not be changed.
type Leaf struct {
	*x509.Certificate
	Authorities []*x509.Certificate // the rest of its chain
	File        string              // its file; empty without one
}

// Leaves returns the loaded certificates in the order of the files. Any
// goroutine may call it.
func (c *Certificates) Leaves() (all []Leaf) {
	c.reloadMu.Lock()
	defer c.reloadMu.Unlock()
	for i, cert := range *c.loaded.Load() {
		if cert.Leaf == nil {
			continue
		}
		leaf := Leaf{Certificate: cert.Leaf}
		for _, der := range cert.Certificate[1:] {
			if authority, err := x509.ParseCertificate(der); err == nil {
				leaf.Authorities = append(leaf.Authorities, authority)
			}
		}
		if len(c.certFiles) > 0 {
			leaf.File = c.certFiles[i]
		}
		all = append(all, leaf)
	}
	return all
}

// For returns a certificate for domain, preferring one that is valid now; nil
// if there is none.
func (c *Certificates) For(domain string) *tls.Certificate {
	return c.best(func(cert *tls.Certificate) bool {
		return cert.Leaf != nil && cert.Leaf.VerifyHostname(domain) == nil
	})
}

// getCertificate returns the certificate for a client: one that matches the
// requested name and the client's algorithms, or otherwise any.
func (c *Certificates) getCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	cert := c.best(func(cert *tls.Certificate) bool { return hello.SupportsCertificate(cert) == nil })
	if cert == nil {
		cert = c.best(func(*tls.Certificate) bool { return true })
	}
	if cert == nil {
		return nil, errors.New("no certificate is configured")
	}
	return cert, nil
}

// best returns the first certificate that fits and is valid now, or otherwise
// the first that fits; nil if none does.
func (c *Certificates) best(fits func(*tls.Certificate) bool) (first *tls.Certificate) {
	all, now := *c.loaded.Load(), time.Now()
	for i := range all {
		if !fits(&all[i]) {
			continue
		}
		if leaf := all[i].Leaf; leaf == nil || !now.Before(leaf.NotBefore) && !now.After(leaf.NotAfter) {
			return &all[i]
		}
		if first == nil {
			first = &all[i]
		}
	}
	return first
}

// TLSConfig returns the configuration of TLS with clients: only suites with
// forward secrecy and AEAD, no session tickets, and the ALPN name simp or
// none.
func (c *Certificates) TLSConfig() *tls.Config {
	return &tls.Config{
		MinVersion:             tlspolicy.MinVersion,
		CipherSuites:           tlspolicy.CipherSuites(),
		NextProtos:             []string{"simp"},
		SessionTicketsDisabled: true,
		GetCertificate:         c.getCertificate,
	}
}
