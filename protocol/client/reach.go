package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"simpd/protocol"
)

// How long an attempt to reach another site may take.
const (
	attemptTime = 9 * time.Second // in all, so that who waits 10 s is told
	raceTime    = 3 * time.Second // for TCP to one target
	talkTime    = 5 * time.Second // for TLS and HELLO there
)

// reach connects to other's home server for own, up to HELLO. The certificate
// is checked for other, whatever name led there.
func (r *Relay) reach(ctx context.Context, w way) (*opening, error) {
	targets, private, err := r.targets(ctx, w.other)
	if err != nil {
		return nil, err
	}
	open := func(conn net.Conn, t target) (*opening, error) {
		o := &opening{wire: wire{Conn: conn}, target: t}
		ctx, cancel := context.WithTimeout(ctx, talkTime)
		defer cancel()
		if err := o.within(ctx, func() error { return r.greet(ctx, o, w) }); err != nil {
			return nil, fmt.Errorf("%s: %w", t, err)
		}
		return o, nil
	}
	return r.connector(w.other, private).connectAny(ctx, targets, open, func(error) bool { return false })
}

func (r *Relay) connector(other string, private bool) *connector {
	return &connector{resolver: r.names.forDomain(other), dial: r.Dial, private: private, patience: raceTime, running: &r.wg}
}

// targets returns the places where other may be, and whether they may be on
// private addresses.
func (r *Relay) targets(ctx context.Context, other string) (targets []target, private bool, err error) {
	route := r.Federation().Routes[other]
	if route != "" && route != protocol.ByDNS {
		t, err := named(route, ByPort)
		return []target{t}, true, err
	}
	targets, err = discover(ctx, r.names.forDomain(other), other)
	return targets[:min(len(targets), maxTargets)], route == protocol.ByDNS, err
}

// within does a part of the opening, and closes the connection unless that
// succeeds before ctx ends.
func (o *opening) within(ctx context.Context, do func() error) error {
	raw := o.Conn // under TLS, if that is still to begin
	stop := context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Unix(1, 0)) })
	err := do()
	if !stop() {
		err = inTime(ctx, "it took the connection, and then did not say what is due")
	}
	if err != nil {
		_ = o.Close()
	}
	return err
}

// greet says all that comes before AUTH. TLS is not an offer here.
func (r *Relay) greet(ctx context.Context, o *opening, w way) error {
	c := r.tlsConfig(w)
	if o.security == TLS {
		if err := o.startTLS(ctx, c); err != nil {
			return err
		}
	}
	if err := o.greeting(); err != nil {
		return err
	}
	if o.tls == nil {
		if err := o.upgrade(ctx, c); err != nil {
			return err
		}
	}
	return o.sayHello(r.Agent)
}

// tlsConfig shows own's certificate to whom it is asked by.
func (r *Relay) tlsConfig(w way) *tls.Config {
	own := r.Certificate(w.own)
	if own == nil {
		own = new(tls.Certificate)
	}
	return secured(&tls.Config{
		RootCAs:              r.Roots(),
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return own, nil },
	}, w.other)
}

// outcomeOf is what an attempt that failed means for a message of which
// nothing was handed over: 504 where no connection came about in time. What
// this site itself refuses is said as it stands.
func outcomeOf(err error) protocol.Outcome {
	var network net.Error
	if own, ok := err.(*protocol.Error); ok {
		return protocol.Outcome{Status: own.Status, Text: own.Text}
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.As(err, &network) && network.Timeout() {
		return protocol.Outcome{Status: protocol.StatusRemoteTimeout, Text: "no connection came about in time: " + short(err.Error())}
	}
	return protocol.Outcome{Status: protocol.StatusRemoteFailure, Text: short(err.Error())}
}
