package store

import (
	"time"

	"simpd/protocol"
)

// Verifier is what the table stores of a password: SCRAM-SHA-256 values (RFC
// 5802, RFC 7677). The password cannot be derived from it. Its octets must
// not be changed.
type Verifier struct {
	Salt       []byte
	Iterations uint32
	StoredKey  []byte // 32 octets, as ServerKey
	ServerKey  []byte
}

// Account describes a user who may log in. It is immutable and shared by all
// readers.
type Account struct {
	Address    protocol.Address
	Verifier   Verifier
	Disabled   bool
	Credential uint64 // index of the newest change of the verifier
	// LastDisabled is the index of the newest change that disabled the account;
	// 0 means never, or before schema 2.
	LastDisabled uint64
	Exclusive    uint64 // index of the newest exclusive LISTEN; 0: never
	Created      time.Time

	appPasswords *[]AppPassword // nil: none; few accounts have any
	keys         *keyList       // nil: none
	source       *accountSource // nil: the table
}

// Credentials returns the account in the form that protocol/server uses,
// without its app passwords.
func (a *Account) Credentials() protocol.Credentials {
	return protocol.Credentials{
		Salt: a.Verifier.Salt, Iterations: int(a.Verifier.Iterations),
		StoredKey: a.Verifier.StoredKey, ServerKey: a.Verifier.ServerKey,
		Index: a.Generation(), Disabled: a.Disabled, SharesSalt: len(a.AppPasswords()) > 0, Source: a.Source(),
	}
}

// Generation returns the index of the newest change that invalidated earlier
// logins: a new password, or disabling the account. A session is valid while
// the generation of its account is the one that it logged in with.
func (a *Account) Generation() uint64 { return max(a.Credential, a.LastDisabled) }

// Rule is one line of a user's access control list.
type Rule = protocol.Rule

// Contact is one entry of the contact list that a user keeps.
type Contact struct {
	Address protocol.Address
	Name    string // for people; at most protocol.MaxNote octets, may be empty
}

// Action is what a rule permits or denies.
type Action uint8

// The actions are to send messages and to see presence.
const (
	ActionMessage Action = iota
	ActionPresence
)

// Node describes a server process that is or was part of the site.
type Node struct {
	ID string
	// Epoch is the node's newest epoch, the index of its NodeUp. It has ended if
	// Down is set.
	Epoch       uint64
	Down        bool
	Draining    bool   // its clients are being moved away
	Incarnation uint64 // random number of its process
	Version     string // of its program
	MinSchema   uint32 // the oldest and newest log schema that it can read
	MaxSchema   uint32
	NeedsReap   bool // bindings of its ended epochs are left for Reap
	// Certificates are those with which it has proved its identity, the oldest
	// first. They must not be changed.
	Certificates []Fingerprint

	reapedThrough string // Reap continues above this address
}

// isCurrent reports whether epoch is the node's newest and has not ended.
func (n *Node) isCurrent(epoch uint64) bool { return n != nil && !n.Down && n.Epoch == epoch }
