package world

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"time"
)

// Authority issues certificates.
type Authority struct {
	Root *x509.Certificate
	key  *ecdsa.PrivateKey
}

// Order is a certificate that is wanted.
type Order struct {
	Names      []string // subject alternative names
	CommonName string
	Expired    bool
	Early      bool               // it becomes valid in an hour
	Usage      []x509.ExtKeyUsage // nil: serverAuth
}

// NewAuthority makes an authority that nobody trusts yet.
func NewAuthority(name string) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	of := template(name)
	of.IsCA, of.BasicConstraintsValid, of.KeyUsage = true, true, x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, of, of, key.Public(), key)
	if err != nil {
		return nil, err
	}
	root, err := x509.ParseCertificate(der)
	return &Authority{root, key}, err
}

func template(name string) *x509.Certificate {
	serial, _ := rand.Int(rand.Reader, big.NewInt(1<<62)) // which never fails
	return &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: time.Now().Add(60 * 24 * time.Hour),
	}
}

// Issue makes a certificate with its key.
func (a *Authority) Issue(o Order) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	of := template(o.CommonName)
	of.DNSNames, of.KeyUsage, of.ExtKeyUsage = o.Names, x509.KeyUsageDigitalSignature, o.Usage
	if o.Usage == nil {
		of.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	}
	if o.Expired {
		of.NotAfter = time.Now().Add(-time.Hour)
	}
	if o.Early {
		of.NotBefore = time.Now().Add(time.Hour)
	}
	der, err := x509.CreateCertificate(rand.Reader, of, a.Root, key.Public(), a.key)
	if err != nil {
		return tls.Certificate{}, err
	}
	leaf, err := x509.ParseCertificate(der)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, err
}

// Roots is a pool of this authority alone.
func (a *Authority) Roots() *x509.CertPool {
	roots := x509.NewCertPool()
	roots.AddCert(a.Root)
	return roots
}

// WriteRoot writes the authority's own certificate to a file in dir.
func (a *Authority) WriteRoot(dir string) (file string, err error) {
	file = filepath.Join(dir, "authority.crt")
	return file, writePEM(file, "CERTIFICATE", a.Root.Raw)
}

// IssueFiles issues a certificate for names and writes it, with its key, to
// files in dir.
func (a *Authority) IssueFiles(dir string, names ...string) (cert, key string, err error) {
	return a.WriteFiles(dir, Order{Names: names})
}

// WriteFiles is IssueFiles for any order. The files are called after the first name.
func (a *Authority) WriteFiles(dir string, o Order) (cert, key string, err error) {
	c, err := a.Issue(o)
	if err != nil {
		return "", "", err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		return "", "", err
	}
	cert, key = filepath.Join(dir, o.Names[0]+".crt"), filepath.Join(dir, o.Names[0]+".key")
	if err := writePEM(cert, "CERTIFICATE", c.Certificate[0]); err != nil {
		return "", "", err
	}
	return cert, key, writePEM(key, "PRIVATE KEY", secret)
}

func writePEM(file, kind string, content []byte) error {
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: content}), 0o600); err != nil {
		return fmt.Errorf("writing %s: %w", file, err)
	}
	return nil
}
