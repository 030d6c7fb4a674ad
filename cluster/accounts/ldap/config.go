// Package ldap is the account source for LDAP directories, such as OpenLDAP and
// Active Directory. It looks for a user's entry and binds with the user's
// password.
package ldap

import (
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"strings"

	"github.com/go-ldap/ldap/v3"

	"simpd/protocol"
)

// Config configures a Source.
type Config struct {
	Name    string   // of the source
	Servers []string // URLs (ParseServer), in the order in which they are asked
	// Roots are the authorities of the servers; nil: those of the system.
	Roots *x509.CertPool
	// Insecure has ldap:// mean no TLS at all, for loopback only. Otherwise it
	// means STARTTLS.
	Insecure bool

	// BindDN and BindPassword are what entries are looked for with; empty: the
	// directory is searched anonymously.
	BindDN, BindPassword string
	// Base is the entry below which users' entries are.
	Base string
	// Filter limits the entries; empty: "(objectClass=*)".
	Filter string
	// Address says which address an entry has; zero: that of the attribute mail.
	Address Mapping
	// BindTemplate is the name that a user binds with if entries are not looked
	// for: {local}, {domain} and {ima} stand for the user's.
	BindTemplate string

	// MaxLeavers is how many percent of its accounts may leave the directory at
	// once; 0: 10.
	MaxLeavers int

	// Groups says where the groups are whose members get one another as contacts.
	Groups GroupConfig

	Logger *slog.Logger
}

// server is one server of a directory.
type server struct {
	host     string // for the certificate
	address  string // host:port
	tls      bool   // from the first octet
	startTLS bool
}

// ParseServer checks a URL: ldaps://HOST[:PORT] for TLS, or ldap://HOST[:PORT]
// for STARTTLS.
func ParseServer(s string, insecure bool) error {
	_, err := parseServer(s, insecure)
	return err
}

func parseServer(s string, insecure bool) (server, error) {
	u, err := url.Parse(s)
	if err != nil || u.Hostname() == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return server{}, fmt.Errorf("invalid server %q: must be like ldaps://ldap.example.com or ldap://ldap.example.com:389", s)
	}
	v := server{host: u.Hostname()}
	port := u.Port()
	switch u.Scheme {
	case "ldaps":
		v.tls = true
		port = cmp.Or(port, "636")
	case "ldap":
		v.startTLS = !insecure
		port = cmp.Or(port, "389")
	default:
		return server{}, fmt.Errorf("invalid server %q: must begin with ldaps:// (TLS) or ldap:// (STARTTLS)", s)
	}
	if ip, err := netip.ParseAddr(v.host); insecure && !v.tls && v.host != "localhost" && (err != nil || !ip.IsLoopback()) {
		return server{}, fmt.Errorf("%s is not loopback, and passwords must not be sent there without TLS", s)
	}
	v.address = net.JoinHostPort(v.host, port)
	return v, nil
}

// ParseFilter checks a filter (RFC 4515).
func ParseFilter(s string) error {
	if _, err := ldap.CompileFilter(s); err != nil {
		return fmt.Errorf("invalid filter %s: must be like (objectClass=person): %w", s, plainError(err))
	}
	return nil
}

// ParseDN checks a distinguished name (RFC 4514).
func ParseDN(s string) error {
	if dn, err := ldap.ParseDN(s); err != nil || len(dn.RDNs) == 0 {
		return fmt.Errorf("invalid distinguished name %q: must be like ou=people,dc=example,dc=com", s)
	}
	return nil
}

// ParseTemplate checks a BindTemplate.
func ParseTemplate(s string) error {
	rest := strings.NewReplacer("{local}", "", "{domain}", "", "{ima}", "").Replace(s)
	switch {
	case strings.ContainsAny(rest, "{}"):
		return fmt.Errorf("invalid template %q: only {local}, {domain} and {ima} stand for something", s)
	case !strings.Contains(s, "{local}") && !strings.Contains(s, "{ima}"):
		return fmt.Errorf("invalid template %q: {local} or {ima} must be in it", s)
	case strings.Contains(s, "="):
		return ParseDN(strings.NewReplacer("{local}", "x", "{domain}", "x", "{ima}", "x").Replace(s))
	}
	return nil
}

// fillTemplate returns the name that a user binds with. Only in a distinguished
// name anything has to be escaped.
func fillTemplate(template string, user protocol.Address) string {
	escape := func(s string) string { return s }
	if strings.Contains(template, "=") {
		escape = ldap.EscapeDN
	}
	return strings.NewReplacer("{local}", escape(user.Local()), "{domain}", escape(user.Domain()), "{ima}", escape(user.String())).Replace(template)
}

// plainError removes the code from an error of the library that has none of
// LDAP's.
func plainError(err error) error {
	if e, ok := errors.AsType[*ldap.Error](err); ok && e.ResultCode >= ldap.ErrorNetwork && e.Err != nil {
		return e.Err
	}
	return err
}

func (c *Config) check() error {
	switch {
	case len(c.Servers) == 0:
		return errors.New("no server is named")
	case c.Base == "" && c.BindTemplate == "":
		return errors.New("neither base nor bind_template is set: entries are looked for below base")
	case c.Base == "" && c.Groups.isEnabled():
		return errors.New("groups need base: their members are looked for there")
	case c.BindDN != "" && c.BindPassword == "":
		return errors.New("bind_dn has no password: set bind_password_file")
	case c.BindDN == "" && c.BindPassword != "":
		return errors.New("bind_password_file is set without bind_dn")
	}
	return nil
}
