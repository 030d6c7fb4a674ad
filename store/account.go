package store

import (
	"time"

	"simpd/protocol"
)

// Verifier is what is kept of a password: SCRAM-SHA-256's (RFC 5802, RFC
// 7677). The password can't be had from it. Its octets are not to be changed.
type Verifier struct {
	Salt       []byte
	Iterations uint32
	StoredKey  []byte // 32 octets, as is ServerKey
	ServerKey  []byte
}

// Account is a user who may log in. It is immutable, and shared by all who
// read it.
type Account struct {
	Address    protocol.Address
	Verifier   Verifier
	Disabled   bool
	Credential uint64 // index of the newest change of the verifier
	// LastDisabled is the index of the newest change that disabled the account;
	// 0: never, or before schema 2.
	LastDisabled uint64
	Exclusive    uint64 // index of the newest exclusive LISTEN; 0: never
	Created      time.Time
}

// Credentials returns the account as protocol/server wants it.
func (a *Account) Credentials() protocol.Credentials {
	return protocol.Credentials{
		Salt: a.Verifier.Salt, Iterations: int(a.Verifier.Iterations),
		StoredKey: a.Verifier.StoredKey, ServerKey: a.Verifier.ServerKey,
		Index: a.Generation(), Disabled: a.Disabled,
	}
}

// Generation returns the index of the newest change that ended what earlier
// logins allow: the password was set, or the account was disabled. A session is
// good while its account's generation is the one that it logged in with.
func (a *Account) Generation() uint64 { return max(a.Credential, a.LastDisabled) }

// Rule is one line of a user's access control list.
type Rule = protocol.Rule

// Contact is one entry of a user's contact list.
type Contact = protocol.Contact

// Thing is what a rule permits or denies.
type Thing uint8

// The things: to send messages, and to see presence.
const (
	Messages Thing = iota
	Presences
)

// Node is a server process that is or was part of the site.
type Node struct {
	ID string
	// Epoch is the node's newest: the index of its NodeUp. It lives unless
	// Down.
	Epoch     uint64
	Down      bool
	Draining  bool   // its clients are being moved away
	Boot      uint64 // the random number of its process
	Version   string // of its program
	MinSchema uint32 // the log's schemas that it can read
	MaxSchema uint32
	Dirty     bool // ended epochs of it have left bindings that Reap has to end
	// Certificates are those that it has proved its identity with, the oldest
	// first. Not to be changed.
	Certificates []Fingerprint

	reaped string // Reap goes on above this address
}

// living reports whether epoch is the present one of the node, and not ended.
func (n *Node) living(epoch uint64) bool { return n != nil && !n.Down && n.Epoch == epoch }
