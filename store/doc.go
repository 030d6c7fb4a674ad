// Package store is the table: who has an account, who listens where, who may
// do what, and which nodes there are. It is a deterministic state machine. An
// Entry of changes goes in; a result for each change, and one event for each
// index, come out. Two tables that applied the same entries are equal to the
// octet, whatever machine and clock they live by.
//
// The table counts its changes: each one that is applied takes the next
// index, one that is refused or changes nothing takes none. An index is a
// position in history that means the same on every node, and the newest
// changes are kept, so that whoever watches can go on from a position.
//
//	t := store.New(store.Config{})
//	results, err := t.Apply(entry) // one goroutine
//	routes := t.Routes(nil, alice) // any goroutine
//	view := t.View()               // everything at one index, for as long as wanted
//
// Epochs fence: a node joins by a change whose index is its epoch, which ends
// the epoch before; what bears an ended epoch is refused. The bindings of an
// ended epoch lead nowhere at once, and are taken from presence, one user at a
// time, by Reap.
//
// What belongs to an account goes with it: its bindings end when it is deleted
// or disabled, or gets another password, in the same change; its rules and
// contacts go when it is deleted. Others' rules and contacts that name it stay.
//
// It knows no Raft, no socket, no clock and no randomness, parses no address
// (they come canonical), and checks no password: it holds verifiers only.
package store
