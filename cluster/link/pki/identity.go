// Package pki says who is who between nodes and programs: a certificate names
// its bearer by a URI, simp://SITE/node/ID for a node and
// simp://SITE/service/NAME for a program, with what the program may do.
package pki

// Identity is a node's certificate, its key and the authority it trusts,
// read from files and read again while running.
type Identity struct{}

// Load reads PEM files and checks that the certificate is a node's.
func Load(caFile, certFile, keyFile string) (*Identity, error) { panic("soon") }

// Reload reads the files again; on an error all stays as it was.
func (i *Identity) Reload() error { panic("soon") }

// Name is whom the node's own certificate names.
func (i *Identity) Name() Name { panic("soon") }

// Name is whom a certificate names.
type Name struct {
	Site  string
	Kind  Kind
	ID    string   // the node's id or the service's name
	Roles []string // a service's: presence:read, message:send, account:admin, cluster:admin
	As    []string // addresses, or @domain, that a service with message:send may send as
}

// Kind is what a certificate's bearer is.
type Kind string

// The kinds of bearers.
const (
	Node    Kind = "node"
	Service Kind = "service"
)
