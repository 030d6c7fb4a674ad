package api

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"simpd/cluster/link/pki"
	"simpd/protocol"
)

// nobody is the name of a caller who has not shown who they are.
const nobody = "nobody"

// caller identifies who makes a call, and holds their roles.
type caller struct {
	name  string
	key   string // of the memory that is held for the caller; "": nobody is known
	roles role
	as    []protocol.Pattern // the addresses that may be sent as
	any   bool               // any address of the site may be sent as
	end   time.Time          // of the token or the certificate; zero: it has none
	still func() error       // whether all this is still so; nil: it always is
	via   string             // where a call within this process comes from; empty: from the network
}

// hasRole reports whether the caller has one of the roles that a method wants.
func (c *caller) hasRole(wants role) bool {
	have := c.roles | anyone
	if c.roles&allRoles != 0 {
		have |= known
	}
	return have&wants != 0
}

// maySendAs reports whether the caller may send as a.
func (c *caller) maySendAs(a protocol.Address) bool {
	if c.any {
		return true
	}
	for _, p := range c.as {
		if p.String() == a.String() || p.String() == "@"+a.Domain() {
			return true
		}
	}
	return false
}

// addGrant adds what one role= or as= of a certificate or a token says.
func (c *caller) addGrant(key, value string) error {
	switch key {
	case "role":
		r, err := parseRole(value)
		c.roles |= r
		return err
	case "as":
		p, err := parseSender(value)
		c.as = append(c.as, p)
		return err
	}
	return fmt.Errorf("%q is neither role nor as", key)
}

// parseSender reads an address or @domain that a program may send as.
func parseSender(value string) (protocol.Pattern, error) {
	p, err := protocol.ParsePattern(value)
	if err == nil && p.String() == "*" {
		err = errors.New("as=* is not allowed: name addresses or domains")
	}
	if err != nil || strings.HasPrefix(value, "@") {
		return p, err
	}
	a, err := protocol.ParseAddress(value)
	if err != nil {
		return p, err
	}
	folded, _ := a.PRECISFold()
	return protocol.ParsePattern(folded.String())
}

type callerKey struct{}

// callerOf returns who makes the call of ctx; the gate has put it there.
func callerOf(ctx context.Context) *caller {
	c, _ := ctx.Value(callerKey{}).(*caller)
	if c == nil {
		return &caller{name: nobody}
	}
	return c
}

// identifyCaller finds out who calls. A caller without credentials is anonymous and
// has no roles; invalid credentials are an error.
func (g *gate) identifyCaller(ctx context.Context) (*caller, error) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return nil, errors.New("the connection has no other end")
	}
	if !g.insecure {
		if token, ok, err := bearerToken(ctx); err != nil || ok {
			if err != nil {
				return nil, err
			}
			return withCallerKey("token", g.tokens.lookupToken)(token)
		}
	}
	return g.identifyPeer(p)
}

// identifyPeer finds out who is at the other end of a connection.
func (g *gate) identifyPeer(p *peer.Peer) (*caller, error) {
	if g.insecure {
		return withCallerKey("local", loopbackCaller)(p.Addr)
	}
	info := p.AuthInfo
	if c, ok := info.(connInfo); ok {
		info = c.AuthInfo
	}
	if shown := shownCertificate(info); shown != nil {
		certificate := func(leaf *x509.Certificate) (*caller, error) { return callerOfCertificate(leaf, g.site) }
		return withCallerKey("certificate", certificate)(shown)
	}
	return &caller{name: nobody}, nil
}

// withCallerKey gives a caller who has a role a key: how they are known, and their name.
func withCallerKey[T any](kind string, identify func(T) (*caller, error)) func(T) (*caller, error) {
	return func(by T) (*caller, error) {
		c, err := identify(by)
		if err == nil && c.roles&allRoles != 0 {
			c.key = kind + " " + c.name
		}
		return c, err
	}
}

// loopbackCaller lets programs on the same machine do all.
func loopbackCaller(a net.Addr) (*caller, error) {
	if a.Network() == "bufconn" || a.Network() == "unix" {
		return &caller{name: "local", roles: allRoles, any: true}, nil
	}
	if at, err := netip.ParseAddrPort(a.String()); err == nil && at.Addr().Unmap().IsLoopback() {
		return &caller{name: "loopback", roles: allRoles, any: true}, nil
	}
	return &caller{name: nobody}, nil
}

// bearerToken returns the token of the call, if it bears one.
func bearerToken(ctx context.Context) (token string, ok bool, err error) {
	md, _ := metadata.FromIncomingContext(ctx)
	values := md.Get("authorization")
	switch {
	case len(values) == 0:
		return "", false, nil
	case len(values) > 1:
		return "", false, errors.New("two authorizations in one call")
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "bearer") || token == "" {
		return "", false, errors.New("the authorization is not a bearer token")
	}
	return token, true, nil
}

var errCertificateEnded = errors.New("the client certificate has ended; call again with a new one")

// callerOfCertificate reads a program's certificate: the URI
//
//	simp://SITE/service/NAME?role=presence:read&role=message:send&as=@example.com
//
// among its names says what it may do. A node's certificate opens nothing here.
func callerOfCertificate(cert *x509.Certificate, site string) (*caller, error) {
	name, err := pki.NameOf(cert)
	switch {
	case err != nil:
		return nil, fmt.Errorf("the client certificate is of no use here: %w", err)
	case name.Site != site:
		return nil, fmt.Errorf("the client certificate is for the site %s, and this is %s", name.Site, site)
	case name.Kind != pki.Service:
		return nil, errors.New("the client certificate is not a service's")
	}
	c := &caller{name: name.ID, end: cert.NotAfter, still: func() error {
		if time.Now().After(cert.NotAfter) {
			return errCertificateEnded
		}
		return nil
	}}
	for _, value := range name.Roles {
		err = errors.Join(err, c.addGrant("role", value))
	}
	for _, value := range name.As {
		err = errors.Join(err, c.addGrant("as", value))
	}
	return c, err
}
