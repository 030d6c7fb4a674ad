package secretfile

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
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

// LoadRoots reads the certificates of authorities from a PEM file.
func LoadRoots(file string) (*x509.CertPool, error) {
	roots := x509.NewCertPool()
	if err := AppendRoots(roots, file); err != nil {
		return nil, err
	}
	return roots, nil
}

// AppendRoots is LoadRoots into a pool that may have others already.
func AppendRoots(roots *x509.CertPool, file string) error {
	pem, err := ReadPublic(file)
	if err != nil {
		return err
	}
	if !roots.AppendCertsFromPEM(pem) {
		return fmt.Errorf("%s holds no certificate in PEM", file)
	}
	return nil
}
