package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"simpd/cluster/link/pki"
	"simpd/cmd/testkit/site"
	"simpd/protocol/server"
)

const day = 24 * time.Hour

// chainFor makes a certificate for the domains that ends after a time, and the
// chain of it: an authority that ends after another.
func chainFor(t *testing.T, ends, authorityEnds time.Duration, domains ...string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sign := func(of, by *x509.Certificate) *x509.Certificate {
		of.NotBefore = time.Now().Add(-day)
		der, err := x509.CreateCertificate(rand.Reader, of, by, &key.PublicKey, key)
		if err != nil {
			t.Fatal(err)
		}
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "an authority"}, NotAfter: time.Now().Add(authorityEnds),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	authority = sign(authority, authority)
	leaf := sign(&x509.Certificate{SerialNumber: big.NewInt(0xbeef), DNSNames: domains, NotAfter: time.Now().Add(ends)}, authority)
	return tls.Certificate{Certificate: [][]byte{leaf.Raw, authority.Raw}, PrivateKey: key, Leaf: leaf}
}

// TestTheLogWarnsOnceADay: of what ends soon there is a line at the start and
// one each day, from 30 days before the end on.
func TestTheLogWarnsOnceADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLines()
		n := &node{
			logger: slog.New(slog.NewTextHandler(log, nil)),
			conf:   &config{domains: []string{"example.com", "example.org"}},
			keyFiles: keyFiles{certificates: server.NewCertificates(chainFor(t, 30*day+time.Hour, 400*day, "example.com"),
				chainFor(t, 400*day, 400*day, "old.example"))},
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); n.logCertificates(ctx) }()
		expect := func(lines int, pattern string) {
			t.Helper()
			synctest.Wait()
			if found := regexp.MustCompile("(?m)"+pattern).FindAllString(log.String(), -1); len(found) != lines {
				t.Errorf("%d lines of %s, want %d:\n%s", len(found), pattern, lines, log.String())
			}
		}
		const soon = `level=WARN msg="certificate ends soon" kind=site name=example\.com id=beef ends=2000-01-31T01:00:00Z days_left=`
		expect(0, "ends soon")
		expect(1, `level=WARN msg="no certificate names these domains of the site" domains=\[example\.org\] count=1$`)
		expect(1, `level=WARN msg="certificate names no domain of the site" names=old\.example file=""$`)
		time.Sleep(day)
		expect(1, soon+"29$")
		time.Sleep(29 * day)
		expect(30, soon)
		expect(1, soon+"0$")
		time.Sleep(2 * day)
		expect(2, `level=ERROR msg="certificate has ended" kind=site name=example\.com`)
		expect(30, soon)
		cancel()
		<-ended
	})
}

// TestManyCertificatesEndInFewLines: the log and a node's status are bounded.
func TestManyCertificatesEndInFewLines(t *testing.T) {
	var log bytes.Buffer
	var all []tls.Certificate
	for range maxListed + 3 {
		c := chainFor(t, day, 400*day, "example.com")
		leaf := *c.Leaf
		c.Leaf = &leaf
		all = append(all, c)
	}
	n := &node{logger: slog.New(slog.NewTextHandler(&log, nil)), conf: &config{domains: []string{"example.com"}}, keyFiles: keyFiles{certificates: server.NewCertificates(all...)}}
	n.reviewCertificates()
	if got := strings.Count(log.String(), "ends soon"); got != 1 {
		t.Errorf("certificates of one number and name are named %d times", got)
	}
	log.Reset()
	list := make(expiries, maxListed+3)
	for i := range list {
		list[i] = expiry{kind: expiryToken, name: "desk", end: time.Now().Add(time.Hour)}
	}
	logExpiries(n.logger, list, time.Now())
	if got := strings.Count(log.String(), "token ends soon"); got != maxListed || !strings.Contains(log.String(), `msg="more certificates or tokens end soon" count=3`) {
		t.Errorf("%d lines: %s", got, log.String())
	}
}

// TestOperatorsLearnWhatEndsSoon: metrics, the log and doctor name certificates,
// the authority, a program's certificate and a token that end soon, and a domain
// that no certificate names.
func TestOperatorsLearnWhatEndsSoon(t *testing.T) {
	keys := filepath.Join(t.TempDir(), "keys")
	order := pki.Order{
		Dir: keys, Site: "example.com", Lifetime: 5 * day,
		Nodes:    []pki.NodeOrder{{ID: "n1", Hosts: []string{"example.com"}}},
		Services: []pki.ServiceOrder{{Name: "operator", Roles: pki.AllRoles()}},
	}
	if _, err := pki.Make(order); err != nil {
		t.Fatal(err)
	}
	made := succeed(t, "", "simpctl", "token", "make", "desk", "--role", "presence:read", "--lifetime", "480h")
	_, line, _ := strings.Cut(made, "the line for the nodes' token file:\n")
	tokens := filepath.Join(keys, "tokens")
	if err := os.WriteFile(tokens, []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	args := append(secureArgs(dir, keys, "n1", 1), "--gossip-listen="+site.FreeAddress(), "--token-file="+tokens, "--domain=example.org")
	n := &testNode{start(t, "simpd", append([]string{"serve"}, args...)...), "n1", dir}
	n.await(n.err, "msg=ready")

	code, said := runTo(t, "", "simpctl", n.operator(keys, "doctor")...)
	if code != 1 {
		t.Errorf("doctor: exit code %d", code)
	}
	for _, want := range []string{
		"wrong  n1: the node's certificate ends in 4 days, on ", "simpctl tls init --node n1=HOST",
		"wrong  n1: the certificate for clients of example.com ends in 4 days",
		"wrong  n1: the certificate of the program operator ends in 4 days",
		"hint   n1: the token of the program desk (sha256:",
		"wrong  n1: none of its certificates names example.org",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("doctor does not say %q:\n%s", want, said)
		}
	}
	if strings.Contains(said, "authority") {
		t.Errorf("the authority is good for ten years:\n%s", said)
	}

	_, metrics := n.get("/metrics")
	for _, want := range []string{
		`^simp_certificate_not_after_timestamp_seconds\{kind="node",name="n1",serial="[0-9a-f]+"\} 1\.[0-9]+e\+09$`,
		`^simp_certificate_not_after_timestamp_seconds\{kind="site",name="example.com",serial="[0-9a-f]+"\} `,
		`^simp_certificate_not_after_timestamp_seconds\{kind="cluster_ca",name="example.com cluster CA",serial="[0-9a-f]+"\} `,
		`^simp_certificate_not_after_timestamp_seconds\{kind="program",name="operator",serial="[0-9a-f]+"\} `,
		`^simp_token_not_after_timestamp_seconds\{hash="[0-9a-f]{16}",name="desk"\} `,
		`^simp_domains_without_certificate 1$`,
	} {
		if !regexp.MustCompile("(?m)" + want).MatchString(metrics) {
			t.Errorf("/metrics has no %s", want)
		}
	}
	n.await(n.err, `msg="certificate ends soon" kind=node name=n1`)
	n.await(n.err, `msg="token ends soon" kind=token name=desk`)
	n.await(n.err, `msg="no certificate names these domains of the site" domains=[example.org]`)
}

// TestEveryKindThatEndsIsKnownToOperators: none is told as unspecified.
func TestEveryKindThatEndsIsKnownToOperators(t *testing.T) {
	kinds := []string{expiryNode, expiryClusterCA, expirySite, expirySiteCA, expiryFederationCA, expiryProgram, expiryToken, expiryObtained}
	for i, kind := range kinds {
		if slices.Index(kinds, kind) != i || int(expiryKind(kind)) != i+1 {
			t.Errorf("%s is told as %v", kind, expiryKind(kind))
		}
	}
}
