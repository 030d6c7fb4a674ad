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
)

// Certificates are the site's certificates, as their files were when they
// were last loaded. One is chosen by the name that a client asks for; the
// first where none fits.
type Certificates struct {
	reloading   sync.Mutex
	certs, keys []string // files, under reloading; none: they come from nowhere

	loaded atomic.Pointer[[]tls.Certificate]
}

// LoadCertificates reads pairs of PEM files: certs[i] is a chain, keys[i] the
// key of its first certificate, which nobody else may use (secretfile.Check).
func LoadCertificates(certs, keys []string) (*Certificates, error) {
	c := &Certificates{}
	if err := c.ReloadFrom(certs, keys); err != nil {
		return nil, err
	}
	return c, nil
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
	c.reloading.Lock()
	defer c.reloading.Unlock()
	if len(c.certs) == 0 {
		return nil
	}
	return c.reload(c.certs, c.keys)
}

// ReloadFrom is Reload from other files, as LoadCertificates takes them, which
// Reload then reads too.
func (c *Certificates) ReloadFrom(certs, keys []string) error {
	if len(certs) == 0 || len(certs) != len(keys) {
		return fmt.Errorf("%d certificates and %d keys: they go in pairs", len(certs), len(keys))
	}
	c.reloading.Lock()
	defer c.reloading.Unlock()
	return c.reload(certs, keys)
}

// reload takes what the files hold; c.reloading is held.
func (c *Certificates) reload(certs, keys []string) error {
	all := make([]tls.Certificate, len(certs))
	for i := range certs {
		cert, err := secretfile.LoadPair(certs[i], keys[i])
		if err != nil {
			return err
		}
		all[i] = cert
	}
	c.certs, c.keys = certs, keys
	c.loaded.Store(&all)
	return nil
}

// Leaf is a certificate that is loaded. It must not be changed.
type Leaf struct {
	*x509.Certificate
	Authorities []*x509.Certificate // the rest of its chain
	File        string              // where it comes from; empty: nowhere
}

// Leaves returns what is loaded, in the order of the files. Any goroutine may
// call it.
func (c *Certificates) Leaves() (all []Leaf) {
	c.reloading.Lock()
	defer c.reloading.Unlock()
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
		if len(c.certs) > 0 {
			leaf.File = c.certs[i]
		}
		all = append(all, leaf)
	}
	return all
}

// For returns the certificate that proves domain, rather a valid one than one
// that has expired or is not valid yet; nil: there is none.
func (c *Certificates) For(domain string) *tls.Certificate {
	return c.best(func(cert *tls.Certificate) bool {
		return cert.Leaf != nil && cert.Leaf.VerifyHostname(domain) == nil
	})
}

// choose returns the certificate for a client: one that fits the name asked for
// and the client's algorithms, or else any.
func (c *Certificates) choose(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	cert := c.best(func(cert *tls.Certificate) bool { return hello.SupportsCertificate(cert) == nil })
	if cert == nil {
		cert = c.best(func(*tls.Certificate) bool { return true })
	}
	if cert == nil {
		return nil, errors.New("no certificate is configured")
	}
	return cert, nil
}

// best returns the first certificate that fits and is valid now, else the first
// that fits; nil if none does.
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
