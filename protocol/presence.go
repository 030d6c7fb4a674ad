package protocol

import "time"

// State is the presence of a user as a watcher sees it (SIMP.md, section 7).
type State uint8

// The states. The zero State is Deaf: nobody listens, or the watcher may not
// know, or there is no such user.
const (
	Deaf State = iota
	Available
	Busy
	Away
	Unknown // it cannot be known now
)

var stateNames = [...]string{"deaf", "available", "busy", "away", "unknown"}

func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return "unknown"
}

// Listening reports whether s is a state of a user who listens.
func (s State) Listening() bool { return s == Available || s == Busy || s == Away }

// ParseListening reads one of available, away and busy.
func ParseListening(name string) (State, bool) {
	for s := Available; s <= Away; s++ {
		if stateNames[s] == name {
			return s, true
		}
	}
	return Deaf, false
}

// Presence describes one user at one moment.
type Presence struct {
	Address Address
	State   State
	Note    string
	Since   time.Time // zero for Deaf and Unknown
	Index   uint64    // of the newest change that a watcher may see; 0 if there is none to tell
}
