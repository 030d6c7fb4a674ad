package store

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"simpd/protocol"
)

// DefaultHistory and DefaultHistoryOctets are the defaults of Config. 100,000
// changes of the most expensive kind, each of which starts a session with the
// longest note and agent and ends another, fit into that memory.
const (
	DefaultHistory       = 131072
	DefaultHistoryOctets = 80 << 20
)

// Config configures a Table.
type Config struct {
	// History is how many of the newest changes Events can return; 0 means
	// DefaultHistory. A few more may be kept.
	History int
	// HistoryOctets limits their memory; 0 means DefaultHistoryOctets. When they
	// take more, the oldest are dropped, about a thousand at a time, however few
	// are left.
	HistoryOctets int
	// Newest is the newest log schema that can be read; 0 means NewestSchema.
	// Tests use it to act as the next version.
	Newest uint32
}

// Position is a place in the site's history.
type Position struct {
	History string
	Index   uint64 // of the newest change
}

// Table is the replicated table. Apply and Restore must be called from one
// goroutine at a time; any goroutine may call everything else.
type Table struct {
	mu      sync.RWMutex // held by Apply for an entry, and by readers for one look-up
	current View
	view    *View // a copy of current, valid until the next change
	ring    ring

	newest  uint32        // newest schema that can be read
	index   atomic.Uint64 // current.index
	waiters indexWaiters
	shapes  shapeCounter // of current's verifiers
	blocks  blockIndex   // of current's blocks

	groupIndex groupIndex // of current's contact groups; guarded by mu

	// What Apply alone uses.
	batchTime  time.Time              // the proposer's clock for the batch being applied
	nodeCounts map[string]*nodeCounts // by node
	scratch    Listener
	packBuf    []byte
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
	t := &Table{
		current: newView(), newest: c.Newest, ring: newRing(uint64(c.History), c.HistoryOctets),
		nodeCounts: map[string]*nodeCounts{}, groupIndex: newGroupIndex(),
	}
	t.blocks.init()
	return t
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

// PinnedBy returns how many octets at most stay in memory only because of v:
// those that changes have replaced since v was made.
func (t *Table) PinnedBy(v View) uint64 {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.current.replaced - v.replaced
}

func (t *Table) viewLocked() View {
	if t.view == nil {
		v := t.current.copy()
		t.view = &v
	}
	return *t.view
}

// Index returns the number of the newest change.
func (t *Table) Index() uint64 { return t.index.Load() }

// Wait returns nil once Index is at least index, or ctx's error. Any number
// of goroutines may wait; each is woken once.
func (t *Table) Wait(ctx context.Context, index uint64) error {
	return t.waiters.wait(ctx, &t.index, index)
}

// Events returns up to max (at least 0) of the changes after index after, the
// oldest first; none if there are none yet. ok is false if the table no
// longer keeps the changes back to there, or has not reached that index
// itself. The caller must compare histories: indexes of different histories
// are unrelated.
func (t *Table) Events(after uint64, max int) (events []Event, ok bool) {
	t.mu.RLock()
	part, ok := t.ring.sliceAfter(after, uint(max))
	t.mu.RUnlock()
	if !ok {
		return nil, false
	}
	return part.decodeEvents(), true
}

// History returns the name of the history that the index counts in; "" before
// NewHistory.
func (t *Table) History() string { return t.Position().History }

// Position returns History and Index at one moment.
func (t *Table) Position() Position {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.current.Position()
}

// HistoryMemory returns the octets that the newest changes take in memory, at
// most Config.HistoryOctets and a chunk.
func (t *Table) HistoryMemory() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.ring.octets
}

// Schema returns the schema of the log's entries and snapshots.
func (t *Table) Schema() uint32 {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.current.schema
}

// Secret returns the site's secret. It must not be changed.
func (t *Table) Secret() []byte {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.current.secret
}

// Account calls View.Account on the current table. The methods below do the
// same.
func (t *Table) Account(a protocol.Address) (*Account, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.current.Account(a)
}

// Listener returns a as a listener; nil if deaf.
func (t *Table) Listener(a protocol.Address) *Listener {
	t.mu.RLock()
	p := t.current.listeners.get(a.String())
	t.mu.RUnlock()
	return p.unpack()
}

// Listens reports whether a listens in that session. It does not allocate.
func (t *Table) Listens(a protocol.Address, s Session) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.current.Listens(a, s)
}

// Presence returns what a watcher of a sees. It does not allocate.
func (t *Table) Presence(a protocol.Address) protocol.Presence {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.current.Presence(a)
}

// Routes appends a's sessions that messages can be routed to.
func (t *Table) Routes(dst []Session, a protocol.Address) []Session {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.current.Routes(dst, a)
}

// Rules returns owner's rules.
func (t *Table) Rules(owner protocol.Address) []Rule {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.current.Rules(owner)
}

// ACL returns owner's rules for evaluation; nil if there are none.
func (t *Table) ACL(owner protocol.Address) *ACL {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.current.ACL(owner)
}

// Contacts returns owner's contacts.
func (t *Table) Contacts(owner protocol.Address) []Contact {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.current.Contacts(owner)
}

// Allowed evaluates owner's rules for an action of who.
func (t *Table) Allowed(owner, who protocol.Address, whoIsLocal bool, thing Action) (decided, allow bool) {
	return allowedBy(t.ACL(owner), who, whoIsLocal, thing)
}

// Node returns the node with that ID.
func (t *Table) Node(id string) (Node, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.current.Node(id)
}

// Nodes returns all nodes in the order of their IDs.
func (t *Table) Nodes() []Node {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.current.Nodes()
}
