package pki

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"simpd/protocol/secretfile"
)

// Identity is a node's certificate, its key and the authority it trusts, read
// from files and read again while running. Its methods may be called from any
// goroutine; what it has given out goes on with the newest that it holds.
type Identity struct {
	reloading sync.Mutex
	files     files // under reloading

	name    Name
	current atomic.Pointer[material]
}

type files struct{ ca, cert, key string }

type material struct {
	cert        tls.Certificate
	roots       *x509.CertPool
	authorities []*x509.Certificate // in roots
}

// Load reads PEM files and checks that the certificate is a node's, that the
// authority has signed it, and that nobody else can read the key.
func Load(caFile, certFile, keyFile string) (*Identity, error) {
	i := &Identity{files: files{caFile, certFile, keyFile}}
	m, name, err := i.files.read()
	if err != nil {
		return nil, err
	}
	i.name = name
	i.current.Store(m)
	return i, nil
}

// Reload reads the files again; new connections use what they hold, those
// that are open stay. On an error all is as before. The new certificate has
// to name the same node.
func (i *Identity) Reload() error {
	i.reloading.Lock()
	defer i.reloading.Unlock()
	return i.reload(i.files)
}

// ReloadFrom is Reload from other files, which Reload then reads too. On an
// error all is as before.
func (i *Identity) ReloadFrom(caFile, certFile, keyFile string) error {
	i.reloading.Lock()
	defer i.reloading.Unlock()
	return i.reload(files{caFile, certFile, keyFile})
}

// reload takes what the files hold; i.reloading is held.
func (i *Identity) reload(f files) error {
	m, name, err := f.read()
	if err != nil {
		return err
	}
	if name.Site != i.name.Site || name.ID != i.name.ID {
		return fmt.Errorf("%s names %s, but this node runs as %s", f.cert, name, i.name)
	}
	i.files = f
	i.current.Store(m)
	return nil
}

// Name is whom the node's own certificate names.
func (i *Identity) Name() Name { return i.name }

// Fingerprint is the SHA-256 of a certificate in DER.
type Fingerprint = [sha256.Size]byte

// FingerprintOf returns the fingerprint of a certificate.
func FingerprintOf(c *x509.Certificate) Fingerprint { return sha256.Sum256(c.Raw) }

// Fingerprint returns that of the node's own certificate.
func (i *Identity) Fingerprint() Fingerprint { return FingerprintOf(i.current.Load().cert.Leaf) }

// Expires is when the node's certificate ends.
func (i *Identity) Expires() time.Time { return i.Certificate().NotAfter }

// Certificate returns the node's own certificate. It must not be changed.
func (i *Identity) Certificate() *x509.Certificate { return i.current.Load().cert.Leaf }

// Authorities returns the certificates of the authorities that the node trusts.
// They must not be changed.
func (i *Identity) Authorities() []*x509.Certificate { return i.current.Load().authorities }

func (f files) read() (*material, Name, error) {
	authorities, err := secretfile.LoadAuthorities(f.ca)
	if err != nil {
		return nil, Name{}, err
	}
	cert, err := secretfile.LoadPair(f.cert, f.key)
	if err != nil {
		return nil, Name{}, err
	}
	name, err := NameOf(cert.Leaf)
	if err != nil {
		return nil, Name{}, fmt.Errorf("%s: %w", f.cert, err)
	}
	if name.Kind != Node {
		return nil, Name{}, fmt.Errorf("%s is the certificate of a %s; a node's is required", f.cert, name.Kind)
	}
	m := &material{cert, secretfile.Roots(authorities), authorities}
	if err := m.checkOwn(); err != nil {
		return nil, Name{}, fmt.Errorf("%s: %w", f.cert, err)
	}
	return m, name, nil
}

// checkOwn refuses at the start what every other node would refuse later.
func (m *material) checkOwn() error {
	var rest []*x509.Certificate
	for _, der := range m.cert.Certificate[1:] {
		if c, err := x509.ParseCertificate(der); err == nil {
			rest = append(rest, c)
		}
	}
	chain := append([]*x509.Certificate{m.cert.Leaf}, rest...)
	if err := m.verify(chain, x509.ExtKeyUsageServerAuth); err != nil {
		return err
	}
	return m.verify(chain, x509.ExtKeyUsageClientAuth)
}

// verify checks a chain against the authority. The name in it is checked by
// the caller: nodes are known by their URI, not by a host's name.
func (m *material) verify(chain []*x509.Certificate, usage x509.ExtKeyUsage) error {
	if len(chain) == 0 {
		return errors.New("no certificate was shown")
	}
	intermediates := x509.NewCertPool()
	for _, c := range chain[1:] {
		intermediates.AddCert(c)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{Roots: m.roots, Intermediates: intermediates, KeyUsages: []x509.ExtKeyUsage{usage}})
	return err
}

// Server is the TLS configuration of the cluster listener: TLS 1.3, and
// nobody but nodes of the same site that speak one of the protocols.
func (i *Identity) Server(protocols ...string) *tls.Config {
	return &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		m := i.current.Load()
		c := m.config(protocols)
		c.ClientAuth = tls.RequireAndVerifyClientCert
		c.ClientCAs = m.roots
		c.VerifyConnection = func(s tls.ConnectionState) error {
			_, err := i.peer(s, protocols)
			return err
		}
		return c, nil
	}}
}

// Client is the TLS configuration for a connection to one node by one
// protocol: who answers has to prove to be that node of the same site.
func (i *Identity) Client(node, protocol string) *tls.Config {
	m := i.current.Load()
	c := m.config([]string{protocol})
	// The standard check is for a host's name, which says nothing of which
	// node it is; VerifyConnection checks chain and name instead.
	c.InsecureSkipVerify = true
	c.VerifyConnection = func(s tls.ConnectionState) error {
		if err := m.verify(s.PeerCertificates, x509.ExtKeyUsageServerAuth); err != nil {
			return err
		}
		name, err := i.peer(s, []string{protocol})
		if err == nil && name.ID != node {
			err = fmt.Errorf("node %s answers where %s was dialled", name.ID, node)
		}
		return err
	}
	return c
}

// Programs is the TLS configuration for the services for programs: TLS 1.3,
// with the node's own certificate; a client's certificate is not required,
// but checked if there is one.
func (i *Identity) Programs(protocols ...string) *tls.Config {
	return &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		m := i.current.Load()
		c := m.config(protocols)
		c.ClientAuth = tls.VerifyClientCertIfGiven
		c.ClientCAs = m.roots
		return c, nil
	}}
}

// config has no session tickets: whoever comes shows a certificate that is
// valid now.
func (m *material) config(protocols []string) *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		Certificates:           []tls.Certificate{m.cert},
		NextProtos:             protocols,
		SessionTicketsDisabled: true,
	}
}

// peer says which node of the site is at the other end.
func (i *Identity) peer(s tls.ConnectionState, protocols []string) (Name, error) {
	if !slices.Contains(protocols, s.NegotiatedProtocol) {
		return Name{}, errors.New("the other end names no protocol spoken here")
	}
	name, err := Peer(s)
	switch {
	case err != nil:
		return Name{}, err
	case name.Site != i.name.Site:
		return Name{}, fmt.Errorf("%s is of another site than %s", name, i.name.Site)
	case name.Kind != Node:
		return Name{}, fmt.Errorf("%s does not name a node", name)
	}
	return name, nil
}

// Peer says whom the certificate at the other end of a finished handshake
// names. It is for connections whose configuration came from an Identity.
func Peer(s tls.ConnectionState) (Name, error) {
	if len(s.PeerCertificates) == 0 {
		return Name{}, errors.New("no certificate was shown")
	}
	return NameOf(s.PeerCertificates[0])
}
