package pki

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"os"
	"strings"

	"simpd/protocol/secretfile"
)

func (m *maker) writePair(base string, der []byte, key *ecdsa.PrivateKey) error {
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := m.write(base+".key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})); err != nil {
		return err
	}
	return m.write(base+".crt", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// write makes a file of mode 0600 that is whole or not there. A link, unlike
// a rename, fails where there is a file already.
func (m *maker) write(name string, content []byte) error {
	f, err := os.CreateTemp(m.Dir, ".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Link(f.Name(), m.path(name))
	}
	if err != nil {
		return fmt.Errorf("make %s: %w", m.path(name), err)
	}
	m.made = append(m.made, m.path(name))
	return nil
}

func readPair(certFile, keyFile string) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	pair, err := secretfile.LoadPair(certFile, keyFile)
	if err != nil {
		return nil, nil, err
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		return nil, nil, fmt.Errorf("%s is not of the kind that was made here (ECDSA)", keyFile)
	}
	return pair.Leaf, key, nil
}

// ReadGossipKeys reads a file of gossip keys: one in base64 a line, of 32
// octets; empty lines and those that begin with # are passed over. The first
// encrypts. Nobody else may read the file.
func ReadGossipKeys(file string) (keys [][]byte, err error) {
	content, err := secretfile.Read(file)
	if err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(bytes.NewReader(content))
	for number := 1; lines.Scan(); number++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		key, err := base64.StdEncoding.DecodeString(line)
		if err != nil || len(key) != 32 {
			return nil, fmt.Errorf("%s, line %d: no key of 32 octets in base64", file, number)
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 && lines.Err() == nil {
		return nil, fmt.Errorf("%s holds no key", file)
	}
	return keys, lines.Err()
}
