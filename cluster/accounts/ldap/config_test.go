package ldap

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"simpd/cluster/accounts"
	"simpd/cluster/accounts/ldap/ldaptest"
	"simpd/protocol"
)

// Passwords go to servers with a trusted certificate of the right name only.
func TestTLS(t *testing.T) {
	certificate, roots := makeCertificate(t, "localhost")
	foreign, _ := makeCertificate(t, "localhost")
	misnamed, otherRoots := makeCertificate(t, "ldap.example.com")
	for _, tt := range []struct {
		name        string
		certificate *tls.Certificate
		roots       *x509.CertPool
		want        string // in the error; "": none
	}{
		{"trusted", certificate, roots, ""}, {"unknown", foreign, roots, "set ca_file"}, {"another name", misnamed, otherRoots, "ldap.example.com"},
	} {
		for _, implicit := range []bool{true, false} {
			s, server := start(t, func(c *Config, v *ldaptest.Server) {
				c.Insecure, c.Roots, v.Certificate, v.TLS = false, tt.roots, tt.certificate, implicit
			})
			a, err := s.CheckPassword(t.Context(), protocol.PasswordLogin{User: addr("dora@example.com"), Password: "right"})
			if tt.want == "" && (err != nil || a.Verdict != accounts.Accepted) || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("%s, TLS from the first octet %v: %v, %v", tt.name, implicit, a.Verdict, err)
			}
			if tt.want != "" && len(server.Binds()) > 0 {
				t.Errorf("%s: a password was sent", tt.name)
			}
		}
	}
	s, _ := start(t, func(c *Config, _ *ldaptest.Server) { c.Insecure = false }) // its server has no TLS
	if _, err := s.CheckPassword(t.Context(), protocol.PasswordLogin{User: addr("dora@example.com"), Password: "right"}); err == nil || !strings.Contains(err.Error(), "STARTTLS") {
		t.Errorf("without TLS: %v", err)
	}
}

func makeCertificate(t *testing.T, name string) (*tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots
}

func TestWrongConfigs(t *testing.T) {
	for text, wrong := range map[string]error{
		"like ldaps://":       ParseServer("ldap.example.com", false),
		"must begin with":     ParseServer("http://ldap.example.com", false),
		"like ldaps://ldap":   ParseServer("ldaps://u:p@ldap.example.com", false),
		"is not loopback":     ParseServer("ldap://ldap.example.com", true),
		"invalid filter":      ParseFilter("objectClass=person)"),
		"invalid disting":     ParseDN("people"),
		"only {local}":        ParseTemplate("uid={uid},dc=example"),
		"must be in it":       ParseTemplate("uid=x,dc=example"),
		"invalid distinguish": ParseTemplate("uid={local},example"),
	} {
		if wrong == nil || !strings.Contains(wrong.Error(), text) {
			t.Errorf("want %q: %v", text, wrong)
		}
	}
	for _, right := range []error{
		ParseServer("ldaps://ldap.example.com:1636", false), ParseServer("ldap://[::1]", true), ParseServer("ldaps://ldap.example.com/", true),
		ParseFilter("(&(objectClass=user)(!(cn=x)))"), ParseDN(base), ParseTemplate("{ima}"), ParseTemplate("uid={local},dc={domain}"),
	} {
		if right != nil {
			t.Error(right)
		}
	}
	for _, s := range []string{"", "{uid@example.com", "{uid}@", "{}@example.com", "mail address", "{uid}@a..b"} {
		if m, err := ParseMapping(s); err == nil {
			t.Errorf("%q: %+v", s, m)
		}
	}
	for name, c := range map[string]Config{
		"no servers": {Base: base}, "no base": {Servers: []string{"ldaps://x"}}, "no password": {Servers: []string{"ldaps://x"}, Base: base, BindDN: "cn=x"},
		"no name": {Servers: []string{"ldaps://x"}, Base: base, BindPassword: "x"}, "a bad server": {Servers: []string{"x"}, Base: base},
	} {
		if _, err := New(c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// A closed source keeps no connections.
func TestClose(t *testing.T) {
	s, _ := start(t, nil)
	check(t, s, "dora@example.com", "right")
	idle := 0
	for _, list := range s.pools[0].idle {
		idle += len(list)
	}
	s.Close()
	if idle != 2 || len(s.pools[0].idle) != 0 {
		t.Errorf("%d were idle, and now %d", idle, len(s.pools[0].idle))
	}
	if _, _, err := net.SplitHostPort(s.pools[0].address); err != nil {
		t.Error(err)
	}
}
