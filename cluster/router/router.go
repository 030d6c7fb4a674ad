// Package router decides what happens to a message: its recipient listens on
// this node, on another node, at another site, or nowhere. It holds the
// meaning of SIMP on a few pages: sending (send.go, recipientqueue.go),
// listening (listen.go), presence (hub.go, fanout.go, watch.go), and what a
// node may still say without a quorum (quorum.go). It knows no Raft, no gRPC
// and no socket: the table says who listens, a Directory changes the table
// and provides read barriers, and Peers deliver to sessions on other nodes.
package router

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"simpd/cluster/accounts"
	"simpd/cluster/lookalike"
	"simpd/cluster/policy"
	"simpd/cluster/ratelimit"
	storev1 "simpd/proto/simp/store/v1"
	"simpd/protocol"
	"simpd/protocol/signature"
	"simpd/protocol/wait"
	"simpd/store"
)

// Directory changes the table and provides read barriers.
type Directory interface {
	// Propose returns the results once this node has applied the changes. If the
	// error wraps store.ErrUnknown, the changes may still be applied; after any
	// other error they certainly were not.
	Propose(ctx context.Context, changes ...*storev1.Change) ([]store.Result, error)
	// ReadBarrier returns nil once this node's table holds every change that any
	// node had acknowledged when ReadBarrier was called.
	ReadBarrier(ctx context.Context) error
	// Applied returns nil once the named nodes (nil: all that are up) have
	// applied index and notified their sessions, or are down.
	Applied(ctx context.Context, index uint64, nodes []string) error
	// QuorumLostFor returns 0 while the node is in contact with a majority, and
	// otherwise for how long it has not been.
	QuorumLostFor() time.Duration
}

// Peers reaches the sessions on other nodes.
type Peers interface {
	// SendToNode hands m to session s of node, with the contract of
	// protocol.Inbox: 480 means that the session is not there, 503 that the node
	// was not reached, 201 that it did not answer.
	SendToNode(node string, s store.Session, m *protocol.Message, done func(protocol.Outcome))
	// Watchers asks all other nodes who watches user. partial reports that a
	// node did not answer in time.
	Watchers(ctx context.Context, user protocol.Address) (by []protocol.Address, partial bool)
	// Failed reports a failed login to all other nodes. It does not block.
	Failed(a protocol.Attempt)
	// Succeeded reports a login from a new source of the account. It does not
	// block.
	Succeeded(a protocol.Attempt)
	ratelimit.Peers
}

// Relay reaches other sites.
type Relay interface {
	// Send hands m to a user of another site, with the contract of
	// protocol.Inbox.
	Send(m *protocol.Message, done func(protocol.Outcome))
	// Watch watches of, a remote user, for by, a local one. tell is called with
	// the present state and each change, and with Unknown while the state can't
	// be known; one call at a time, and never before Watch has returned.
	Watch(by, of protocol.Address, tell func(protocol.Presence))
	// Unwatch undoes Watch. A call of tell may still be in progress.
	Unwatch(by, of protocol.Address)
	// Query asks once. It returns Unknown if no answer arrives before ctx ends.
	Query(ctx context.Context, by, of protocol.Address) protocol.Presence
	// Refuse asks the user's site for their presence, and then ends m as if they
	// did not listen, with the contract of Send otherwise. The message is not
	// sent.
	Refuse(m *protocol.Message, done func(protocol.Outcome))
	// Report passes a report on to the reported user's site. The error is a
	// *protocol.Error: with that site's answer, or why there is none.
	Report(ctx context.Context, q protocol.Report) error
	// Keys asks for the keys of a remote user's devices. The list of a site that
	// has no keys is empty. The error is a *protocol.Error.
	Keys(ctx context.Context, q protocol.KeysRequest) ([]signature.Key, signature.Head, error)
	// OnKeys has tell called when the list of keys of a watched user has
	// changed: of by Watch's by and of. It is called once, before Watch.
	OnKeys(tell func(by, of protocol.Address, n protocol.KeyNotice))
}

// Config configures a Router.
type Config struct {
	Node    string   // ID of this node
	Domains []string // the site's domains in canonical form
	Table   *store.Table
	Relay   Relay  // nil: no remote site can be reached
	Tracer  Tracer // nil: no message is traced
	// Sources are the account sources; nil: there is only the table.
	Sources *accounts.Registry
	// Leads reports whether this node leads the site, and so is the one that
	// looks for accounts that have left their sources; nil: it never does.
	Leads func() bool
	// Policy asks the operator's program about messages; nil: there is none.
	Policy *policy.Hook
	// Limits are those of the site, over all its nodes.
	Limits ratelimit.Limits
	// WatchMemory limits the octets of all watches together; each user and each
	// remote domain has a share of it. 0 means DefaultWatchMemory.
	WatchMemory int64
	// Lookalikes finds accounts of Table; nil: the router has an index of its own.
	Lookalikes *lookalike.Index
	Logger     *slog.Logger
}

// Router routes the messages and presence of one node. Any goroutine may call
// its methods.
type Router struct {
	config     Config
	directory  Directory // since Start, as peers
	peers      Peers
	domains    map[string]bool
	hub        hub
	users      users
	quorum     quorumState
	leavers    leavers
	orphans    orphans
	groupSync  groupSync
	unbinder   unbinder
	appLogins  appLogins
	epoch      wait.Watermark // the epoch in which this node's sessions are bound
	logins     loginLimiter
	lookalikes *lookalike.Index
	drainState drainState
	metrics    Metrics

	blocksChanged wait.Signal
	limits        *ratelimit.Limiter
	firstContacts knownContacts
	established   knownContacts
	lookups       atomic.Uint64
	outcomes      [maxStatus + 1]atomic.Uint64 // messages sent here, by the status of their outcome

	ctx     context.Context
	stop    context.CancelFunc
	running sync.WaitGroup
	settled wait.Watermark                 // what Settle waits for
	started atomic.Pointer[store.Position] // the table's position when this process joined the site
}

// New returns a Router that Start starts.
func New(c Config) *Router {
	r := &Router{config: c, domains: map[string]bool{}, lookalikes: c.Lookalikes}
	if r.lookalikes == nil {
		r.lookalikes = lookalike.New(c.Table)
	}
	for _, d := range c.Domains {
		r.domains[d] = true
	}
	r.hub.init(r)
	r.users.init()
	r.unbinder.init()
	r.appLogins.init()
	r.blocksChanged = wait.NewSignal()
	r.logins.init()
	r.limits = ratelimit.New(c.Limits)
	r.firstContacts.init()
	r.established.init()
	r.ctx, r.stop = context.WithCancel(context.Background())
	return r
}

// Limits returns the site's limits as this node keeps them.
func (r *Router) Limits() *ratelimit.Limiter { return r.limits }

// Start begins to notify sessions of the table's changes. It is called once,
// before users log in.
func (r *Router) Start(d Directory, p Peers) {
	r.directory, r.peers = d, p
	position := r.config.Table.Position()
	r.settled.Set(position.Index)
	if r.config.Relay != nil {
		r.config.Relay.OnKeys(r.hub.onRemoteKeys)
	}
	r.running.Go(func() { r.followTable(position) })
	r.running.Go(r.runFanouts)
	r.running.Go(r.followContactGroups)
	r.running.Go(func() { r.limits.Run(r.ctx, p) })
	r.running.Go(r.monitorQuorum)
	r.running.Go(r.runUnbinder)
	r.running.Go(r.recordAppLogins)
	r.running.Go(r.runBlocks)
	r.running.Go(r.dropOldReports)
	if r.config.Sources != nil && r.config.Leads != nil {
		r.running.Go(r.watchLeavers)
		r.running.Go(r.syncContactGroups)
	}
}

// Shutdown stops what Start started, and waits for it.
func (r *Router) Shutdown() {
	r.stop()
	r.running.Wait()
}

// Local reports whether a is in one of the site's own domains.
func (r *Router) Local(a protocol.Address) bool {
	domain := a.Domain()
	return domain == r.config.Domains[0] || len(r.config.Domains) > 1 && r.domains[domain]
}

// followTable notifies the sessions of each change of the table, in order,
// from p on.
func (r *Router) followTable(p store.Position) {
	for r.ctx.Err() == nil {
		if r.quorum.awaitFresh(r.ctx) != nil {
			return
		}
		if now := r.config.Table.Position(); now.History != p.History || now.Index < p.Index {
			p = r.resyncSessions()
			continue
		}
		events, ok := r.config.Table.Events(p.Index, 512)
		switch {
		case !ok:
			p = r.resyncSessions()
		case len(events) == 0:
			_ = r.config.Table.Wait(r.ctx, p.Index+1)
		default:
			for i := range events {
				r.dispatchEvent(&events[i])
			}
			p.Index = events[len(events)-1].Index
			r.settled.Set(p.Index)
		}
	}
}

// dispatchEvent notifies this node's sessions and watchers of one change.
func (r *Router) dispatchEvent(e *store.Event) {
	switch e.Kind {
	case store.EventRules:
		r.hub.onRulesChange(e)
	case store.EventKeys:
		r.notifyKeys(e)
	case store.EventBlocks:
		r.blocksChanged.Notify()
	case store.EventGroups:
		r.hub.groupsChanged.Notify()
	case store.EventHistory:
		r.resyncSessions()
	default:
		if e.Address.IsZero() {
			r.limits.Refresh() // it may be about a node
			return
		}
		for _, u := range r.users.ofUser(e.Address) {
			u.recheck(e.Kind == store.EventAccount)
		}
		if e.Visible {
			r.hub.onPresenceChange(e)
		}
	}
}

// resyncSessions replaces dispatchEvent for changes that this node does not
// have one by one, because its table was restored from a snapshot. It checks
// all sessions and shows all watchers the present state.
func (r *Router) resyncSessions() store.Position {
	p := r.config.Table.Position()
	for _, u := range r.users.all() {
		u.recheck(true)
	}
	r.hub.resyncWatchers()
	r.blocksChanged.Notify()
	r.hub.groupsChanged.Notify()
	r.settled.Set(p.Index)
	return p
}

// Settle returns nil once this node's sessions have been notified of every
// change up to index. No session that such a change displaced receives a
// message afterwards.
func (r *Router) Settle(ctx context.Context, index uint64) error {
	return r.settled.Await(ctx, index)
}

// Kick closes this node's connections of a user, or only the one with session
// s, and returns how many it closed.
func (r *Router) Kick(user protocol.Address, s *store.Session) int {
	kicked := 0
	for _, u := range r.users.ofUser(user) {
		if s == nil || u.holdsSession(*s) {
			u.session.Bye(protocol.StatusForbidden, "an operator ended this connection")
			kicked++
		}
	}
	return kicked
}

// Metrics returns the counters, which may be read at any time.
func (r *Router) Metrics() *Metrics { return &r.metrics }

// History returns the name of the history that indexes count in.
func (r *Router) History() string { return r.config.Table.History() }

// Refuse returns why this node accepts no clients at present, or "".
func (r *Router) Refuse() string {
	switch {
	case r.quorum.isDisconnected():
		return noQuorumText
	case r.Draining():
		return "this node is going away; connect to another"
	}
	return ""
}
