package ldap

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"

	"simpd/cluster/accounts"
)

const (
	maxIdle     = 8                // connections kept of each kind
	maxIdleTime = 60 * time.Second // for which one is kept
	maxPacket   = 16 << 20         // octets of an answer
)

func init() { ber.MaxPacketLengthBytes = maxPacket }

// pool holds the connections to one server. Each is used by one query at a
// time, so that the query's deadline can be the connection's. Any goroutine may
// use it.
type pool struct {
	server
	name    string // as the operator wrote it
	breaker accounts.Breaker
	config  *Config
	tls     *tls.Config

	mu     sync.Mutex
	closed bool
	idle   map[kind][]*conn // the one used last is at the end
}

// kind separates connections that search from those on which users bind.
type kind uint8

const (
	searching kind = iota
	binding
)

// conn is a connection to a server.
type conn struct {
	*ldap.Conn
	raw  net.Conn
	kind kind
	used time.Time // when it was given back
}

func newPool(c *Config, name string) (*pool, error) {
	s, err := parseServer(name, c.Insecure)
	if err != nil {
		return nil, err
	}
	return &pool{
		server: s, name: name, config: c, idle: map[kind][]*conn{},
		tls: &tls.Config{ServerName: s.host, RootCAs: c.Roots, MinVersion: tls.VersionTLS12},
	}, nil
}

// use calls do with a connection, and again with a new one if an idle one has
// turned out to be closed. A connection that failed is not used again.
func (p *pool) use(ctx context.Context, k kind, do func(*conn) error) error {
	return p.useUntil(ctx, ctx, k, do)
}

// useUntil is use, but do may go on after connecting had to be done, until end
// ends.
func (p *pool) useUntil(connecting, end context.Context, k kind, do func(*conn) error) error {
	if c := p.takeIdle(k); c != nil {
		err := p.run(end, c, do)
		if !isConnectionFailure(err) || end.Err() != nil {
			return err
		}
	}
	c, err := p.connect(connecting, k)
	if err != nil {
		return err
	}
	return p.run(end, c, do)
}

// run calls do, whose reads and writes fail once ctx has ended.
func (p *pool) run(ctx context.Context, c *conn, do func(*conn) error) error {
	stop := context.AfterFunc(ctx, func() { _ = c.raw.SetDeadline(time.Unix(1, 0)) })
	err := do(c)
	if !stop() || isConnectionFailure(err) {
		c.close()
		return err
	}
	p.giveBack(c)
	return err
}

// ping returns nil if the server answers, whatever it says.
func (p *pool) ping(ctx context.Context) error {
	err := p.use(ctx, binding, func(c *conn) error {
		_, err := c.Search(ldap.NewSearchRequest("", ldap.ScopeBaseObject, ldap.NeverDerefAliases, 1, 0, false, "(objectClass=*)", []string{"1.1"}, nil))
		return err
	})
	if isConnectionFailure(err) {
		return err
	}
	return nil
}

func (p *pool) takeIdle(k kind) *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	for n := len(p.idle[k]); n > 0; n-- {
		c := p.idle[k][n-1]
		p.idle[k] = p.idle[k][:n-1]
		if time.Since(c.used) < maxIdleTime && !c.IsClosing() {
			return c
		}
		go c.close()
	}
	return nil
}

func (p *pool) giveBack(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = c.raw.SetDeadline(time.Time{})
	if c.used = time.Now(); p.closed || len(p.idle[c.kind]) >= maxIdle {
		go c.close()
		return
	}
	p.idle[c.kind] = append(p.idle[c.kind], c)
}

// close closes the idle connections, and the others when they are given back.
func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, list := range p.idle {
		for _, c := range list {
			go c.close()
		}
	}
	clear(p.idle)
}

// close closes the connection. Without a network deadline it could wait for a
// server that reads nothing.
func (c *conn) close() {
	_ = c.raw.SetDeadline(time.Now().Add(time.Second))
	_ = c.Conn.Close()
}

// connect opens a connection. One for searching is bound by the service's name.
func (p *pool) connect(ctx context.Context, k kind) (*conn, error) {
	var d net.Dialer
	raw, err := d.DialContext(ctx, "tcp", p.address)
	if err != nil {
		return nil, connectionError{err}
	}
	deadline, _ := ctx.Deadline()
	_ = raw.SetDeadline(deadline)
	if p.server.tls {
		secured := tls.Client(raw, p.tls)
		if err := secured.HandshakeContext(ctx); err != nil {
			raw.Close()
			return nil, connectionError{explainTLS(err)}
		}
		raw = secured
	}
	c := &conn{Conn: ldap.NewConn(raw, p.server.tls), raw: raw, kind: k}
	c.Start()
	if err := p.prepare(c); err != nil {
		c.close()
		return nil, err
	}
	_ = raw.SetDeadline(time.Time{})
	return c, nil
}

func (p *pool) prepare(c *conn) error {
	if p.startTLS {
		if err := c.StartTLS(p.tls); err != nil {
			return connectionError{fmt.Errorf("STARTTLS: %w", explainTLS(plainError(err)))}
		}
	}
	if c.kind == searching && p.config.BindDN != "" {
		if err := c.Bind(p.config.BindDN, p.config.BindPassword); err != nil {
			return connectionError{fmt.Errorf("binding as %s: %w", p.config.BindDN, plainError(err))}
		}
	}
	return nil
}

// connectionError wraps what keeps a server from being asked at all.
type connectionError struct{ error }

func (e connectionError) Unwrap() error { return e.error }

// contentError is about the entries of a server that answers, which is asked on.
type contentError struct{ error }

func contentErrorf(format string, args ...any) error {
	return contentError{fmt.Errorf(format, args...)}
}

// isConnectionFailure reports whether the connection can't be used any more.
func isConnectionFailure(err error) bool {
	if _, ok := errors.AsType[contentError](err); ok || err == nil {
		return false
	}
	if _, ok := errors.AsType[connectionError](err); ok {
		return true
	}
	e, ok := errors.AsType[*ldap.Error](err)
	return !ok || e.ResultCode >= ldap.ErrorNetwork || e.ResultCode == ldap.LDAPResultServerDown || e.ResultCode == ldap.LDAPResultUnavailable
}

// explainTLS says what to do about a certificate that is not trusted. The
// library hides the error of STARTTLS.
func explainTLS(err error) error {
	if strings.Contains(err.Error(), "certificate signed by unknown authority") {
		return fmt.Errorf("%w: set ca_file to the certificate authority of the directory", err)
	}
	return err
}
