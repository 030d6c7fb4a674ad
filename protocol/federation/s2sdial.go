package federation

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"time"

	"simpd/protocol"
	"simpd/protocol/internal/outbound"
)

// Timeouts of connecting to another site.
const (
	reachTimeout = 9 * time.Second // in total, so that a client that waits 10 s receives an answer
	tcpTimeout   = 3 * time.Second // for TCP to one target
	helloTimeout = 5 * time.Second // for TLS and HELLO there
)

// connect connects to w.remote's home server for w.local, up to HELLO. The
// certificate must be valid for w.remote, whatever name led there.
func (r *Relay) connect(ctx context.Context, w domainPair) (*outbound.Conn, error) {
	targets, private, err := r.targets(ctx, w.remote)
	if err != nil {
		return nil, err
	}
	open := func(conn net.Conn, t outbound.Target) (*outbound.Conn, error) {
		o := outbound.NewConn(conn, t)
		ctx, cancel := context.WithTimeout(ctx, helloTimeout)
		defer cancel()
		if err := o.WithDeadline(ctx, func() error { return r.handshake(ctx, o, w) }); err != nil {
			return nil, &outbound.TargetError{Target: t, Err: err}
		}
		return o, nil
	}
	return r.connector(w.remote, private).ConnectAny(ctx, targets, open, func(error) bool { return false })
}

func (r *Relay) connector(other string, private bool) *outbound.Connector {
	return &outbound.Connector{Resolver: r.dns.forDomain(other), Dial: r.config.Dial, AllowPrivate: private, Timeout: tcpTimeout, Running: &r.wg}
}

// targets returns the targets of a remote domain, and whether they may have
// private addresses.
func (r *Relay) targets(ctx context.Context, other string) (targets []outbound.Target, private bool, err error) {
	route := r.config.Federation().Routes[other]
	if route != "" && route != protocol.ByDNS {
		t, err := outbound.ParseTarget(route, outbound.AutoTLS)
		return []outbound.Target{t}, true, err
	}
	targets, err = outbound.Discover(ctx, r.dns.forDomain(other), other)
	return targets[:min(len(targets), outbound.MaxTargets)], route == protocol.ByDNS, err
}

// handshake performs everything before AUTH. TLS is mandatory here.
func (r *Relay) handshake(ctx context.Context, o *outbound.Conn, w domainPair) error {
	c := r.tlsConfig(w)
	if o.Security == outbound.TLS {
		if err := o.StartTLS(ctx, c); err != nil {
			return err
		}
	}
	if err := o.ReadGreeting(); err != nil {
		return err
	}
	if o.TLS == nil {
		if err := o.UpgradeToTLS(ctx, c); err != nil {
			return err
		}
	}
	return o.SendHello(r.config.Agent, "")
}

// tlsConfig returns a configuration that presents the local domain's
// certificate on request.
func (r *Relay) tlsConfig(w domainPair) *tls.Config {
	own := r.config.Certificate(w.local)
	if own == nil {
		own = new(tls.Certificate)
	}
	return outbound.SecureTLSConfig(&tls.Config{
		RootCAs:              r.config.Roots(),
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return own, nil },
	}, w.remote)
}

// failureOutcome returns the outcome of a message that was not sent because
// of err: 504 if no connection was established in time. Refusals by this site
// itself are passed through. Users and other sites are told it.
func failureOutcome(err error) protocol.Outcome {
	var network net.Error
	if own, ok := err.(*protocol.Error); ok {
		return protocol.Outcome{Status: own.Status, Text: own.Text, Retry: own.Retry}
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.As(err, &network) && network.Timeout() {
		return protocol.Outcome{Status: protocol.StatusRemoteTimeout, Text: "no connection came about in time: " + outbound.SanitizeText(publicText(err))}
	}
	return protocol.Outcome{Status: protocol.StatusRemoteFailure, Text: outbound.SanitizeText(publicText(err))}
}
