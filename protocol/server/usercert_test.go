package server

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"strings"
	"testing"
	"time"
)

// authority makes certificates of users.
type authority struct {
	t    *testing.T
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newAuthority(t *testing.T, change ...func(*x509.Certificate)) *authority {
	a := &authority{t: t}
	a.cert = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "users"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	for _, f := range change {
		f(a.cert)
	}
	var der []byte
	a.key, der = a.sign(a.cert)
	a.cert, _ = x509.ParseCertificate(der)
	return a
}

func (a *authority) sign(template *x509.Certificate) (*ecdsa.PrivateKey, []byte) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	by := a.key
	if by == nil {
		by = key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, by)
	if err != nil {
		a.t.Fatal(err)
	}
	return key, der
}

// issue makes a certificate with addresses; those that begin with "utf8:" are
// SmtpUTF8Mailboxes.
func (a *authority) issue(usage x509.ExtKeyUsage, ends time.Duration, addresses ...string) tls.Certificate {
	a.t.Helper()
	var names []asn1.RawValue
	for _, address := range addresses {
		mailbox, utf8 := strings.CutPrefix(address, "utf8:")
		if !utf8 {
			names = append(names, asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 1, Bytes: []byte(address)})
			continue
		}
		value, err := asn1.MarshalWithParams(mailbox, "utf8")
		if err != nil {
			a.t.Fatal(err)
		}
		name, err := asn1.MarshalWithParams(struct {
			Type  asn1.ObjectIdentifier
			Value asn1.RawValue
		}{asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 8, 9}, asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: value}}, "tag:0")
		if err != nil {
			a.t.Fatal(err)
		}
		names = append(names, asn1.RawValue{FullBytes: name})
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(ends),
		ExtKeyUsage: []x509.ExtKeyUsage{usage}, KeyUsage: x509.KeyUsageDigitalSignature,
	}
	if len(names) > 0 {
		value, err := asn1.Marshal(names)
		if err != nil {
			a.t.Fatal(err)
		}
		template.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: value}}
	}
	key, der := a.sign(template)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// Users with a certificate of the operator's authority log in as the one
// address that it names. Domains do as before.
func TestUsersLogInByCertificate(t *testing.T) {
	users, foreign := newAuthority(t), newAuthority(t)
	roots := x509.NewCertPool()
	roots.AddCert(users.cert)
	const client, server = x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth
	_, call := federated(t, &partners{roots: x509.NewCertPool()}, func(c *Config) { c.UserRoots = func() *x509.CertPool { return roots } })
	for _, tt := range []struct {
		name, data  string
		certificate tls.Certificate
		want        string
	}{
		{"no data", "", users.issue(client, time.Hour, "alice@example.com"), "200 ima=alice@example.com"},
		{"data", "ALICE@example.com", users.issue(client, time.Hour, "alice@example.com"), "200 ima=alice@example.com"},
		{"in UTF-8", "", users.issue(client, time.Hour, "utf8:alice@example.com"), "200 ima=alice@example.com"},
		{"the same in both forms", "", users.issue(client, time.Hour, "alice@example.com", "utf8:alice@example.com"), "200 ima=alice@example.com"},
		{"another's data", "bob@example.com", users.issue(client, time.Hour, "alice@example.com"), "403 :<rest>"},
		{"two addresses", "", users.issue(client, time.Hour, "alice@example.com", "bob@example.com"), "401 :the certificate has 2 addresses: it must have exactly one"},
		{"two addresses in two forms", "alice@example.com", users.issue(client, time.Hour, "alice@example.com", "utf8:bob@example.com"), "401 :<rest>"},
		{"no address", "", users.issue(client, time.Hour), "401 :<rest>"},
		{"not an address", "", users.issue(client, time.Hour, "alice"), "401 :<rest>"},
		{"of another site", "", users.issue(client, time.Hour, "alice@example.net"), "401 :<rest>"},
		{"of another authority", "", foreign.issue(client, time.Hour, "alice@example.com"), "401 :the certificate does not prove an address of this site: <rest>"},
		{"for servers", "", users.issue(server, time.Hour, "alice@example.com"), "401 :<rest>"},
		{"expired", "", users.issue(client, -time.Minute, "alice@example.com"), "401 :<rest>"},
		{"a domain", "example.net", users.issue(client, time.Hour, "alice@example.com"), "401 :the certificate does not prove example.net: <rest>"},
	} {
		c := call("example.com", tt.certificate)
		c.send("1 AUTH mech=EXTERNAL data=%s", b64(tt.data))
		t.Log(tt.name)
		c.expect("1 %s", tt.want)
	}
	c := call("example.com")
	c.send("1 AUTH mech=EXTERNAL data=")
	c.expect("1 4<rest>")
}

// The name constraints of an authority hold for addresses in UTF-8 as for
// others. Constraints that can't be checked admit none.
func TestNameConstraintsHoldForMailboxesInUTF8(t *testing.T) {
	emails := func(permitted, excluded []string) func(*x509.Certificate) {
		return func(c *x509.Certificate) {
			c.PermittedDNSDomainsCritical, c.PermittedEmailAddresses, c.ExcludedEmailAddresses = true, permitted, excluded
		}
	}
	otherNames := func(c *x509.Certificate) { // permitted: one otherName
		name, err := asn1.MarshalWithParams(struct {
			Type  asn1.ObjectIdentifier
			Value asn1.RawValue
		}{asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 8, 9}, asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: []byte{12, 1, 'x'}}}, "tag:0")
		if err != nil {
			t.Fatal(err)
		}
		subtree, _ := asn1.Marshal(struct{ Base asn1.RawValue }{asn1.RawValue{FullBytes: name}})
		value, _ := asn1.Marshal(struct{ Permitted asn1.RawValue }{asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: subtree}})
		c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 30}, Value: value})
	}
	const alice, inUTF8 = "alice@example.com", "utf8:alice@example.com"
	for _, tt := range []struct {
		name      string
		authority func(*x509.Certificate)
		address   string
		want      bool
	}{
		{"its domain", emails([]string{"example.com"}, nil), inUTF8, true},
		{"its domain in capitals", emails([]string{"EXAMPLE.com"}, nil), inUTF8, true},
		{"another domain", emails([]string{"example.net"}, nil), inUTF8, false},
		{"another domain, not in UTF-8", emails([]string{"example.net"}, nil), alice, false},
		{"subdomains only", emails([]string{".example.com"}, nil), inUTF8, false},
		{"its parent's subdomains", emails([]string{".com"}, nil), inUTF8, true},
		{"the one user", emails([]string{alice}, nil), inUTF8, true},
		{"another user", emails([]string{"bob@example.com"}, nil), inUTF8, false},
		{"not its domain", emails(nil, []string{"example.com"}), inUTF8, false},
		{"not the user", emails(nil, []string{"ALICE@example.com"}), inUTF8, false},
		{"not another user", emails(nil, []string{"bob@example.com"}), inUTF8, true},
		{"hosts only", func(c *x509.Certificate) {
			c.PermittedDNSDomainsCritical, c.PermittedDNSDomains = true, []string{"example.net"}
		}, inUTF8, true},
		{"other names", otherNames, inUTF8, false},
		{"other names, not in UTF-8", otherNames, alice, true},
	} {
		users := newAuthority(t, tt.authority)
		roots := x509.NewCertPool()
		roots.AddCert(users.cert)
		_, call := federated(t, &partners{roots: x509.NewCertPool()}, func(c *Config) { c.UserRoots = func() *x509.CertPool { return roots } })
		c := call("example.com", users.issue(x509.ExtKeyUsageClientAuth, time.Hour, tt.address))
		c.send("1 AUTH mech=EXTERNAL data=")
		t.Log(tt.name)
		if tt.want {
			c.expect("1 200 ima=" + alice)
		} else {
			c.expect("1 401 :the certificate does not prove an address of this site: <rest>")
		}
	}
}

// EXTERNAL is offered to those who have presented a certificate, if the site
// takes certificates of users.
func TestEXTERNALIsOfferedToUsers(t *testing.T) {
	users := newAuthority(t)
	roots := x509.NewCertPool()
	roots.AddCert(users.cert)
	for _, pool := range []*x509.CertPool{roots, nil} {
		h := newHarbour(t, func(c *Config) { c.UserRoots = func() *x509.CertPool { return pool } })
		config := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"simp"}, Certificates: []tls.Certificate{users.issue(x509.ExtKeyUsageClientAuth, time.Hour, "alice@example.com")}}
		c := h.client(tls.Dial("tcp", h.tls, config))
		c.expect("* HELLO <rest>")
		c.send("h HELLO version=SIMP/1.0")
		if line := c.expect("h 200 <rest>"); strings.Contains(line, "EXTERNAL") != (pool != nil) {
			t.Error(line)
		}
		c.send("1 AUTH mech=EXTERNAL data=")
		if pool == nil {
			c.expect("1 400 :EXTERNAL is not offered here")
			continue
		}
		c.expect("1 200 ima=alice@example.com")
	}
}
