// Package ratelimit limits how often users, sources, remote domains and
// programs may do something at a site, however many nodes they use. Each node
// counts in token buckets, and tells the others what it has counted of those
// keys that use a good part of their limit (DESIGN.md).
package ratelimit

import "simpd/protocol/rate"

// Kind is one limit: what it counts, and by whom.
type Kind uint8

// The limits of a site.
const (
	MessagesByUser Kind = iota // a user of the site, or of another one
	MessagesBySource
	MessagesByDomain
	MessagesByProgram
	FirstContactsByUser // a user of the site
	FirstContactsByStranger
	FirstContactsBySource
	FirstContactsByDomain
	FirstContactsByProgram
	WatchesByUser
	WatchesBySource
	WatchesByDomain
	LoginsByUser
	LoginsBySource
	LoginsByDomain
	Kinds // their number
)

var labels = [Kinds]struct{ what, by string }{
	MessagesByUser:          {"messages", "user"},
	MessagesBySource:        {"messages", "source"},
	MessagesByDomain:        {"messages", "domain"},
	MessagesByProgram:       {"messages", "program"},
	FirstContactsByUser:     {"first-contacts", "user"},
	FirstContactsByStranger: {"first-contacts", "stranger"},
	FirstContactsBySource:   {"first-contacts", "source"},
	FirstContactsByDomain:   {"first-contacts", "domain"},
	FirstContactsByProgram:  {"first-contacts", "program"},
	WatchesByUser:           {"watches", "user"},
	WatchesBySource:         {"watches", "source"},
	WatchesByDomain:         {"watches", "domain"},
	LoginsByUser:            {"logins", "user"},
	LoginsBySource:          {"logins", "source"},
	LoginsByDomain:          {"logins", "domain"},
}

// What returns what the limit counts, as metrics name it.
func (k Kind) What() string { return labels[k].what }

// By returns by whom the limit counts, as metrics name it.
func (k Kind) By() string { return labels[k].by }

// Limits holds the limit of each kind. The zero Limits limit nothing.
type Limits [Kinds]rate.Limit

// Key identifies whom a limit counts: a hash that is the same on all nodes.
type Key [16]byte

// Count is what a node tells the others of one key.
type Count struct {
	Kind  Kind
	Key   Key
	Taken uint32 // tokens that the node has taken since it last told them
}
