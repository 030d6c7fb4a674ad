package api

import (
	"hash/maphash"
	"sync"

	"go.mau.fi/util/confusable"

	"simpd/protocol"
	"simpd/store"
)

// lookalikes finds existing accounts that a new name can be mistaken for: those
// of the same domain with the same skeleton (Unicode Technical Standard 39,
// section 4). It keeps a hash of each account's skeleton, made at the first
// question and kept up by the table's events. Methods may be called from any
// goroutine.
type lookalikes struct {
	table *store.Table
	seed  maphash.Seed

	mu     sync.Mutex
	at     store.Position      // that hashes has caught up with
	hashes map[uint64]struct{} // also of accounts that are deleted; nil at first
}

// eventsAtOnce bounds how many events of the table are read under its lock.
const eventsAtOnce = 4096

func newLookalikes(t *store.Table) *lookalikes {
	return &lookalikes{table: t, seed: maphash.MakeSeed()}
}

// findLookalike returns an existing account, other than new itself, that new can be
// mistaken for; the zero Address if there is none.
func (l *lookalikes) findLookalike(new protocol.Address) protocol.Address {
	skeleton := skeletonOf(new)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.catchUpLocked()
	h := maphash.String(l.seed, skeleton)
	if _, ok := l.hashes[h]; !ok {
		return protocol.Address{}
	}
	like, alive := l.searchAccounts(new, skeleton)
	if !alive {
		delete(l.hashes, h) // whoever had it was deleted
	}
	return like
}

// searchAccounts looks through all accounts, as a hash says only that one was there
// once. alive is false if no account has the skeleton, not even new.
func (l *lookalikes) searchAccounts(new protocol.Address, skeleton string) (like protocol.Address, alive bool) {
	l.table.View().Accounts(protocol.Address{}, func(a *store.Account) bool {
		if skeletonOf(a.Address) != skeleton {
			return true
		}
		alive = true
		if a.Address != new {
			like = a.Address
		}
		return like.IsZero()
	})
	return like, alive
}

// catchUpLocked adds the accounts of the events since l.at, or all accounts
// where the table does not go back as far. l.mu is held.
func (l *lookalikes) catchUpLocked() {
	for l.hashes != nil && l.at.History == l.table.History() {
		events, ok := l.table.Events(l.at.Index, eventsAtOnce)
		if !ok {
			break
		}
		if len(events) == 0 {
			return
		}
		for _, e := range events {
			if e.Kind == store.EventAccount {
				l.addLocked(e.Address)
			}
		}
		l.at.Index = events[len(events)-1].Index
	}
	v := l.table.View()
	l.at, l.hashes = v.Position(), make(map[uint64]struct{})
	v.Accounts(protocol.Address{}, func(a *store.Account) bool {
		l.addLocked(a.Address)
		return true
	})
}

func (l *lookalikes) addLocked(a protocol.Address) {
	l.hashes[maphash.String(l.seed, skeletonOf(a))] = struct{}{}
}

// skeletonOf returns the skeleton of an address's local part, with its domain.
func skeletonOf(a protocol.Address) string {
	return confusable.Skeleton(a.Local()) + "@" + a.Domain()
}
