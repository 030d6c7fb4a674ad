package client

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"sync"

	"simpd/protocol"
	"simpd/protocol/internal/outbound"
)

// dialer opens connections as configured.
type dialer struct {
	config     Config
	secret     *secret
	dialsNames bool            // Dial resolves names itself
	running    *sync.WaitGroup // goroutines that dial
	life       tokenLife       // of the newest login with a token
}

// dial connects to the home server, logs in, and returns the connection.
func (d *dialer) dial(ctx context.Context) (*outbound.Conn, error) {
	targets, err := d.targets(ctx)
	if err != nil {
		return nil, err
	}
	return d.dialAny(ctx, targets)
}

// dialAny returns the first connection on which the login succeeds.
func (d *dialer) dialAny(ctx context.Context, targets []outbound.Target) (*outbound.Conn, error) {
	return d.connector(targets).ConnectAny(ctx, targets, func(conn net.Conn, t outbound.Target) (*outbound.Conn, error) { return d.open(ctx, t, conn) }, isFinal)
}

func (d *dialer) connector(targets []outbound.Target) *outbound.Connector {
	return &outbound.Connector{
		Resolver: d.config.Resolver, Dial: d.config.Dial, DialsNames: d.dialsNames, Timeout: connectTimeout, Running: d.running,
		AllowPrivate: d.config.AllowPrivate || len(targets) > 0 && !targets[0].FromDNS,
	}
}

func (d *dialer) targets(ctx context.Context) ([]outbound.Target, error) {
	if d.config.Server != "" {
		t, err := outbound.ParseTarget(d.config.Server, outbound.Security(d.config.Security))
		return []outbound.Target{t}, err
	}
	targets, err := outbound.Discover(ctx, d.config.Resolver, d.config.User.Domain())
	for i := range targets {
		if d.config.Security != AutoTLS {
			targets[i].Security = outbound.Security(d.config.Security)
		}
	}
	return targets, err
}

// open logs in on a connection.
func (d *dialer) open(ctx context.Context, t outbound.Target, conn net.Conn) (*outbound.Conn, error) {
	return d.openWith(ctx, t, conn, func(o *outbound.Conn) error { return d.authenticate(ctx, o) })
}

// openWith greets the server on a connection, and then does something else in
// time.
func (d *dialer) openWith(ctx context.Context, t outbound.Target, conn net.Conn, do func(*outbound.Conn) error) (*outbound.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, loginTimeout)
	defer cancel()
	o := outbound.NewConn(conn, t)
	err := o.WithDeadline(ctx, func() error {
		if err := d.greet(ctx, o); err != nil {
			return err
		}
		return do(o)
	})
	if err != nil {
		return nil, fmt.Errorf("logging in at %s: %w", t, err)
	}
	return o, nil
}

// startImplicitTLS starts TLS if it is to start with the first octet.
func (d *dialer) startImplicitTLS(ctx context.Context, o *outbound.Conn) error {
	switch {
	case o.Security == outbound.TLS:
		return o.StartTLS(ctx, d.tlsConfig())
	case o.Security == outbound.Plaintext && !o.IsLoopback():
		return fmt.Errorf("%w to speak in clear to another machine", errUnsafe)
	}
	return nil
}

// greet performs everything before the login.
func (d *dialer) greet(ctx context.Context, o *outbound.Conn) error {
	if err := d.startImplicitTLS(ctx, o); err != nil {
		return err
	}
	if err := o.ReadGreeting(); err != nil {
		return err
	}
	if o.Security == outbound.StartTLS {
		if err := o.UpgradeToTLS(ctx, d.tlsConfig()); err != nil {
			return err
		}
	}
	return o.SendHello(d.config.Agent, d.config.User.Domain())
}

// tlsConfig requires a certificate for the domain of the user's address,
// whatever name led to the server.
func (d *dialer) tlsConfig() *tls.Config {
	c := d.config.TLS.Clone()
	if c == nil {
		c = new(tls.Config)
	}
	return outbound.SecureTLSConfig(c, certificateName(d.config.User))
}

// certificateName returns the domain, or the contents of an address literal.
func certificateName(a protocol.Address) string {
	name := strings.TrimSuffix(strings.TrimPrefix(a.Domain(), "["), "]")
	return strings.TrimPrefix(name, "IPv6:")
}
