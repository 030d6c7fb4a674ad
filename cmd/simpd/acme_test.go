package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"

	"simpd/cmd/testkit/site"
	"simpd/cmd/testkit/world"
)

// acmeWorld is an authority that speaks ACME, Let's Encrypt's own test server,
// and the DNS that it asks.
type acmeWorld struct {
	zone *world.Zone
	args []string // of simpd
	root *x509.CertPool
}

// startACMEWorld starts an authority that checks challenges at these ports.
func startACMEWorld(t *testing.T, httpPort, tlsPort int) *acmeWorld {
	t.Helper()
	t.Setenv("PEBBLE_VA_NOSLEEP", "1")
	zone, err := world.Serve()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(zone.Close)
	quiet, store := log.New(io.Discard, "", 0), db.NewMemoryStore()
	issuer := ca.New(quiet, store, "", "ecdsa", 0, 1, map[string]ca.Profile{"default": {}})
	checker := va.New(quiet, httpPort, tlsPort, true, zone.Addr, store)
	front := wfe.New(quiet, store, checker, issuer, []string{"ca.example.net"}, true, false, 1, 1)
	server := httptest.NewTLSServer(front.Handler())
	t.Cleanup(server.Close)
	w := &acmeWorld{zone: zone, root: x509.NewCertPool()}
	w.root.AppendCertsFromPEM(issuer.GetRootCert(0).PEM())
	file := filepath.Join(t.TempDir(), "directory.crt")
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(file, certificate, 0o644); err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(server.Listener.Addr().String())
	w.args = []string{"--acme-domain=example.com", "--acme-directory=https://127.0.0.1:" + port + wfe.DirectoryPath, "--acme-ca=" + file, "--acme-email=ops@example.com"}
	return w
}

// startACMESite starts three nodes at 127.0.0.2 to 127.0.0.4 that have no
// certificate for clients yet. more are the flags of the node at a host.
func startACMESite(t *testing.T, keys string, more func(host string) []string) []*testNode {
	t.Helper()
	ids, dir := []string{"n1", "n2", "n3"}, t.TempDir()
	gossip := []string{site.FreeAddress(), site.FreeAddress(), site.FreeAddress()}
	var nodes []*testNode
	for i, id := range ids {
		args := slices.DeleteFunc(secureArgs(dir, keys, id, 3), func(a string) bool {
			return strings.HasPrefix(a, "--tls-") || strings.HasPrefix(a, "--simps-listen")
		})
		args = append([]string{"serve", "--gossip-listen=" + gossip[i], "--join=" + gossip[(i+1)%3], "--join=" + gossip[(i+2)%3]}, args...)
		args = append(args, more(fmt.Sprintf("127.0.0.%d", 2+i))...)
		nodes = append(nodes, &testNode{process: start(t, "simpd", args...), id: id, dir: filepath.Join(dir, id)})
	}
	for _, n := range nodes {
		n.await(n.err, "msg=ready")
	}
	return nodes
}

// obtained returns the number of the certificate that a node has obtained, after
// checking that it is the authority's and names the domain.
func (w *acmeWorld) obtained(t *testing.T, n *testNode) string {
	t.Helper()
	n.await(n.err, `msg="certificate installed"`)
	d := &net.Dialer{Timeout: patience}
	conn, err := tls.DialWithDialer(d, "tcp", n.address("simps-listen"), &tls.Config{RootCAs: w.root, ServerName: "example.com", NextProtos: []string{"simp"}})
	if err != nil {
		t.Fatalf("%s: %v", n.id, err)
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
}

// The site obtains a certificate from a real ACME server by either challenge,
// though the authority asks a node that may not be the leader, and all nodes
// show clients the same one.
func TestACertificateIsObtainedByACME(t *testing.T) {
	for _, challenge := range []string{"tls-alpn-01", "http-01"} {
		t.Run(challenge, func(t *testing.T) {
			keys := makeKeys(t, "n1", "n2", "n3")
			port := netip.MustParseAddrPort(site.FreeAddress()).Port()
			httpPort := netip.MustParseAddrPort(site.FreeAddress()).Port()
			w := startACMEWorld(t, int(httpPort), int(port))
			w.zone.AddAddress("example.com", netip.MustParseAddr("127.0.0.3"))
			nodes := startACMESite(t, keys, func(host string) []string {
				args := append([]string{fmt.Sprintf("--simps-listen=%s:%d", host, port)}, w.args...)
				if challenge == "http-01" {
					args = append(args, fmt.Sprintf("--acme-http-listen=%s:%d", host, httpPort))
				}
				return args
			})
			serial := w.obtained(t, nodes[0])
			for _, n := range nodes[1:] {
				if other := w.obtained(t, n); other != serial {
					t.Errorf("%s shows the certificate %s, n1 %s", n.id, other, serial)
				}
			}
			said := succeed(t, "", "simpctl", nodes[0].operator(keys, "status")...)
			if strings.Contains(said, "ACME") {
				t.Errorf("status: %s", said)
			}
		})
	}
}

// An operator is told why there is no certificate.
func TestDoctorSaysWhyThereIsNoCertificateByACME(t *testing.T) {
	keys := makeKeys(t, "n1", "n2", "n3")
	port := netip.MustParseAddrPort(site.FreeAddress()).Port()
	w := startACMEWorld(t, 1, int(port))
	w.zone.AddAddress("example.com", netip.MustParseAddr("127.0.0.9")) // where nobody listens
	nodes := startACMESite(t, keys, func(host string) []string {
		return append([]string{fmt.Sprintf("--simps-listen=%s:%d", host, port)}, w.args...)
	})
	eventually(t, "doctor names the failure", func() bool {
		_, said := runTo(t, "", "simpctl", nodes[0].operator(keys, "doctor")...)
		return strings.Contains(said, "the certificate for example.com could not be obtained by ACME") && strings.Contains(said, "Failed to connect to 127.0.0.9")
	})
	if _, err := http.Get("http://" + nodes[0].address("http-listen") + "/readyz"); err != nil {
		t.Error(err)
	}
}
