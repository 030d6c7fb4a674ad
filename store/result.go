package store

// BatchResult holds the results of one batch for its proposer.
type BatchResult struct {
	Origin              string
	Incarnation, Number uint64
	Results             []Result // one for each change, in order
}

// Result is the result of one change.
type Result struct {
	Index      uint64    // the change's own if it was applied; otherwise the table's at that moment
	Applied    bool      // it received an index (Reap: at least one; Index is the last)
	Refusal    Refusal   // None: it was applied, or had been applied before
	Detail     string    // a sentence that explains the refusal
	Displaced  []Binding // exclusive Bind: the bindings that it ended
	Epoch      uint64    // NodeUp: the node's current epoch
	FirstBound uint64    // Bind: the index of the session's first Bind
	More       bool      // Reap: stale bindings remain
	// Credential is set by PutAccount and UseInvitation: the index of the change
	// that set this password, even if that was an earlier attempt. RegisterAccount
	// sets it to the account's generation.
	Credential uint64
	// AppPassword is set by AddAppPassword: the app password's ID, even if an
	// earlier attempt added it.
	AppPassword uint64
	// Invitation is set by AddInvitation and UseInvitation: the invitation's ID,
	// even if an earlier attempt added it.
	Invitation uint64
	Report     uint64 // AddReport: the report's ID
}

// Refusal is the reason for refusing a change. The zero Refusal means that it
// was not refused.
type Refusal uint8

// The refusals. New ones are added at the end.
const (
	None                Refusal = iota
	Malformed                   // a field is missing, too long or out of range
	EndedEpoch                  // the change carries an epoch that is not its node's current one
	NoNode                      // there is no such node
	NodeInUse                   // RemoveNode: the node is up, or not reaped to the end
	NoAccount                   // there is no such account
	Exists                      // PutAccount: the account is there already
	Disabled                    // the account may not be used
	OldCredential               // the password was changed, or the account disabled, since the login
	Stale                       // a condition of the change does not hold any more
	Displaced                   // rebind: the user has listened exclusively since
	NotBound                    // the session is not bound in this epoch
	TooManySessions             // more than protocol.MaxSessions
	TooManyRules                // more than protocol.MaxRules
	TooManyContacts             // more than protocol.MaxContacts
	Restoring                   // accounts are being restored
	WrongSchema                 // a node could not read what this schema allows
	TooManyAppPasswords         // more than protocol.MaxAppPasswords
	NoAppPassword               // there is no such app password
	OtherSalt                   // the account's passwords would not share salt and iteration count
	KeyExists                   // AddKey: the key is in the list already
	TooManyKeys                 // more than signature.MaxLiveKeys, or signature.MaxKeys
	BadProof                    // AddKey: the proof of continuity is not by a live key
	NoKey                       // there is no such key
	OtherSource                 // the account belongs to an account source, or to another one
	NoInvitation                // there is no such invitation, or it has ended
	OtherDomain                 // UseInvitation: the invitation is for another domain
	TooManyInvitations          // more than protocol.MaxInvitations
	NoBlock                     // there is no such block
	TooManyBlocks               // more than MaxBlocks, or too many octets
	TooManySealedValues         // more than the table holds
	TooManyGroups               // more than protocol.MaxContactGroups, or than protocol.MaxGroupOctets of them
	UsedToken                   // UseConsoleToken: the token was used, has ended or was revoked
	TooManyTokens               // UseConsoleToken: too many were used within minutes
	NoReport                    // there is no such report
	TooManyReports              // the share of the reporter is used up
)

var refusalNames = [...]string{
	"", "malformed", "ended-epoch", "no-node", "node-in-use", "no-account", "exists", "disabled", "old-credential", "stale",
	"displaced", "not-bound", "too-many-sessions", "too-many-rules", "too-many-contacts", "restoring", "wrong-schema",
	"too-many-app-passwords", "no-app-password", "other-salt", "key-exists", "too-many-keys", "bad-proof", "no-key",
	"other-source",
	"no-invitation", "other-domain", "too-many-invitations",
	"no-block", "too-many-blocks",
	"too-many-sealed-values",
	"too-many-contact-groups",
	"used-token", "too-many-tokens",
	"no-report", "too-many-reports",
}

// String returns the refusal's name, which is the same in responses, logs and
// metrics; "" for None.
func (r Refusal) String() string {
	if int(r) < len(refusalNames) {
		return refusalNames[r]
	}
	return "unknown"
}
