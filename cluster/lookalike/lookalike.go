// Package lookalike finds existing accounts that a new address can be mistaken
// for.
package lookalike

import (
	"hash/maphash"
	"sync"

	"go.mau.fi/util/confusable"

	"simpd/protocol"
	"simpd/store"
)

// Index finds existing accounts that a new name can be mistaken for: those of
// the same domain with the same skeleton (Unicode Technical Standard 39,
// section 4). It keeps a hash of each account's skeleton, made at the first
// question and kept up by the table's events. Methods may be called from any
// goroutine.
type Index struct {
	table *store.Table
	seed  maphash.Seed

	mu     sync.Mutex
	at     store.Position      // that hashes has caught up with
	hashes map[uint64]struct{} // also of accounts that are deleted; nil at first
}

// eventsAtOnce bounds how many events of the table are read under its lock.
const eventsAtOnce = 4096

// New returns an index of t's accounts, which takes no memory before the first
// question.
func New(t *store.Table) *Index {
	return &Index{table: t, seed: maphash.MakeSeed()}
}

// Find returns an existing account, other than new itself, that new can be
// mistaken for; the zero Address if there is none.
func (l *Index) Find(new protocol.Address) protocol.Address {
	skeleton := Skeleton(new)
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
func (l *Index) searchAccounts(new protocol.Address, skeleton string) (like protocol.Address, alive bool) {
	l.table.View().Accounts(protocol.Address{}, func(a *store.Account) bool {
		if Skeleton(a.Address) != skeleton {
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
func (l *Index) catchUpLocked() {
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

func (l *Index) addLocked(a protocol.Address) {
	l.hashes[maphash.String(l.seed, Skeleton(a))] = struct{}{}
}

// Skeleton returns the skeleton of an address's local part, with its domain.
func Skeleton(a protocol.Address) string {
	return confusable.Skeleton(a.Local()) + "@" + a.Domain()
}
