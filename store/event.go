package store

import "simpd/protocol"

// EventKind says what an event tells of.
type EventKind uint8

// The kinds. They are written to snapshots: a number never changes.
const (
	_                 EventKind = iota
	EventPresence               // the bindings of Address, on Node
	EventAccount                // Address: created, credential changed, disabled, enabled, deleted; its bindings may have ended
	EventRules                  // Address's
	EventContacts               // Address's
	EventNodeUp                 // Node has a new epoch, Index
	EventNodeDown               // Node's epoch has ended
	EventDraining               // Node begins or ends to drain
	EventNodeRemoved            // Node is gone
	EventSchema                 // the site's schema is another
	EventHistory                // everything may be another: a new history, or accounts restored; read it all anew
	EventDigest                 // each node is to hash its table
	EventCertificate            // Node has proved its identity with a certificate that was not known
	EventNodeExcluded           // Node is kept out of the site
	EventNodeAdmitted           // Node may join again
)

// Event is what one index changed. There is exactly one for each.
type Event struct {
	Index   uint64
	Kind    EventKind
	Address protocol.Address // whose; zero where the change is not one user's
	Node    string           // for EventPresence and the kinds of nodes
	// After is Address's listener as the change left it; nil: deaf.
	After *Listener
	// Visible says that the state or the note of Address changed for those who
	// may watch them; it may be so with EventPresence and EventAccount.
	Visible bool
}
