package client

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"time"

	"simpd/protocol"
)

// Timeouts of connecting to another site.
const (
	reachTimeout = 9 * time.Second // in total, so that a client that waits 10 s receives an answer
	tcpTimeout   = 3 * time.Second // for TCP to one target
	helloTimeout = 5 * time.Second // for TLS and HELLO there
)

// connect connects to w.remote's home server for w.local, up to HELLO. The
// certificate must be valid for w.remote, whatever name led there.
func (r *Relay) connect(ctx context.Context, w domainPair) (*handshakeConn, error) {
	targets, private, err := r.targets(ctx, w.remote)
	if err != nil {
		return nil, err
	}
	open := func(conn net.Conn, t target) (*handshakeConn, error) {
		o := &handshakeConn{wire: wire{Conn: conn}, target: t}
		ctx, cancel := context.WithTimeout(ctx, helloTimeout)
		defer cancel()
		if err := o.withDeadline(ctx, func() error { return r.handshake(ctx, o, w) }); err != nil {
			return nil, &targetError{t, err}
		}
		return o, nil
	}
	return r.connector(w.remote, private).connectAny(ctx, targets, open, func(error) bool { return false })
}

func (r *Relay) connector(other string, private bool) *connector {
	return &connector{resolver: r.dns.forDomain(other), dial: r.config.Dial, allowPrivate: private, timeout: tcpTimeout, running: &r.wg}
}

// targets returns the targets of a remote domain, and whether they may have
// private addresses.
func (r *Relay) targets(ctx context.Context, other string) (targets []target, private bool, err error) {
	route := r.config.Federation().Routes[other]
	if route != "" && route != protocol.ByDNS {
		t, err := parseTarget(route, AutoTLS)
		return []target{t}, true, err
	}
	targets, err = discover(ctx, r.dns.forDomain(other), other)
	return targets[:min(len(targets), maxTargets)], route == protocol.ByDNS, err
}

// withDeadline calls do, and closes the connection unless do succeeds before
// ctx ends.
func (o *handshakeConn) withDeadline(ctx context.Context, do func() error) error {
	raw := o.Conn // under TLS, if that is still to begin
	stop := context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Unix(1, 0)) })
	err := do()
	if !stop() {
		err = timeoutError(ctx, "it took the connection, and then did not say what is due")
	}
	if err != nil {
		_ = o.Close()
	}
	return err
}

// handshake performs everything before AUTH. TLS is mandatory here.
func (r *Relay) handshake(ctx context.Context, o *handshakeConn, w domainPair) error {
	c := r.tlsConfig(w)
	if o.security == TLS {
		if err := o.startTLS(ctx, c); err != nil {
			return err
		}
	}
	if err := o.readGreeting(); err != nil {
		return err
	}
	if o.tls == nil {
		if err := o.upgradeToTLS(ctx, c); err != nil {
			return err
		}
	}
	return o.sendHello(r.config.Agent)
}

// tlsConfig returns a configuration that presents the local domain's
// certificate on request.
func (r *Relay) tlsConfig(w domainPair) *tls.Config {
	own := r.config.Certificate(w.local)
	if own == nil {
		own = new(tls.Certificate)
	}
	return secureTLSConfig(&tls.Config{
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
		return protocol.Outcome{Status: own.Status, Text: own.Text}
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.As(err, &network) && network.Timeout() {
		return protocol.Outcome{Status: protocol.StatusRemoteTimeout, Text: "no connection came about in time: " + sanitizeText(publicText(err))}
	}
	return protocol.Outcome{Status: protocol.StatusRemoteFailure, Text: sanitizeText(publicText(err))}
}
