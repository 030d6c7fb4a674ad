package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"time"
)

// Order says what Make is to make.
type Order struct {
	Dir      string // created, mode 0700
	Site     string // empty: that of the authority in Dir, or DefaultSite
	Nodes    []NodeOrder
	Services []ServiceOrder
	Lifetime time.Duration // of certificates, at most the authority's; 0: a year
}

// NodeOrder is a node's certificate; Hosts are names and IP addresses at
// which programs reach it. localhost and the loopback addresses are added.
type NodeOrder struct {
	ID    string
	Hosts []string
}

// ServiceOrder is a program's certificate.
type ServiceOrder struct {
	Name  string
	Roles []string
	As    []string
}

// DefaultSite is the name of a site that nobody has named. It is seen in
// certificates alone, and has nothing to do with the domains that are served.
const DefaultSite = "site.internal"

const (
	authorityLifetime = 10 * 365 * 24 * time.Hour
	defaultLifetime   = 365 * 24 * time.Hour
)

// Make makes what is not there yet of a site's authority (ca.crt, ca.key), a
// pair of files for each node (node-ID.crt, node-ID.key) and each service
// (service-NAME.crt, service-NAME.key), and a key for gossip (gossip.key). It
// never overwrites a file, so it can be run again to add a node. All files
// have mode 0600. It returns the files it made.
func Make(o Order) (made []string, err error) {
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, err
	}
	m := &maker{Order: o}
	if m.Lifetime == 0 {
		m.Lifetime = defaultLifetime
	}
	err = m.all()
	return m.made, err
}

type maker struct {
	Order
	ca   *x509.Certificate
	key  *ecdsa.PrivateKey
	made []string
}

func (m *maker) all() error {
	if err := m.authority(); err != nil {
		return err
	}
	for _, n := range m.Nodes {
		if err := m.node(n); err != nil {
			return err
		}
	}
	for _, s := range m.Services {
		if err := m.service(s); err != nil {
			return err
		}
	}
	return m.gossipKey()
}

// authority takes the one that is there, or makes one. It can vouch for names
// of this site alone.
func (m *maker) authority() error {
	if m.Site == "" {
		m.Site = m.siteThere()
	}
	if err := (Name{Site: m.Site, Kind: Node, ID: "any"}).Check(); err != nil {
		return err
	}
	there, err := m.pairIsThere("ca")
	if err != nil {
		return err
	}
	if there {
		return m.readAuthority()
	}
	template := &x509.Certificate{
		Subject:                     pkix.Name{CommonName: m.Site + " cluster CA"},
		IsCA:                        true,
		BasicConstraintsValid:       true,
		MaxPathLenZero:              true,
		KeyUsage:                    x509.KeyUsageCertSign,
		PermittedDNSDomainsCritical: true,
		PermittedURIDomains:         []string{m.Site},
	}
	if m.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return err
	}
	der, err := sign(template, template, m.key, m.key, authorityLifetime)
	if err != nil {
		return err
	}
	if m.ca, err = x509.ParseCertificate(der); err != nil {
		return err
	}
	return m.writePair("ca", der, m.key)
}

// siteThere is whose authority is there. If that can't be read,
// readAuthority says why.
func (m *maker) siteThere() string {
	ca, _, err := readPair(m.path("ca.crt"), m.path("ca.key"))
	if err != nil || len(ca.PermittedURIDomains) != 1 {
		return DefaultSite
	}
	return ca.PermittedURIDomains[0]
}

func (m *maker) readAuthority() (err error) {
	if m.ca, m.key, err = readPair(m.path("ca.crt"), m.path("ca.key")); err != nil {
		return err
	}
	if !m.ca.IsCA || m.ca.NotAfter.Before(time.Now()) {
		return fmt.Errorf("%s is not a certificate authority, or has expired", m.path("ca.crt"))
	}
	if of := m.ca.PermittedURIDomains; len(of) != 1 || of[0] != m.Site {
		return fmt.Errorf("%s is the authority of %v, not of %s", m.path("ca.crt"), of, m.Site)
	}
	return nil
}

func (m *maker) node(n NodeOrder) error {
	name := Name{Site: m.Site, Kind: Node, ID: n.ID}
	template := &x509.Certificate{
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		DNSNames:    []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	for _, host := range n.Hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	return m.issue(name, template)
}

func (m *maker) service(s ServiceOrder) error {
	name := Name{Site: m.Site, Kind: Service, ID: s.Name, Roles: s.Roles, As: s.As}
	return m.issue(name, &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
}

// issue signs a certificate of that name, unless there is one.
func (m *maker) issue(name Name, template *x509.Certificate) error {
	if err := name.Check(); err != nil {
		return err
	}
	base := string(name.Kind) + "-" + name.ID
	if there, err := m.pairIsThere(base); there || err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template.Subject = pkix.Name{CommonName: name.ID}
	template.URIs = []*url.URL{name.URI()}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	der, err := sign(template, m.ca, key, m.key, min(m.Lifetime, time.Until(m.ca.NotAfter)))
	if err != nil {
		return err
	}
	return m.writePair(base, der, key)
}

// sign begins a certificate's life an hour ago, for clocks that are behind.
func sign(template, parent *x509.Certificate, key, parentKey *ecdsa.PrivateKey, lifetime time.Duration) ([]byte, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	template.SerialNumber = serial
	template.NotBefore = time.Now().Add(-time.Hour)
	template.NotAfter = time.Now().Add(lifetime)
	return x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, parentKey)
}

func (m *maker) gossipKey() error {
	if _, err := os.Stat(m.path("gossip.key")); err == nil {
		return nil
	}
	key := make([]byte, 32)
	rand.Read(key)
	return m.write("gossip.key", []byte(base64.StdEncoding.EncodeToString(key)+"\n"))
}

func (m *maker) path(name string) string { return filepath.Join(m.Dir, name) }

// pairIsThere refuses half a pair: making the other half anew would leave two
// files that don't fit.
func (m *maker) pairIsThere(base string) (bool, error) {
	_, noCert := os.Stat(m.path(base + ".crt"))
	_, noKey := os.Stat(m.path(base + ".key"))
	for _, err := range []error{noCert, noKey} {
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
	}
	if (noCert == nil) != (noKey == nil) {
		return false, fmt.Errorf("of %s.crt and %s.key only one is in %s: restore the other, or remove it", base, base, m.Dir)
	}
	return noCert == nil, nil
}
