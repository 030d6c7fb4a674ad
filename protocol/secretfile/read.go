package secretfile

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// byteOrderMark is what some editors begin a text with.
const byteOrderMark = "\uFEFF"

// Read reads a file that Check does not refuse, without the byte order mark
// that it may begin with. Where this user may not read it, the error says whose
// the file is and what to do.
func Read(file string) ([]byte, error) {
	if err := Check(file); err != nil {
		return nil, err
	}
	return ReadPublic(file)
}

// ReadPublic is Read for a file that holds no secret, of any mode.
func ReadPublic(file string) ([]byte, error) {
	content, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("%w%s", err, remedy(file))
	}
	return bytes.TrimPrefix(content, []byte(byteOrderMark)), err
}

// LoadPair reads a certificate with its chain, and its key, which has to be as
// Check wants it, from PEM files.
func LoadPair(certFile, keyFile string) (tls.Certificate, error) {
	cert, err := ReadPublic(certFile)
	if err != nil {
		return tls.Certificate{}, err
	}
	key, err := Read(keyFile)
	if err != nil {
		return tls.Certificate{}, err
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("%s with %s: %w", certFile, keyFile, err)
	}
	return pair, nil
}

// LoadAuthorities reads the certificates of authorities, at least one, from a
// PEM file. What else it holds is passed over.
func LoadAuthorities(file string) ([]*x509.Certificate, error) {
	rest, err := ReadPublic(file)
	if err != nil {
		return nil, err
	}
	var all []*x509.Certificate
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		if c, err := x509.ParseCertificate(block.Bytes); err == nil {
			all = append(all, c)
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s holds no certificate in PEM", file)
	}
	return all, nil
}

// Roots returns a pool of authorities.
func Roots(authorities []*x509.Certificate) *x509.CertPool {
	pool := x509.NewCertPool()
	for _, c := range authorities {
		pool.AddCert(c)
	}
	return pool
}

// LoadRoots is LoadAuthorities into a new pool.
func LoadRoots(file string) (*x509.CertPool, error) {
	authorities, err := LoadAuthorities(file)
	if err != nil {
		return nil, err
	}
	return Roots(authorities), nil
}

// AppendRoots is LoadRoots into a pool that may have others already.
func AppendRoots(roots *x509.CertPool, file string) error {
	authorities, err := LoadAuthorities(file)
	for _, c := range authorities {
		roots.AddCert(c)
	}
	return err
}
