package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"simpd/cmd/internal/cli"
	simpv1 "simpd/proto/simp/v1"
	"simpd/protocol/secretfile"
)

// callTimeout limits how long one answer takes.
const callTimeout = 20 * time.Second

// site is the connection to a node, and the services behind it.
type site struct {
	conn        *grpc.ClientConn
	accounts    simpv1.AccountServiceClient
	invitations simpv1.InviteServiceClient
	blocks      simpv1.BlockServiceClient
	reports     simpv1.ReportServiceClient
	cluster     simpv1.ClusterServiceClient
}

// connect makes the connection, once; nothing is sent before the first call.
func (a *app) connect() (*site, error) {
	if a.site != nil {
		return a.site, nil
	}
	creds, err := a.transportCredentials()
	if err != nil {
		return nil, err
	}
	options := []grpc.DialOption{grpc.WithTransportCredentials(creds), grpc.WithUserAgent("simpctl"), grpc.WithDisableServiceConfig()}
	if a.tokenFile != "" {
		token, err := a.readToken()
		if err != nil {
			return nil, err
		}
		options = append(options, grpc.WithPerRPCCredentials(token))
	}
	conn, err := grpc.NewClient("passthrough:///"+a.addr, options...)
	if err != nil {
		return nil, err
	}
	a.site = &site{conn, simpv1.NewAccountServiceClient(conn), simpv1.NewInviteServiceClient(conn), simpv1.NewBlockServiceClient(conn), simpv1.NewReportServiceClient(conn), simpv1.NewClusterServiceClient(conn)}
	return a.site, nil
}

func (a *app) hangUp() {
	if a.site != nil {
		_ = a.site.conn.Close()
	}
}

// unaryCall is for a single answer.
func unaryCall[Q, R any](ctx context.Context, method func(context.Context, Q, ...grpc.CallOption) (R, error), request Q) (R, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return method(ctx, request)
}

func (a *app) transportCredentials() (credentials.TransportCredentials, error) {
	if !cli.IsHostPort(a.addr) {
		return nil, cli.UsageErrorf("--addr %s is not HOST:PORT", a.addr)
	}
	if a.insecure {
		return a.inClear()
	}
	if a.ca == "" {
		return nil, cli.UsageErrorf("say how to reach the site: --insecure for a node on this machine that runs so, or --tls-ca with --tls-cert and --tls-key, or with --token-file")
	}
	config, err := a.tlsConfig()
	if err != nil {
		return nil, err
	}
	return credentials.NewTLS(config), nil
}

// inClear is for loopback only: what is said could be read elsewhere.
func (a *app) inClear() (credentials.TransportCredentials, error) {
	switch {
	case a.ca != "" || a.cert != "" || a.key != "" || a.tokenFile != "":
		return nil, cli.UsageErrorf("--insecure speaks in clear; leave it out, or the TLS files and the token")
	case !isLoopback(a.addr):
		return nil, cli.UsageErrorf("--insecure is for a node on this machine, and %s is not; use --tls-ca, --tls-cert and --tls-key", a.addr)
	}
	return insecure.NewCredentials(), nil
}

func isLoopback(addr string) bool {
	host, _, _ := net.SplitHostPort(addr)
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}

func (a *app) tlsConfig() (*tls.Config, error) {
	roots, err := secretfile.LoadRoots(a.ca)
	if err != nil {
		return nil, fmt.Errorf("--tls-ca: %w", err)
	}
	config := &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: roots}
	host, _, _ := net.SplitHostPort(a.addr)
	verifyNode(config, host)
	config.Certificates, err = a.ownCertificate()
	return config, err
}

// ownCertificate says who the operator is, if no token does.
func (a *app) ownCertificate() ([]tls.Certificate, error) {
	switch {
	case (a.cert == "") != (a.key == ""):
		return nil, cli.UsageErrorf("--tls-cert and --tls-key belong together")
	case a.cert == "" && a.tokenFile == "":
		return nil, cli.UsageErrorf("say who you are: --tls-cert and --tls-key, or --token-file")
	case a.cert == "":
		return nil, nil
	}
	own, err := secretfile.LoadPair(a.cert, a.key)
	if err != nil {
		return nil, fmt.Errorf("--tls-cert, --tls-key: %w", err)
	}
	return []tls.Certificate{own}, nil
}

// verifyNode accepts a server that the site's authority calls one of its
// nodes, by whatever name it was reached, or that is certified for that name.
func verifyNode(config *tls.Config, host string) {
	config.InsecureSkipVerify = true // VerifyConnection does it all
	config.VerifyConnection = func(s tls.ConnectionState) error {
		if len(s.PeerCertificates) == 0 {
			return errors.New("the node shows no certificate")
		}
		leaf, between := s.PeerCertificates[0], x509.NewCertPool()
		for _, c := range s.PeerCertificates[1:] {
			between.AddCert(c)
		}
		_, err := leaf.Verify(x509.VerifyOptions{Roots: config.RootCAs, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
		if err != nil || isNode(leaf) {
			return err
		}
		return leaf.VerifyHostname(host)
	}
}

// isNode reports whether a certificate names simp://SITE/node/ID.
func isNode(c *x509.Certificate) bool {
	for _, u := range c.URIs {
		if u.Scheme == "simp" && strings.HasPrefix(u.Path, "/node/") {
			return true
		}
	}
	return false
}

// bearer is a token that goes with each call, over TLS only.
type bearer string

func (a *app) readToken() (bearer, error) {
	b, err := secretfile.Read(a.tokenFile)
	if err != nil {
		return "", fmt.Errorf("--token-file: %w", err)
	}
	return bearer(strings.TrimSpace(string(b))), nil
}

// GetRequestMetadata puts the token into a call.
func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(b)}, nil
}

// RequireTransportSecurity keeps the token from being sent in clear.
func (b bearer) RequireTransportSecurity() bool { return true }
