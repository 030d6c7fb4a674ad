package client_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"testing"

	"simpd/protocol/client"
	"simpd/protocol/internal/outbound/outboundtest"
)

// site is a server played by the test: it has each connection that the client
// makes handed to the test, which says the server's part itself.
type site struct {
	t       *testing.T
	conns   chan *outboundtest.Peer
	refuse  chan error // what Dial returns instead, if something is in it
	dialled []string
	pipe    func() (here, there net.Conn)
	cert    tls.Certificate
	roots   *x509.CertPool
}

func newSite(t *testing.T) *site {
	s := &site{t: t, conns: make(chan *outboundtest.Peer, 16), refuse: make(chan error, 16), pipe: net.Pipe}
	s.cert, s.roots = certificate(t, "example.com")
	return s
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
	s.conns <- outboundtest.NewPeer(s.t, there)
	return here, nil
}

func (s *site) config() client.Config {
	return client.Config{
		User: address(s.t, "alice@example.com"), Password: outboundtest.Password,
		Server: "simp.example.net:7467", Security: client.Plaintext, Dial: s.dial,
		TLS: &tls.Config{RootCAs: s.roots},
	}
}

// open has the client connect while play says the server's part of it.
func (s *site) open(config client.Config, play func(p *outboundtest.Peer)) (*client.Client, *outboundtest.Peer) {
	s.t.Helper()
	opened := make(chan *outboundtest.Peer, 1)
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

func certificate(t *testing.T, names ...string) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	cert := outboundtest.NewCertificate(t, false, names...)
	roots := x509.NewCertPool()
	roots.AddCert(cert.Leaf)
	return cert, roots
}

var address = outboundtest.ParseAddress
