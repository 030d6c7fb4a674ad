package client_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/xdg-go/scram"

	"simpd/protocol"
	"simpd/protocol/client"
)

// site is a server played by the test: it has each connection that the client
// makes handed to the test, which says the server's part itself.
type site struct {
	t       *testing.T
	conns   chan *peer
	refuse  chan error // what Dial returns instead, if something is in it
	dialled []string
	pipe    func() (here, there net.Conn)
	cert    tls.Certificate
	roots   *x509.CertPool
}

const password = "correct horse"

func newSite(t *testing.T) *site {
	s := &site{t: t, conns: make(chan *peer, 16), refuse: make(chan error, 16), pipe: net.Pipe}
	s.cert, s.roots = certificate(t, "example.com")
	return s
}

func certificate(t *testing.T, names ...string) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, DNSNames: names,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(1000 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots
}

// dial is the client's way to the site.
func (s *site) dial(_ context.Context, _, address string) (net.Conn, error) {
	s.dialled = append(s.dialled, address)
	select {
	case err := <-s.refuse:
		return nil, err
	default:
	}
	here, there := s.pipe()
	s.conns <- &peer{t: s.t, conn: there, r: bufio.NewReader(there)}
	return here, nil
}

func (s *site) config() client.Config {
	return client.Config{
		User: address(s.t, "alice@example.com"), Password: password,
		Server: "simp.example.net:7467", Security: client.Plaintext, Dial: s.dial,
		TLS: &tls.Config{RootCAs: s.roots},
	}
}

// open has the client connect while play says the server's part of it.
func (s *site) open(config client.Config, play func(p *peer)) (*client.Client, *peer) {
	s.t.Helper()
	opened := make(chan *peer, 1)
	go func() {
		p := <-s.conns
		play(p)
		opened <- p
	}()
	c, err := client.Open(context.Background(), config)
	if err != nil {
		s.t.Fatal(err)
	}
	return c, <-opened
}

// peer is the server's end of one connection.
type peer struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
}

func (p *peer) say(format string, args ...any) {
	p.t.Helper()
	if _, err := fmt.Fprintf(p.conn, format+"\r\n", args...); err != nil {
		p.t.Errorf("saying %q: %v", fmt.Sprintf(format, args...), err)
	}
}

// hear returns the next line.
func (p *peer) hear() string {
	p.t.Helper()
	line, err := p.r.ReadString('\n')
	if err != nil {
		p.t.Errorf("hearing: %q, %v", line, err)
	}
	return strings.TrimSuffix(line, "\r\n")
}

// want hears a request, and returns its tag.
func (p *peer) want(request string) (tag string) {
	p.t.Helper()
	tag, got, _ := strings.Cut(p.hear(), " ")
	if got != request {
		p.t.Errorf("heard %q, want %q", got, request)
	}
	return tag
}

// answer hears a request and answers it, with one line or several.
func (p *peer) answer(request, response string) {
	p.t.Helper()
	p.respond(p.want(request), response)
}

func (p *peer) respond(tag, response string) {
	p.t.Helper()
	for line := range strings.SplitSeq(response, "\n") {
		p.say("%s %s", tag, line)
	}
}

// body hears the octets of a literal.
func (p *peer) body(want string) {
	p.t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(p.r, got); err != nil || string(got) != want {
		p.t.Errorf("heard %q, %v; want %q", got, err, want)
	}
}

// gone hears that the client has closed the connection.
func (p *peer) gone() {
	p.t.Helper()
	if line, err := p.r.ReadString('\n'); !errors.Is(err, io.EOF) {
		p.t.Errorf("heard %q, %v; want the end", line, err)
	}
	_ = p.conn.Close()
}

// quit plays the end that the client wants.
func (p *peer) quit() {
	p.t.Helper()
	p.answer("QUIT", "200")
	_ = p.conn.Close()
}

const helloAnswer = "200 version=SIMP/1.0 domain=example.com size=65536 idle=300 auth=%s history=h1"

// login plays all up to the end of AUTH.
func (p *peer) login() { p.loginBy("PLAIN") }

func (p *peer) loginBy(offer string) {
	p.t.Helper()
	p.say("* HELLO version=SIMP/1.0 domain=example.com")
	p.answer("HELLO version=SIMP/1.0", fmt.Sprintf(helloAnswer, offer))
	if offer == "PLAIN" {
		data := base64.StdEncoding.EncodeToString([]byte("\x00alice@example.com\x00" + password))
		p.answer("AUTH mech=PLAIN data="+data, "200 ima=alice@example.com")
	}
}

// startTLS plays STARTTLS and the handshake.
func (p *peer) startTLS(cert tls.Certificate) error {
	p.t.Helper()
	p.say("* HELLO version=SIMP/1.0 domain=example.com")
	p.answer("STARTTLS", "200")
	return p.handshake(cert)
}

func (p *peer) handshake(cert tls.Certificate) error {
	conn := tls.Server(p.conn, &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"simp"}})
	p.conn, p.r = conn, bufio.NewReader(conn)
	return conn.Handshake()
}

// scram plays a server that knows the password's verifier, or a wrong one.
func (p *peer) scram(mech, known string) {
	p.t.Helper()
	c, err := protocol.NewCredentials(known, []byte("0123456789abcdef"), 4096)
	if err != nil {
		p.t.Fatal(err)
	}
	server, err := scram.SHA256.NewServer(func(string) (scram.StoredCredentials, error) {
		return scram.StoredCredentials{KeyFactors: scram.KeyFactors{Salt: string(c.Salt), Iters: c.Iterations}, StoredKey: c.StoredKey, ServerKey: c.ServerKey}, nil
	})
	if err != nil {
		p.t.Fatal(err)
	}
	talk := server.NewConversation()
	if mech == "SCRAM-SHA-256-PLUS" {
		state := p.conn.(*tls.Conn).ConnectionState()
		binding, err := scram.NewTLSExporterBinding(&state)
		if err != nil {
			p.t.Fatal(err)
		}
		talk = server.NewConversationWithChannelBindingRequired(binding)
	}
	tag, first, _ := strings.Cut(p.hear(), " AUTH mech="+mech+" data=")
	p.say("%s 101 data=%s", tag, p.step(talk, first))
	final := p.hear()
	_, final, _ = strings.Cut(final, "MORE data=")
	p.say("%s 200 ima=alice@example.com data=%s", tag, p.step(talk, final))
}

func (p *peer) step(talk *scram.ServerConversation, data string) string {
	p.t.Helper()
	said, err := base64.StdEncoding.DecodeString(data)
	if err != nil {
		p.t.Errorf("%q is no base64", data)
	}
	answer, err := talk.Step(string(said))
	if err != nil {
		p.t.Logf("SCRAM: %v", err)
	}
	return base64.StdEncoding.EncodeToString([]byte(answer))
}

func address(t testing.TB, s string) protocol.Address {
	t.Helper()
	a, err := protocol.ParseAddress(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// loopback makes a pair of connected sockets, which have buffers: where both
// sides speak at once, as in a handshake that fails, a pipe would get stuck.
func loopback(t *testing.T) func() (here, there net.Conn) {
	return func() (here, there net.Conn) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if here, err = net.Dial("tcp", l.Addr().String()); err != nil {
			t.Fatal(err)
		}
		if there, err = l.Accept(); err != nil {
			t.Fatal(err)
		}
		return here, there
	}
}
