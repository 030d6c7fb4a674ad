package server

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// certificate makes one that is valid for names, signed by itself.
func certificate(t testing.TB, names ...string) tls.Certificate {
	t.Helper()
	return certificateUntil(t, time.Now().Add(time.Hour), names...)
}

func certificateUntil(t testing.TB, end time.Time, names ...string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	of := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: names[0]}, DNSNames: names,
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: end,
	}
	der, err := x509.CreateCertificate(rand.Reader, of, of, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// trusting is a client's configuration that trusts c for example.com.
func trusting(c tls.Certificate) *tls.Config {
	roots := x509.NewCertPool()
	roots.AddCert(c.Leaf)
	return &tls.Config{RootCAs: roots, ServerName: "example.com", NextProtos: []string{"simp"}}
}

// harbour is a server on real sockets.
type harbour struct {
	*testing.T
	site    *site
	server  *Server
	trusted *tls.Config
	plain   string // addresses
	tls     string
}

func newHarbour(t *testing.T, set func(*Config)) *harbour {
	t.Helper()
	cert := certificate(t, "example.com")
	h := &harbour{T: t, site: newSite(t, "alice", "bob", "carol"), trusted: trusting(cert)}
	c := Config{Backend: h.site, Domains: []string{"example.com"}, Certificates: NewCertificates(cert), Logger: silent()}
	if set != nil {
		set(&c)
	}
	var err error
	if h.server, err = New(c); err != nil {
		t.Fatal(err)
	}
	h.plain = h.serve(h.server.Serve)
	if c.Certificates != nil {
		h.tls = h.serve(h.server.ServeTLS)
	}
	return h
}

func (h *harbour) serve(serve func(net.Listener) error) (address string) {
	return h.serveOn(listenPlain(h.T), serve)
}

// listenPlain is a listener that is no multipath one, as a node's is.
func listenPlain(t testing.TB) net.Listener {
	t.Helper()
	var plain net.ListenConfig
	plain.SetMultipathTCP(false)
	l, err := plain.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func (h *harbour) serveOn(l net.Listener, serve func(net.Listener) error) (address string) {
	ended := make(chan error, 1)
	go func() { ended <- serve(l) }()
	h.Cleanup(func() {
		if err := h.server.Shutdown(context.Background()); err != nil {
			h.Error(err)
		}
		if err := <-ended; err != ErrClosed {
			h.Errorf("serving ended with %v", err)
		}
	})
	return l.Addr().String()
}

func (h *harbour) client(c net.Conn, err error) *client {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() { _ = c.Close() })
	return &client{h.T, c, bufio.NewReaderSize(c, 128<<10)}
}

func (h *harbour) dial() *client {
	h.Helper()
	c := h.client(net.Dial("tcp", h.plain))
	c.expect("* HELLO version=SIMP/1.1 domain=example.com")
	return c
}

func (h *harbour) dialTLS() *client {
	h.Helper()
	c := h.client(tls.Dial("tcp", h.tls, h.trusted))
	c.expect("* HELLO version=SIMP/1.1 domain=example.com")
	return c
}

func TestTLSFromTheFirstOctet(t *testing.T) {
	h := newHarbour(t, nil)
	c := h.dialTLS()
	c.send("1 HELLO version=SIMP/1.0")
	c.expect("1 200 version=SIMP/1.0 domain=example.com size=65536 idle=300 auth=SCRAM-SHA-256-PLUS,SCRAM-SHA-256,PLAIN history=8f3a tls=on")
	c.send("2 STARTTLS")
	c.expect("2 409 :TLS is on already")
	c.send("3 AUTH mech=PLAIN data=%s", plainData("alice", "secret"))
	c.expect("3 200 ima=alice@example.com")
	c.send("4 QUIT")
	c.expect("4 200")
	c.expectEnd()
}

func TestSTARTTLS(t *testing.T) {
	h := newHarbour(t, nil)
	c := h.dial()
	c.send("1 HELLO version=SIMP/1.0")
	c.expect("1 200 version=SIMP/1.0 domain=example.com size=65536 idle=300 auth=SCRAM-SHA-256 history=8f3a tls=starttls")
	c.send("2 AUTH mech=PLAIN data=%s", plainData("alice", "secret"))
	c.expect("2 421 :<rest>")
	c.send("3 AUTH mech=SCRAM-SHA-256-PLUS")
	c.expect("3 400 :<rest>")
	c.write("4 PING\r\n5 STARTTLS\r\n") // in one: the answers may be gathered
	c.expect("4 200")
	c.expect("5 200")
	sealed := tls.Client(c.Conn, h.trusted)
	if err := sealed.Handshake(); err != nil {
		t.Fatal(err)
	}
	c = h.client(sealed, nil)
	c.send("1 LISTEN")
	c.expect("1 409 :HELLO comes first") // all is forgotten
	c.send("2 HELLO version=SIMP/1.0")
	c.expect("2 200 <rest> tls=on")
	c.send("3 AUTH mech=PLAIN data=%s", plainData("alice", "secret"))
	c.expect("3 200 ima=alice@example.com")
	c.send("4 STARTTLS")
	c.expect("4 409 :TLS is on already")
}

// What came before TLS is not done after it.
func TestNothingInClearOutlivesSTARTTLS(t *testing.T) {
	h := newHarbour(t, nil)
	c := h.dial()
	c.write("1 STARTTLS\r\n2 PING\r\n")
	c.expect("* BYE status=400 :something follows STARTTLS in clear")
	c.expectEnd()

	c = h.dial()
	c.send("1 STARTTLS")
	c.expect("1 200")
	c.send("2 PING")
	c.expectNoPlaintext()
}

// A HELLO whose domain takes long to parse is answered before the STARTTLS
// behind it, and not after the handshake.
func TestHELLOIsAnsweredBeforeSTARTTLS(t *testing.T) {
	h := newHarbour(t, nil)
	for range cap(h.server.idn) {
		h.server.idn <- struct{}{} // whatever else is parsed
	}
	c := h.dial()
	c.write("1 HELLO version=SIMP/1.1 domain=b\u00fccher.example\r\n2 STARTTLS\r\n")
	c.expect("1 403 :xn--bcher-kva.example is not a domain of this site")
	c.expect("2 200")
}

// expectNoPlaintext sees the connection end without a line of SIMP. (An alert
// of TLS's may come.)
func (c *client) expectNoPlaintext() {
	c.Helper()
	_ = c.SetReadDeadline(time.Now().Add(handshakeTimeout))
	for {
		line, err := c.in.ReadString('\n')
		if ne, ok := err.(net.Error); ok && ne.Timeout() {
			c.Fatal("the connection is still open")
		}
		if len(line) > 7 {
			c.Fatalf("got %q", line)
		}
		if err != nil {
			return
		}
	}
}

// TLS of this time only, and no other protocol's name.
func TestTLSVersionsAndALPN(t *testing.T) {
	h := newHarbour(t, nil)
	for name, change := range map[string]func(*tls.Config){
		"TLS 1.1": func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 },
		"no AEAD": func(c *tls.Config) {
			c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}
		},
		"the ALPN http/1.1": func(c *tls.Config) { c.NextProtos = []string{"http/1.1"} },
	} {
		c := h.trusted.Clone()
		change(c)
		if conn, err := tls.Dial("tcp", h.tls, c); err == nil {
			_ = conn.Close()
			t.Errorf("the handshake with %s succeeded", name)
		}
	}
	none := h.trusted.Clone()
	none.NextProtos = nil
	c := h.client(tls.Dial("tcp", h.tls, none))
	c.expect("* HELLO <rest>")
}

func TestCertificatesBySNIAndReload(t *testing.T) {
	dir := t.TempDir()
	names := []string{"example.com", "example.org"}
	var certs, keys []string
	for _, name := range names {
		certs = append(certs, filepath.Join(dir, name+".crt"))
		keys = append(keys, filepath.Join(dir, name+".key"))
		writePair(t, certificate(t, name), certs[len(certs)-1], keys[len(keys)-1])
	}
	all, err := LoadCertificates(certs, keys)
	if err != nil {
		t.Fatal(err)
	}
	h := newHarbour(t, func(c *Config) { c.Certificates = all })
	serial := func(name string) string {
		c, err := tls.Dial("tcp", h.tls, &tls.Config{ServerName: name, InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		leaf := c.ConnectionState().PeerCertificates[0]
		return leaf.DNSNames[0] + leaf.SerialNumber.String()
	}
	before := serial("example.org")
	if before[:11] != "example.org" || serial("example.com")[:11] != "example.com" {
		t.Error("a certificate is not chosen by its name")
	}
	if serial("nobody.example") != serial("example.com") {
		t.Error("an unknown name is not answered with the first certificate")
	}
	writePair(t, certificate(t, "example.org"), certs[1], keys[1])
	if err := all.Reload(); err != nil {
		t.Fatal(err)
	}
	after := serial("example.org")
	if after == before {
		t.Error("the new certificate is not used")
	}
	if err := os.WriteFile(certs[1], []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := all.Reload(); err == nil {
		t.Error("nonsense was loaded")
	}
	if serial("example.org") != after {
		t.Error("a certificate that can't be loaded replaced one that could")
	}
}

// A valid certificate is shown rather than an expired one for the same name.
func TestAnExpiredCertificateIsTheLastChoice(t *testing.T) {
	old := certificateUntil(t, time.Now().Add(-time.Minute), "example.com")
	good, other := certificate(t, "example.com"), certificate(t, "example.org")
	oldOther := certificateUntil(t, time.Now().Add(-time.Minute), "example.net")
	c := NewCertificates(old, oldOther, good, other)
	for name, want := range map[string]*x509.Certificate{
		"example.com": good.Leaf, "example.org": other.Leaf, "example.net": oldOther.Leaf, "nobody.example": good.Leaf,
	} {
		got, err := c.getCertificate(&tls.ClientHelloInfo{
			ServerName: name, SupportedVersions: []uint16{tls.VersionTLS13}, SignatureSchemes: []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256},
		})
		if err != nil || got.Leaf != want {
			t.Errorf("%s: %v, %v", name, got.Leaf.DNSNames, err)
		}
	}
	if c.For("example.com").Leaf != good.Leaf || c.For("example.net").Leaf != oldOther.Leaf || c.For("nobody.example") != nil {
		t.Error("another site is shown a worse certificate than there is")
	}
}

func writePair(t *testing.T, c tls.Certificate, cert, key string) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		cert: {Type: "CERTIFICATE", Bytes: c.Certificate[0]},
		key:  {Type: "PRIVATE KEY", Bytes: der},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
