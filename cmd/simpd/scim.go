package main

import (
	"context"
	"crypto/tls"
	"net/http"
	"time"

	"simpd/cluster/api"
	"simpd/cluster/console"
	"simpd/cluster/scim"
	"simpd/protocol/httphost"
)

// newSCIMServer answers identity providers. It answers to names alone.
func newSCIMServer(names httphost.Names, accounts *api.Provisioner) *http.Server {
	return &http.Server{
		Handler:                      names.Handler(scim.NewHandler(accounts)),
		ReadHeaderTimeout:            5 * time.Second,
		ReadTimeout:                  30 * time.Second,
		WriteTimeout:                 60 * time.Second,
		IdleTimeout:                  2 * time.Minute,
		MaxHeaderBytes:               16 << 10,
		DisableGeneralOptionsHandler: true, // it would answer any Host
	}
}

// serveSCIM serves identity providers, over TLS unless the listener is on loopback.
func (n *node) serveSCIM(programs *api.Server) {
	l := n.sockets["scim-listen"]
	if l == nil {
		return
	}
	l = console.LimitListener(l)
	if !isLoopback(n.conf.scim) {
		l = tls.NewListener(l, n.scimTLS())
	}
	n.scim = newSCIMServer(httphost.New(n.conf.hostNames()...), programs.Provisioner())
	n.serveListener("scim-listen", func() error { return ignoreClosed(n.scim.Serve(l)) })
}

// scimStopTime is how long requests that have begun may take at a shutdown.
const scimStopTime = 2 * time.Second

// stopSCIM stops a server. It returns when no connection is left.
func stopSCIM(ctx context.Context, s *http.Server) {
	ctx, cancel := context.WithTimeout(ctx, scimStopTime)
	defer cancel()
	if s.Shutdown(ctx) != nil {
		_ = s.Close()
	}
}

// ignoreClosed returns nil for the end that Close brings about.
func ignoreClosed(err error) error {
	if err == http.ErrServerClosed {
		return nil
	}
	return err
}

func (n *node) scimTLS() *tls.Config {
	c := n.certificates.TLSConfig()
	c.NextProtos = []string{"http/1.1"}
	return c
}

// checkSCIM refuses a listener that would be open to others, or to nobody.
func (v *validator) checkSCIM() {
	if v.scim == "" {
		return
	}
	if len(v.tlsCerts) == 0 && len(v.acme.domains) == 0 && !isLoopback(v.scim) { // on loopback, a proxy has the certificate
		v.addProblem("scim-listen", "%s is not loopback, so a certificate is required: set tls-cert and tls-key, or acme-domain", v.scim)
	}
	if v.tokens == "" {
		v.addProblem("scim-listen", "identity providers need a token: set token-file, with a token of the role account:admin")
	}
}
