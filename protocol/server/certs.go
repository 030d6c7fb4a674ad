package server

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
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

	obtained  atomic.Pointer[[]tls.Certificate] // selected after those of files; nil: none
	challenge atomic.Pointer[func(*tls.ClientHelloInfo) *tls.Certificate]
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

// SetObtained replaces the certificates that do not come from files, such as
// those that ACME has obtained. One from a file is preferred. Any goroutine may
// call it.
func (c *Certificates) SetObtained(all []tls.Certificate) { c.obtained.Store(&all) }

// SetChallenge has TLS handshakes for which challenge returns a certificate
// answered with that one, and with nothing after the handshake (RFC 8737). Any
// goroutine may call it.
func (c *Certificates) SetChallenge(challenge func(*tls.ClientHelloInfo) *tls.Certificate) {
	c.challenge.Store(&challenge)
}

// all returns the certificates in the order of preference.
func (c *Certificates) all() []tls.Certificate {
	loaded := *c.loaded.Load()
	if obtained := c.obtained.Load(); obtained != nil && len(*obtained) > 0 {
		return slices.Concat(loaded, *obtained)
	}
	return loaded
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
	IsObtained  bool                // it was set by SetObtained
}

// Leaves returns the certificates: those that were loaded, in the order of the
// files, and then those that were obtained. Any goroutine may call it.
func (c *Certificates) Leaves() (all []Leaf) {
	c.reloadMu.Lock()
	defer c.reloadMu.Unlock()
	loaded := len(*c.loaded.Load())
	for i, cert := range c.all() {
		if cert.Leaf == nil {
			continue
		}
		leaf := Leaf{Certificate: cert.Leaf, IsObtained: i >= loaded}
		for _, der := range cert.Certificate[1:] {
			if authority, err := x509.ParseCertificate(der); err == nil {
				leaf.Authorities = append(leaf.Authorities, authority)
			}
		}
		if i < len(c.certFiles) {
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
		return nil, errors.New("there is no certificate")
	}
	return cert, nil
}

// best returns the first certificate that fits and is valid now, or otherwise
// the first that fits; nil if none does.
func (c *Certificates) best(fits func(*tls.Certificate) bool) (first *tls.Certificate) {
	all, now := c.all(), time.Now()
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
		GetConfigForClient:     c.configForChallenge,
	}
}

// configForChallenge returns the configuration of a handshake that answers a
// challenge; nil for any other.
func (c *Certificates) configForChallenge(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	challenge := c.challenge.Load()
	if challenge == nil {
		return nil, nil
	}
	cert := (*challenge)(hello)
	if cert == nil {
		return nil, nil
	}
	return &tls.Config{
		MinVersion:             tlspolicy.MinVersion,
		CipherSuites:           tlspolicy.CipherSuites(),
		NextProtos:             hello.SupportedProtos,
		SessionTicketsDisabled: true,
		Certificates:           []tls.Certificate{*cert},
	}, nil
}
