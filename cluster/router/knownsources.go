package router

// What is remembered of successful logins: some 50 octets for an account.
const (
	maxKnownAccounts = 1 << 17 // accounts
	sourcesPerKnown  = 4       // newest sources of each
)

// knownSources remembers from where accounts were last logged in to. The
// owner's lock guards it.
type knownSources struct {
	of map[uint64][sourcesPerKnown]uint64 // by account; newest first; 0: none
}

// has reports whether the attempt comes from where its account was last
// logged in to. A source that many share is never known.
func (s *knownSources) has(k attemptKeys) bool {
	if k.source == 0 || k.account == 0 {
		return false
	}
	for _, source := range s.of[k.account] {
		if source == k.source {
			return true
		}
	}
	return false
}

// add remembers the attempt's source, in the place of the account's oldest,
// and reports whether it was not known before.
func (s *knownSources) add(k attemptKeys) (added bool) {
	if k.source == 0 || k.account == 0 {
		return false
	}
	all, ok := s.of[k.account]
	if !ok {
		s.makeRoom()
	}
	at := 0
	for at < len(all)-1 && all[at] != k.source {
		at++
	}
	added = all[at] != k.source
	copy(all[1:at+1], all[:at])
	all[0] = k.source
	s.of[k.account] = all
	return added
}

// makeRoom forgets any account where there are too many: at worst its owner
// waits for a turn.
func (s *knownSources) makeRoom() {
	if s.of == nil {
		s.of = make(map[uint64][sourcesPerKnown]uint64)
	}
	for account := range s.of {
		if len(s.of) < maxKnownAccounts {
			return
		}
		delete(s.of, account)
	}
}
