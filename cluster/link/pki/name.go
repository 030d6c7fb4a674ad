package pki

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// Name is whom a certificate names.
type Name struct {
	Site  string
	Kind  Kind
	ID    string   // the node's id or the service's name
	Roles []string // a service's, out of Roles
	As    []string // addresses, or @domain, that a service with message:send may send as
}

// Kind is what a certificate's bearer is.
type Kind string

// The kinds of bearers.
const (
	Node    Kind = "node"
	Service Kind = "service"
)

// What a service may be allowed.
const (
	RolePresenceRead = "presence:read"
	RoleMessageSend  = "message:send"
	RoleAccountAdmin = "account:admin"
	RoleClusterAdmin = "cluster:admin"
	RoleClusterRead  = "cluster:read"
	RoleAbuseAdmin   = "abuse:admin"
)

// AllRoles returns every role that there is.
func AllRoles() []string {
	return []string{RolePresenceRead, RoleMessageSend, RoleAccountAdmin, RoleClusterAdmin, RoleClusterRead, RoleAbuseAdmin}
}

// ErrNoName is a certificate's that names nobody of a site.
var ErrNoName = errors.New("the certificate has no simp:// name")

var (
	siteForm = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$`)
	idForm   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)
)

// Check says what is wrong with a name, so that it can be written and read back.
func (n Name) Check() error {
	switch {
	case !siteForm.MatchString(n.Site):
		return fmt.Errorf("invalid site name %q: must be lower-case letters, digits, . and -", n.Site)
	case n.Kind != Node && n.Kind != Service:
		return fmt.Errorf("%q is neither a node nor a service", n.Kind)
	case !idForm.MatchString(n.ID):
		return fmt.Errorf("invalid %[2]s name %[1]q: must be at most 63 letters, digits, . - and _", n.ID, n.Kind)
	case n.Kind == Node && len(n.Roles)+len(n.As) > 0:
		return errors.New("a node's certificate bears no roles")
	}
	for _, role := range n.Roles {
		if !slices.Contains(AllRoles(), role) {
			return fmt.Errorf("unknown role %q; the roles are %s", role, strings.Join(AllRoles(), ", "))
		}
	}
	return nil
}

// URI writes the name as a certificate bears it.
func (n Name) URI() *url.URL {
	u := &url.URL{Scheme: "simp", Host: n.Site, Path: "/" + string(n.Kind) + "/" + n.ID}
	if len(n.Roles)+len(n.As) > 0 {
		u.RawQuery = url.Values{"role": n.Roles, "as": n.As}.Encode()
	}
	return u
}

func (n Name) String() string { return n.URI().String() }

// NameOf reads the one name that a certificate bears. It does not ask whether
// the certificate is to be trusted.
func NameOf(c *x509.Certificate) (Name, error) {
	var found *url.URL
	for _, u := range c.URIs {
		if u.Scheme != "simp" {
			continue
		}
		if found != nil {
			return Name{}, errors.New("the certificate has several simp:// names")
		}
		found = u
	}
	if found == nil {
		return Name{}, ErrNoName
	}
	return parseName(found)
}

func parseName(u *url.URL) (Name, error) {
	kind, id, ok := strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
	query, err := url.ParseQuery(u.RawQuery)
	if !ok || err != nil || u.User != nil || u.Fragment != "" {
		return Name{}, fmt.Errorf("%q does not name a node or a service", u)
	}
	n := Name{Site: u.Host, Kind: Kind(kind), ID: id, Roles: query["role"], As: query["as"]}
	if err := n.Check(); err != nil {
		return Name{}, fmt.Errorf("%q: %w", u, err)
	}
	return n, nil
}
