package store

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"simpd/protocol"
)

// How many changes a table keeps if Config does not say, and in how many
// octets of memory. 100,000 changes of the dearest kind, each of which brings a
// session with the longest note and agent and ends another, fit into that.
const (
	DefaultHistory       = 131072
	DefaultHistoryOctets = 80 << 20
)

// Config is what a table is made of.
type Config struct {
	// History is how many of the newest changes Events can tell of; 0 means
	// DefaultHistory. A few more may be kept.
	History int
	// HistoryOctets is how many octets of memory they may take; 0 means
	// DefaultHistoryOctets. When they take more, the oldest go, a thousand at
	// a time, however few are left.
	HistoryOctets int
	// Newest is the newest schema of the log that is read; 0 means
	// NewestSchema. Tests try with it what the next version will do.
	Newest uint32
}

// Position is a place in the site's history.
type Position struct {
	History string
	Index   uint64 // of the newest change
}

// Table is the replicated table. Apply and Restore are for one goroutine at a
// time; everything else may be called from any.
type Table struct {
	mu   sync.RWMutex // held by Apply for an entry, by readers for one look
	now  View
	view *View // a copy of now, kept until the next change
	ring ring

	newest  uint32        // schema that is read
	index   atomic.Uint64 // now.index
	waiting waiting
	shapes  shapes // of now's verifiers

	// What Apply alone uses.
	at      time.Time         // the clock of who proposed the batch being applied
	tally   map[string]*tally // by node
	scratch Listener
	buf     []byte
}

// New returns an empty table.
func New(c Config) *Table {
	if c.History <= 0 {
		c.History = DefaultHistory
	}
	if c.HistoryOctets <= 0 {
		c.HistoryOctets = DefaultHistoryOctets
	}
	if c.Newest == 0 {
		c.Newest = NewestSchema
	}
	return &Table{now: newView(), newest: c.Newest, ring: newRing(uint64(c.History), c.HistoryOctets), tally: map[string]*tally{}}
}

// View returns the whole table as it is now. Between two changes all callers
// share one copy.
func (t *Table) View() View {
	t.mu.RLock()
	v := t.view
	t.mu.RUnlock()
	if v != nil {
		return *v
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.viewLocked()
}

// PinnedBy returns how many octets stay in memory for v alone, at most: what
// changes have replaced since v was made.
func (t *Table) PinnedBy(v View) uint64 {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.now.replaced - v.replaced
}

func (t *Table) viewLocked() View {
	if t.view == nil {
		v := t.now.copy()
		t.view = &v
	}
	return *t.view
}

// Index returns the number of the newest change.
func (t *Table) Index() uint64 { return t.index.Load() }

// Wait returns nil once Index is at least index, or ctx's error. Any number of
// goroutines may wait; each is woken once.
func (t *Table) Wait(ctx context.Context, index uint64) error {
	return t.waiting.wait(ctx, &t.index, index)
}

// Events returns up to max (at least 0) of the changes after that index, the
// oldest first; none if there are none yet. It returns ok false if the table does not keep
// them back to there, or has not got as far itself. The caller compares
// histories: indexes of different ones say nothing of each other.
func (t *Table) Events(after uint64, max int) (events []Event, ok bool) {
	t.mu.RLock()
	part, ok := t.ring.after(after, uint(max))
	t.mu.RUnlock()
	if !ok {
		return nil, false
	}
	return part.events(), true
}

// History names the log that the index counts in; "" until NewHistory.
func (t *Table) History() string { return t.Position().History }

// Position returns History and Index of one moment.
func (t *Table) Position() Position {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.now.Position()
}

// Schema returns what the log's entries and snapshots may hold at present.
func (t *Table) Schema() uint32 {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.now.schema
}

// Secret returns the site's secret. It is not to be changed.
func (t *Table) Secret() []byte {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.now.secret
}

// Account is View.Account of this moment; so are the methods below.
func (t *Table) Account(a protocol.Address) (*Account, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.now.Account(a)
}

// Listener returns a as a listener; nil: deaf.
func (t *Table) Listener(a protocol.Address) *Listener {
	t.mu.RLock()
	p := t.now.listeners.get(a.String())
	t.mu.RUnlock()
	return p.unpack()
}

// Listens reports whether a listens in that session, without an allocation.
func (t *Table) Listens(a protocol.Address, s Session) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.now.Listens(a, s)
}

// Presence returns what a watcher of a sees, without an allocation.
func (t *Table) Presence(a protocol.Address) protocol.Presence {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.now.Presence(a)
}

// Routes appends to dst a's sessions that lead somewhere.
func (t *Table) Routes(dst []Session, a protocol.Address) []Session {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.now.Routes(dst, a)
}

// Rules returns owner's rules.
func (t *Table) Rules(owner protocol.Address) []Rule {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.now.Rules(owner)
}

// ACL returns owner's rules for look-ups; nil if there are none.
func (t *Table) ACL(owner protocol.Address) *ACL {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.now.ACL(owner)
}

// Contacts returns owner's contacts.
func (t *Table) Contacts(owner protocol.Address) []Contact {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.now.Contacts(owner)
}

// Allowed asks owner's rules whether who may do thing.
func (t *Table) Allowed(owner, who protocol.Address, whoIsLocal bool, thing Thing) (decided, allow bool) {
	return allowed(t.ACL(owner), who, whoIsLocal, thing)
}

// Node returns the node of that id.
func (t *Table) Node(id string) (Node, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.now.Node(id)
}

// Nodes returns all nodes in the order of their ids.
func (t *Table) Nodes() []Node {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.now.Nodes()
}
