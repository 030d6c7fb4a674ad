// Package router decides what becomes of a message: its recipient listens
// here, on another node, at another site, or nowhere. It is the whole meaning
// of SIMP on a few pages: sending (send.go, lane.go), listening (listen.go),
// presence (hub.go, walk.go, watch.go) and what a node may say while it is cut off
// (contact.go). It knows no Raft, no gRPC and no socket: the table tells it
// who listens, a Directory changes the table and confirms what it says, and
// Peers reach the sessions of other nodes.
package router

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	storev1 "simpd/proto/simp/store/v1"
	"simpd/protocol"
	"simpd/protocol/rate"
	"simpd/store"
)

// Directory changes the table, and confirms that this node's copy is new.
type Directory interface {
	// Propose returns the results once this node has applied the changes. An
	// error that wraps ErrUncertain says that they may yet be applied; any
	// other, that they certainly were not.
	Propose(ctx context.Context, changes ...*storev1.Change) ([]store.Result, error)
	// Confirm returns nil once this node's table holds every change that any
	// node had acknowledged when Confirm was called.
	Confirm(ctx context.Context) error
	// Applied returns nil once the nodes (nil: all that are up) have applied
	// index and told their sessions, or are down.
	Applied(ctx context.Context, index uint64, nodes []string) error
	// Contact returns 0 while the node is in touch with the majority, and
	// else for how long it has not been.
	Contact() time.Duration
}

// Peers reaches the sessions of other nodes.
type Peers interface {
	// Deliver is protocol.Inbox's for session s of node: 480 says that it is
	// not there, 503 that the node was not reached, 201 that it did not answer.
	Deliver(node string, s store.Session, m *protocol.Message, done func(protocol.Outcome))
	// Watchers asks all other nodes who watches user; partial if one did not
	// answer in time.
	Watchers(ctx context.Context, user protocol.Address) (by []protocol.Address, partial bool)
	// Failed tells all other nodes of a failed login, and Succeeded of one
	// from where the account was not logged in to before. They do not block.
	Failed(a protocol.Attempt)
	Succeeded(a protocol.Attempt)
}

// Relay reaches other sites.
type Relay interface {
	// Send is protocol.Inbox's for a user of another site.
	Send(m *protocol.Message, done func(protocol.Outcome))
	// Watch has of, another site's user, watched for by, one of this site's.
	// tell hears the state, now and at each change, and Unknown while it can't
	// be known; one call at a time, never before Watch has returned.
	Watch(by, of protocol.Address, tell func(protocol.Presence))
	// Unwatch ends Watch. A call of tell may still be on its way.
	Unwatch(by, of protocol.Address)
	// Query asks once; Unknown when no answer comes before ctx ends.
	Query(ctx context.Context, by, of protocol.Address) protocol.Presence
}

// Config is what a Router is made of.
type Config struct {
	Node      string   // this node's id
	Domains   []string // the site's own, canonical
	Table     *store.Table
	Directory Directory
	Peers     Peers
	Relay     Relay  // nil: no other site is reached
	Tracer    Tracer // nil: no message is traced
	// FirstContacts is how many recipients that are new to them each user of
	// another site may write to; for all users of a domain ten times that.
	FirstContacts rate.Limit
	// WatchMemory is how many octets all watches may take together, of which
	// each user and each remote domain has a share; 0 means DefaultWatchMemory.
	WatchMemory int64
	Logger      *slog.Logger
}

// Router is one node's. Its methods may be called from any goroutine.
type Router struct {
	Config
	domains map[string]bool
	hub     hub
	users   users
	contact contact
	release releaser
	epochs  epochs
	logins  loginLimiter
	moves   moves
	// Measures may be read at any time.
	Measures Measures

	strangers strangers
	looks     atomic.Uint64
	outcomes  [maxStatus + 1]atomic.Uint64 // what became of messages sent here, by status

	ctx     context.Context
	stop    context.CancelFunc
	running sync.WaitGroup
	settled settled
	started atomic.Pointer[store.Position] // of the table, when this process became part of the site
}

// New makes a router that does nothing yet.
func New(c Config) *Router {
	r := &Router{Config: c, domains: map[string]bool{}}
	for _, d := range c.Domains {
		r.domains[d] = true
	}
	r.hub.init(r)
	r.users.init()
	r.contact.init()
	r.epochs.init()
	r.release.init()
	r.settled.init()
	r.logins.init()
	r.strangers.limit = c.FirstContacts
	r.ctx, r.stop = context.WithCancel(context.Background())
	return r
}

// Start begins to tell sessions what the table says. It is called once.
func (r *Router) Start() {
	position := r.Table.Position()
	r.settled.set(position.Index)
	r.running.Go(func() { r.follow(position) })
	r.running.Go(r.tellInTurns)
	r.running.Go(r.watchContact)
	r.running.Go(r.releaseAll)
}

// Shutdown ends what Start began, and waits for it.
func (r *Router) Shutdown() {
	r.stop()
	r.running.Wait()
}

// Local reports whether a is of one of the site's own domains.
func (r *Router) Local(a protocol.Address) bool {
	domain := a.Domain()
	return domain == r.Domains[0] || len(r.Domains) > 1 && r.domains[domain]
}

// follow tells the sessions each change of the table, in order, from p on.
func (r *Router) follow(p store.Position) {
	for r.ctx.Err() == nil {
		if r.contact.awaitFresh(r.ctx) != nil {
			return
		}
		if now := r.Table.Position(); now.History != p.History || now.Index < p.Index {
			p = r.resync()
			continue
		}
		events, ok := r.Table.Events(p.Index, 512)
		switch {
		case !ok:
			p = r.resync()
		case len(events) == 0:
			_ = r.Table.Wait(r.ctx, p.Index+1)
		default:
			for i := range events {
				r.tell(&events[i])
			}
			p.Index = events[len(events)-1].Index
			r.settled.set(p.Index)
		}
	}
}

// tell tells this node's sessions one change.
func (r *Router) tell(e *store.Event) {
	switch e.Kind {
	case store.EventRules:
		r.hub.rulesChanged(e)
	case store.EventHistory:
		r.resync()
	default:
		if e.Address.IsZero() {
			return
		}
		for _, u := range r.users.of(e.Address) {
			u.check(e.Kind == store.EventAccount)
		}
		if e.Visible {
			r.hub.changed(e)
		}
	}
}

// resync is tell for changes that this node does not have one by one, after
// its table came to it whole: everybody is told how things stand.
func (r *Router) resync() store.Position {
	p := r.Table.Position()
	for _, u := range r.users.all() {
		u.check(true)
	}
	r.hub.resync()
	r.settled.set(p.Index)
	return p
}

// Settle returns nil once this node's sessions have been told every change up
// to index: none that it displaced is handed a message any more.
func (r *Router) Settle(ctx context.Context, index uint64) error {
	return r.settled.wait(ctx, index)
}

// settled is an index that grows, to wait for.
type settled struct {
	mu      sync.Mutex
	index   uint64
	changed chan struct{}
}

func (s *settled) init() { s.changed = make(chan struct{}) }

func (s *settled) set(index uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.index = index
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *settled) wait(ctx context.Context, index uint64) error {
	for {
		s.mu.Lock()
		now, changed := s.index, s.changed
		s.mu.Unlock()
		if now >= index {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// receiver is who receives for a session of that epoch.
type receiver struct {
	u     *User
	epoch uint64
}

// users are this node's authenticated connections, by user and by session.
type users struct {
	mu        sync.RWMutex
	byAddress map[protocol.Address][]*User
	bySession map[uint64]receiver // by the session's number, which no two have
	number    uint64
	count     int
}

func (s *users) init() {
	s.byAddress = map[protocol.Address][]*User{}
	s.bySession = map[uint64]receiver{}
}

func (s *users) add(u *User) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := u.client.User
	s.byAddress[a] = append(slices.Clip(s.byAddress[a]), u)
	s.count++
}

func (s *users) remove(u *User) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := u.client.User
	rest := slices.DeleteFunc(slices.Clone(s.byAddress[a]), func(o *User) bool { return o == u })
	if s.byAddress[a] = rest; len(rest) == 0 {
		delete(s.byAddress, a)
	}
	s.count--
}

// of returns the connections of one user; the slice is not changed afterwards.
func (s *users) of(a protocol.Address) []*User {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.byAddress[a]
}

func (s *users) all() []*User {
	s.mu.RLock()
	defer s.mu.RUnlock()
	all := make([]*User, 0, s.count)
	for _, of := range s.byAddress {
		all = append(all, of...)
	}
	return all
}

// enter makes u the one who receives for a new session of this node.
func (s *users) enter(u *User, node string, epoch uint64) store.Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.number++
	id := store.Session{Node: node, Epoch: epoch, Number: s.number}
	s.bySession[s.number] = receiver{u, epoch}
	return id
}

func (s *users) leave(id store.Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.bySession, id.Number)
}

// session returns who receives for a session of this node, or nil.
func (s *users) session(id store.Session) *User {
	s.mu.RLock()
	b := s.bySession[id.Number]
	s.mu.RUnlock()
	if b.epoch != id.Epoch {
		return nil
	}
	return b.u
}
