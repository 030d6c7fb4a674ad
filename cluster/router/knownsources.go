package router

// What is remembered of successful logins: some 50 octets for an account.
const (
	maxKnownAccounts = 1 << 17 // accounts
	sourcesPerKnown  = 4       // newest sources of each
)

// knownSources remembers the sources of each account's last successful
// logins. The owner's lock guards it.
type knownSources struct {
	byAccount map[uint64][sourcesPerKnown]uint64 // by account; newest first; 0: none
}

// has reports whether the attempt comes from a known source of its account. A
// source shared by many clients is never known.
func (s *knownSources) has(k attemptKeys) bool {
	if k.source == 0 || k.account == 0 {
		return false
	}
	for _, source := range s.byAccount[k.account] {
		if source == k.source {
			return true
		}
	}
	return false
}

// add remembers the attempt's source, replacing the account's oldest, and
// reports whether it is new.
func (s *knownSources) add(k attemptKeys) (added bool) {
	if k.source == 0 || k.account == 0 {
		return false
	}
	all, ok := s.byAccount[k.account]
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
	s.byAccount[k.account] = all
	return added
}

// makeRoom forgets an arbitrary account if there are too many. At worst its
// owner has to wait for a turn.
func (s *knownSources) makeRoom() {
	if s.byAccount == nil {
		s.byAccount = make(map[uint64][sourcesPerKnown]uint64)
	}
	for account := range s.byAccount {
		if len(s.byAccount) < maxKnownAccounts {
			return
		}
		delete(s.byAccount, account)
	}
}
