package acmecert

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// certificate is a certificate of one domain.
type certificate struct {
	domain    string
	directory string // of the authority that issued it
	made      time.Time
	pair      tls.Certificate
}

func (c certificate) equal(o certificate) bool {
	return c.domain == o.domain && c.directory == o.directory && slices.EqualFunc(c.pair.Certificate, o.pair.Certificate, slices.Equal)
}

// certificateRecord is the value of certificateName.
type certificateRecord struct {
	Directory string   `json:"directory"`
	Chain     [][]byte `json:"chain"` // DER, the domain's own first
	Key       []byte   `json:"key"`   // PKCS #8

	Made time.Time `json:"made"` // when it was obtained
}

func certificateName(domain string) string { return "acme/certificate/" + domain }

// endedKept is for how long a certificate that has ended stays in the table.
const endedKept = 30 * 24 * time.Hour

// load returns the certificate of a domain, if there is one that can be read.
func (m *Manager) load(domain string) (c certificate, ok bool) {
	value := m.config.Secrets.Get(certificateName(domain))
	if value == nil {
		return certificate{}, false
	}
	m.parsedMu.Lock()
	defer m.parsedMu.Unlock()
	if known, ok := m.parsed[domain]; ok && bytes.Equal(known.value, value) {
		return known.certificate, true
	}
	var r certificateRecord
	if err := json.Unmarshal(value, &r); err != nil {
		return certificate{}, false
	}
	pair, err := r.pair(domain)
	if err != nil {
		return certificate{}, false
	}
	c = certificate{domain: domain, directory: r.Directory, made: r.Made, pair: pair}
	m.parsed[domain] = parsedCertificate{c, value}
	return c, true
}

// parsedCertificate is a certificate with the value that it was parsed from.
type parsedCertificate struct {
	certificate
	value []byte
}

// save shares a new certificate with all nodes, if it is one for the domain.
func (m *Manager) save(ctx context.Context, domain string, r certificateRecord) error {
	pair, err := r.pair(domain)
	if err != nil {
		return fmt.Errorf("the certificate that was obtained: %w", err)
	}
	if !time.Now().Before(pair.Leaf.NotAfter) {
		return fmt.Errorf("the certificate that was obtained has ended, on %s", pair.Leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	value, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return m.config.Secrets.Put(ctx, certificateName(domain), value, pair.Leaf.NotAfter.Add(endedKept))
}

// pair returns the certificate with its key, after checking that they belong
// together and name the domain.
func (r *certificateRecord) pair(domain string) (tls.Certificate, error) {
	if len(r.Chain) == 0 {
		return tls.Certificate{}, errors.New("it is empty")
	}
	leaf, err := x509.ParseCertificate(r.Chain[0])
	if err != nil {
		return tls.Certificate{}, err
	}
	key, err := parseKey(r.Key)
	if err != nil {
		return tls.Certificate{}, err
	}
	if !key.PublicKey.Equal(leaf.PublicKey) {
		return tls.Certificate{}, errors.New("it is for another key")
	}
	return tls.Certificate{Certificate: r.Chain, PrivateKey: key, Leaf: leaf}, leaf.VerifyHostname(domain)
}
