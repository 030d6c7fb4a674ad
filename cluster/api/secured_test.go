package api_test

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"net"
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"

	"simpd/cluster/api"
	"simpd/cluster/link/pki"

	simpv1 "simpd/proto/simp/v1"
)

// secured is a node with TLS on a loopback port, and the certificates of its site.
type secured struct {
	*testSite
	dir, addr string
	tokens    *api.Tokens
	secure    *api.Server // listens at addr
}

const deskToken, pagerToken = "desk-token-desk-token-desk-token-", "pager-token-pager-token-pager-tok"

func newSecured(t *testing.T, change ...func(*api.Config)) *secured {
	t.Helper()
	dir := t.TempDir()
	_, err := pki.Make(pki.Order{Dir: dir, Site: "example.com", Nodes: []pki.NodeOrder{{ID: "n1"}}, Services: []pki.ServiceOrder{
		{Name: "desk", Roles: []string{pki.RolePresenceRead}},
		{Name: "pager", Roles: []string{pki.RoleMessageSend}, As: []string{"pager@example.com", "@example.org"}},
		{Name: "idle"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	identity, err := pki.Load(filepath.Join(dir, "ca.crt"), filepath.Join(dir, "node-n1.crt"), filepath.Join(dir, "node-n1.key"))
	if err != nil {
		t.Fatal(err)
	}
	s := &secured{dir: dir}
	s.writeTokens(t, tokenLine("desk", deskToken, "role=presence:read")+tokenLine("pager", pagerToken, "role=message:send as=pager@example.com"))
	if s.tokens, err = api.LoadTokens(filepath.Join(dir, "tokens")); err != nil {
		t.Fatal(err)
	}
	s.testSite = newSite(t, append(change, func(c *api.Config) { c.TLS, c.Tokens = identity.Programs("h2"), s.tokens })...)
	s.listenTLS(t)
	return s
}

func (s *secured) listenTLS(t *testing.T) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = l.Addr().String()
	server, served := api.New(s.config), make(chan error, 1)
	s.secure = server
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() {
		server.Shutdown(context.Background())
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
}

func tokenLine(name, token, roles string) string {
	sum := sha256.Sum256([]byte(token))
	return name + " sha256:" + hex.EncodeToString(sum[:]) + " " + roles + "\n"
}

func (s *secured) writeTokens(t *testing.T, lines string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, "tokens"), []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
}

// tlsConfig is for a client with the certificate of that name in dir, "" being
// none.
func (s *secured) tlsConfig(t *testing.T, dir, name string) *tls.Config {
	t.Helper()
	pem, err := os.ReadFile(filepath.Join(s.dir, "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	c := &tls.Config{RootCAs: x509.NewCertPool(), ServerName: "localhost"}
	c.RootCAs.AppendCertsFromPEM(pem)
	if name != "" {
		pair, err := tls.LoadX509KeyPair(filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key"))
		if err != nil {
			t.Fatal(err)
		}
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	}
	return c
}

// dial connects with the certificate of that name in dir, "" being none.
func (s *secured) dial(t *testing.T, dir, name string) *grpc.ClientConn {
	t.Helper()
	c := s.tlsConfig(t, dir, name)
	conn, err := grpc.NewClient("passthrough:///"+s.addr, grpc.WithTransportCredentials(credentials.NewTLS(c)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func get(ctx context.Context, conn *grpc.ClientConn) error {
	_, err := simpv1.NewPresenceServiceClient(conn).Get(ctx, &simpv1.GetRequest{Ima: []string{"a@example.com"}})
	return err
}

func withToken(ctx context.Context, values ...string) context.Context {
	for _, v := range values {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", v)
	}
	return ctx
}
