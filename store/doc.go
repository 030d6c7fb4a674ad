// Package store is the table: who has an account, who listens where, who may
// do what, and which nodes there are. It is a deterministic state machine. An
// Entry of changes goes in; a result for each change, and one event for each
// index, come out. Two tables that have applied the same entries are equal to
// the octet, whatever their machines and clocks.
//
// The table counts its changes: each change that is applied receives the next
// index; one that is refused or changes nothing receives none. An index is a
// position in the history that means the same on every node. The newest
// changes are kept, so that a watcher can continue from a position.
//
//	t := store.New(store.Config{})
//	results, err := t.Apply(entry) // one goroutine
//	routes := t.Routes(nil, alice) // any goroutine
//	view := t.View()               // everything at one index, for as long as needed
//
// A node joins by a change whose index is its epoch, which ends its previous
// epoch; a change that carries an ended epoch is refused. Messages are no
// longer routed to the bindings of an ended epoch, and Reap removes them from
// presence, some users at a time.
//
// What belongs to an account ends with it: its bindings end when it is
// deleted or disabled, or its password changes, in the same change; its rules
// and contacts are removed when it is deleted. Other users' rules and
// contacts that name it remain.
//
// The package knows no Raft, no socket, no clock and no randomness. It parses
// no addresses, which arrive in canonical form, and checks no passwords, as
// it holds only verifiers.
package store
