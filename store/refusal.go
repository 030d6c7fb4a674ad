package store

// Refusal is why a change was refused. The zero Refusal is none.
type Refusal uint8

// The refusals. A new one is added at the end.
const (
	None            Refusal = iota
	Malformed               // a field is missing, too long or out of range
	EndedEpoch              // the change bears an epoch that is not its node's living one
	NoNode                  // there is no such node
	NodeInUse               // RemoveNode: the node is up, or not reaped to the end
	NoAccount               // there is no such account
	Exists                  // PutAccount: the account is there already
	Disabled                // the account may not be used
	OldCredential           // the password was changed since the session proved it
	Stale                   // a condition of the change does not hold any more
	Displaced               // rebind: the user has listened exclusively since
	NotBound                // the session is not bound in this epoch
	TooManySessions         // more than protocol.MaxSessions
	TooManyRules            // more than protocol.MaxRules
	TooManyContacts         // more than protocol.MaxContacts
	Restoring               // accounts are being restored
	WrongSchema             // a node could not read what this schema allows
)

var refusalNames = [...]string{
	"", "malformed", "ended-epoch", "no-node", "node-in-use", "no-account", "exists", "disabled", "old-credential", "stale",
	"displaced", "not-bound", "too-many-sessions", "too-many-rules", "too-many-contacts", "restoring", "wrong-schema",
}

// String returns the refusal's name, the same in replies, logs and metrics;
// "" for None.
func (r Refusal) String() string {
	if int(r) < len(refusalNames) {
		return refusalNames[r]
	}
	return "unknown"
}
