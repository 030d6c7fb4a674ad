package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"simpd/cluster/api"
	"simpd/cluster/link/pki"

	simpv1 "simpd/proto/simp/v1"
)

func TestWhoIsKnownByCertificateOrToken(t *testing.T) {
	s := newSecured(t)
	ctx, none := t.Context(), s.dial(t, s.dir, "")
	for _, c := range []struct {
		what string
		ctx  context.Context
		conn *grpc.ClientConn
		want codes.Code
	}{
		{"a certificate with the role", ctx, s.dial(t, s.dir, "service-desk"), codes.OK},
		{"a certificate with another role", ctx, s.dial(t, s.dir, "service-pager"), codes.PermissionDenied},
		{"a certificate without roles", ctx, s.dial(t, s.dir, "service-idle"), codes.Unauthenticated},
		{"a node's certificate", ctx, s.dial(t, s.dir, "node-n1"), codes.Unauthenticated},
		{"nothing", ctx, none, codes.Unauthenticated},
		{"a token with the role", withToken(ctx, "Bearer "+deskToken), none, codes.OK},
		{"a token with another role", withToken(ctx, "bearer "+pagerToken), none, codes.PermissionDenied},
		{"a token nobody has", withToken(ctx, "Bearer "+strings.Repeat("x", 40)), none, codes.Unauthenticated},
		{"half a token", withToken(ctx, "Bearer "+deskToken[:20]), none, codes.Unauthenticated},
		{"two tokens", withToken(ctx, "Bearer "+deskToken, "Bearer "+deskToken), none, codes.Unauthenticated},
		{"no token at all", withToken(ctx, "Basic "+deskToken), none, codes.Unauthenticated},
	} {
		if err := get(c.ctx, c.conn); status.Code(err) != c.want {
			t.Errorf("%s: %v, want %v", c.what, err, c.want)
		}
	}
	var seen []string
	for _, c := range s.secure.ProgramCertificates() {
		seen = append(seen, c.Program)
	}
	if !slices.Equal(seen, []string{"desk", "pager"}) {
		t.Errorf("certificates were seen of %v", seen)
	}
}

func TestACertificateOfAnotherAuthorityIsRefused(t *testing.T) {
	s, other := newSecured(t), t.TempDir()
	for _, site := range []string{"example.com", "other.example"} {
		dir := filepath.Join(other, site)
		if _, err := pki.Make(pki.Order{Dir: dir, Site: site, Services: []pki.ServiceOrder{{Name: "desk", Roles: pki.AllRoles()}}}); err != nil {
			t.Fatal(err)
		}
		if err := get(t.Context(), s.dial(t, dir, "service-desk")); status.Code(err) != codes.Unavailable {
			t.Errorf("of another authority of %s: %v", site, err)
		}
	}
}

func TestTokensAreTakenBackWhileAWatchRuns(t *testing.T) {
	s := newSecured(t)
	watch := func(token string) grpc.ServerStreamingClient[simpv1.WatchResponse] {
		stream, err := simpv1.NewPresenceServiceClient(s.dial(t, s.dir, "")).Watch(withToken(t.Context(), "Bearer "+token), &simpv1.WatchRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Recv(); err != nil { // synced
			t.Fatal(err)
		}
		return stream
	}
	const next = "desk-token-new-desk-token-new-desk"
	s.writeTokens(t, tokenLine("desk", deskToken, "role=presence:read")+tokenLine("desk", next, "role=presence:read"))
	if err := s.tokens.Reload(); err != nil {
		t.Fatal(err)
	}
	before, after := watch(deskToken), watch(next)
	s.writeTokens(t, "desk nonsense\n")
	if err := s.tokens.Reload(); err == nil {
		t.Fatal("a file that makes no sense was taken")
	}
	s.writeTokens(t, tokenLine("desk", next, "role=presence:read"))
	if err := s.tokens.Reload(); err != nil {
		t.Fatal(err)
	}
	s.testSite.listen("alice@example.com", available, "")
	_, err := before.Recv()
	wantReason(t, err, codes.Unauthenticated, "CREDENTIALS_INVALID")
	if _, err := after.Recv(); err != nil {
		t.Errorf("with the new token: %v", err)
	}
}

func TestATokenThatHasEnded(t *testing.T) {
	s := newSecured(t)
	s.writeTokens(t, strings.TrimSpace(tokenLine("desk", deskToken, "role=presence:read"))+" until="+time.Now().Add(-time.Minute).Format(time.RFC3339)+"\n")
	if err := s.tokens.Reload(); err != nil {
		t.Fatal(err)
	}
	wantReason(t, get(withToken(t.Context(), "Bearer "+deskToken), s.dial(t, s.dir, "")), codes.Unauthenticated, "CREDENTIALS_EXPIRED")
}

func TestATokenFileThatGroupOrOthersUseIsRefused(t *testing.T) {
	for mode, ok := range map[os.FileMode]bool{0o600: true, 0o400: true, 0o640: false, 0o620: false, 0o644: false, 0o602: false} {
		file := filepath.Join(t.TempDir(), "tokens")
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
		_, err := api.LoadTokens(file)
		if (err == nil) != ok || err != nil && !strings.Contains(err.Error(), "chmod 600") {
			t.Errorf("mode %v: %v", mode, err)
		}
	}
}

func TestWithoutTLSOnlyLoopbackMayDoAnything(t *testing.T) {
	s := newSite(t)
	l := &elsewhere{Listener: listenTCP(t)}
	server, served := api.New(s.config), make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	defer func() { server.Shutdown(t.Context()); <-served }()
	conn := dialInClear(t, l.Addr().String())
	wantReason(t, get(t.Context(), conn), codes.Unauthenticated, "LOCAL_ONLY")
	l.local()
	if err := get(t.Context(), dialInClear(t, l.Addr().String())); err != nil {
		t.Errorf("from loopback: %v", err)
	}
}

// elsewhere is a listener whose connections come from another machine.
type elsewhere struct {
	net.Listener
	mu  sync.Mutex
	own bool
}

func (l *elsewhere) local() { l.mu.Lock(); defer l.mu.Unlock(); l.own = true }

func (l *elsewhere) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil || l.own {
		return c, err
	}
	return remoteConn{c}, nil
}

type remoteConn struct{ net.Conn }

func (remoteConn) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 5000} }

func TestEachChangeLeavesARecord(t *testing.T) {
	var log safeBuffer
	s := newSite(t, func(c *api.Config) { c.Logger = slog.New(slog.NewJSONHandler(&log, nil)) })
	ctx := t.Context()
	s.accounts.Create(ctx, &simpv1.CreateAccountRequest{Ima: "Alice@example.com", Credential: password("canary-password")})
	s.accounts.Create(ctx, &simpv1.CreateAccountRequest{Ima: "bad\n\x1b[31m", Credential: password("canary-password")})
	s.accounts.Disable(ctx, &simpv1.DisableAccountRequest{Ima: "nobody@example.com"})
	importAll(t, s, []*simpv1.ImportedAccount{{Ima: "bob@example.com", Credential: password("canary-password")}})
	s.cluster.RemoveNode(ctx, &simpv1.RemoveNodeRequest{Node: "n3"})
	s.cluster.AdmitNode(ctx, &simpv1.AdmitNodeRequest{Node: "n3"})
	s.cluster.TransferLeadership(ctx, &simpv1.TransferLeadershipRequest{})
	s.cluster.KickSession(ctx, &simpv1.KickSessionRequest{Target: &simpv1.KickSessionRequest_Ima{Ima: "alice@example.com"}})
	s.accounts.List(ctx, &simpv1.ListAccountsRequest{})
	want := []string{
		"AccountService/Create alice@example.com OK",
		"AccountService/Create bad\n\x1b[31m InvalidArgument",
		"AccountService/Disable nobody@example.com NotFound",
		"AccountService/Import 1 created, 0 replaced, 0 unchanged OK",
		"ClusterService/RemoveNode n3 OK",
		"ClusterService/AdmitNode n3 OK",
		"ClusterService/TransferLeadership n2 OK",
		"ClusterService/KickSession alice@example.com OK",
	}
	text := log.String()
	if strings.Contains(text, "canary") || strings.Contains(text, "\x1b") {
		t.Errorf("the log holds what it must not:\n%s", text)
	}
	var got []string
	for line := range strings.Lines(text) {
		var r struct {
			Audit struct{ Who, What, Whom, Outcome string }
		}
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		if r.Audit.Who != "local" {
			t.Errorf("%q did it", r.Audit.Who)
		}
		got = append(got, r.Audit.What+" "+r.Audit.Whom+" "+r.Audit.Outcome)
	}
	if strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
}

// safeBuffer is a buffer for several goroutines.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
