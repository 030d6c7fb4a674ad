package store

import "simpd/protocol"

// EventKind is the kind of an event.
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
	EventSchema                 // the site's schema has changed
	EventHistory                // anything may have changed (new history or restored accounts): read everything again
	EventDigest                 // each node hashes its table
	EventCertificate            // Node has proved its identity with a new certificate
	EventNodeExcluded           // Node is kept out of the site
	EventNodeAdmitted           // Node may join again
	EventKeys                   // Address: a device's key was added or revoked
	EventInvitation             // an invitation was added or removed; its use is an EventAccount
	EventBlocks                 // blocks were added or removed
	EventSealedValue            // a sealed value was put or removed
	EventGroups                 // a contact group was added, changed or removed
	EventConsole                // a link to the console was used, or all were revoked
	EventReports                // a report was added, changed or removed
)

// Event describes the change of one index. There is exactly one for each.
type Event struct {
	Index   uint64
	Kind    EventKind
	Address protocol.Address // zero if the change does not concern one user
	Node    string           // set for EventPresence and the kinds that concern nodes
	// After is Address's listener after the change; nil means deaf.
	After *Listener
	// Visible reports whether the state or the note of Address changed for those
	// who may watch them. It can be set for EventPresence and EventAccount.
	Visible bool
}
