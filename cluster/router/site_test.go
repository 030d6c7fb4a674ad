package router

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"simpd/cluster/ratelimit"
	storev1 "simpd/proto/simp/store/v1"
	"simpd/protocol"
	"simpd/store"
)

// site is a simulation of some nodes that agree at once: each has a table and
// a router of its own; a change is applied on all nodes that can be reached.
type site struct {
	t     *testing.T
	mu    sync.Mutex
	nodes map[string]*node
	log   []*storev1.Entry
}

// node is one of them, and its own Directory and Peers.
type node struct {
	*Router
	site    *site
	id      string
	applied int  // entries of the site's log
	cut     bool // neither proposes nor hears of changes
	lostAt  time.Time
	dead    atomic.Bool   // its peers' streams to it are broken
	mute    bool          // takes what it is handed and does not answer
	late    chan struct{} // not nil: what it is handed comes to it once this is closed
	asked   int           // confirmed look-ups
	held    chan struct{} // not nil: confirmed look-ups wait until this is closed

	beforeProposal atomic.Pointer[func()] // is called first by the next proposal; nil: nothing is
}

// newSite starts a site with users alice, bob and carol at example.com.
func newSite(t *testing.T, ids ...string) *site {
	s := newQuietSite(t, ids...)
	for _, id := range ids {
		s.nodes[id].Start(s.nodes[id], s.nodes[id])
	}
	return s
}

// newQuietSite is newSite, but for that nobody is told of changes.
func newQuietSite(t *testing.T, ids ...string) *site {
	s := &site{t: t, nodes: map[string]*node{}}
	for _, id := range ids {
		n := &node{site: s, id: id}
		n.Router = New(Config{
			Node: id, Domains: []string{"example.com"}, Table: store.New(store.Config{}),
			Logger: slog.New(slog.DiscardHandler),
		})
		n.directory, n.peers = n, n // without Start
		s.nodes[id] = n
	}
	s.must(&storev1.Change{Kind: &storev1.Change_NewHistory{NewHistory: &storev1.NewHistory{History: "h1", Secret: []byte("secret")}}})
	for _, name := range []string{"alice", "bob", "carol"} {
		s.must(putAccount(name, 1))
	}
	for _, id := range ids {
		s.up(id)
	}
	t.Cleanup(func() {
		for _, n := range s.nodes {
			n.Shutdown()
		}
	})
	return s
}

func putAccount(name string, key byte) *storev1.Change {
	k := make([]byte, 32)
	k[0] = key
	return &storev1.Change{Kind: &storev1.Change_PutAccount{PutAccount: &storev1.PutAccount{
		Address: name + "@example.com", Mode: storev1.PutAccount_MODE_UPSERT,
		Verifier: &storev1.Verifier{Salt: k[:16], Iterations: 10000, StoredKey: k, ServerKey: k},
	}}}
}

// up gives a node a new epoch, as it does itself when it comes up anew.
func (s *site) up(id string) {
	s.mu.Lock()
	incarnation := uint64(len(s.log) + 1)
	s.mu.Unlock()
	res := s.must(&storev1.Change{Kind: &storev1.Change_NodeUp{NodeUp: &storev1.NodeUp{Node: id, Incarnation: incarnation, MinSchema: 1, MaxSchema: store.NewestSchema}}})
	s.nodes[id].Up(res[0].Epoch)
}

// raiseSchema brings the site to the newest schema.
func (s *site) raiseSchema() {
	s.must(&storev1.Change{Kind: &storev1.Change_SetSchema{SetSchema: &storev1.SetSchema{Schema: store.NewestSchema}}})
}

// down ends a node's epoch, and reaps it.
func (s *site) down(id string) {
	n, _ := s.nodes[id].config.Table.Node(id)
	s.must(&storev1.Change{Kind: &storev1.Change_NodeDown{NodeDown: &storev1.NodeDown{Node: id, Epoch: n.Epoch}}})
}

func (s *site) reap(id string) {
	s.must(&storev1.Change{Kind: &storev1.Change_Reap{Reap: &storev1.Reap{Node: id, Limit: 512}}})
}

func (s *site) must(c ...*storev1.Change) []store.Result {
	s.t.Helper()
	res := s.propose("", c...)
	for _, r := range res {
		if r.Refusal != store.None {
			s.t.Fatalf("refused: %v %s", r.Refusal, r.Detail)
		}
	}
	return res
}

func (s *site) propose(origin string, c ...*storev1.Change) []store.Result {
	s.mu.Lock()
	defer s.mu.Unlock()
	batch := &storev1.Batch{Origin: origin, Number: uint64(len(s.log)), TimeMs: time.Now().UnixMilli(), Change: c}
	s.log = append(s.log, &storev1.Entry{Batch: []*storev1.Batch{batch}})
	var results []store.Result
	for _, n := range s.nodes {
		if r := n.catchUp(); r != nil && (origin == "" || n.id == origin) {
			results = r
		}
	}
	return results
}

// catchUp applies what the node has not applied yet. site.mu is held.
func (n *node) catchUp() []store.Result {
	if n.cut {
		return nil
	}
	var last []store.Result
	for ; n.applied < len(n.site.log); n.applied++ {
		res, err := n.config.Table.Apply(n.site.log[n.applied])
		if err != nil {
			n.site.t.Error(err)
			return nil
		}
		last = res[0].Results
	}
	return last
}

// setCut cuts a node off from the majority, or brings it back.
func (s *site) setCut(id string, cut bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.nodes[id]
	n.cut, n.lostAt = cut, time.Now()
	n.catchUp()
}

var errCut = errors.New("no majority")

func (n *node) Propose(_ context.Context, c ...*storev1.Change) ([]store.Result, error) {
	if n.isCut() {
		return nil, errCut
	}
	if f := n.beforeProposal.Swap(nil); f != nil {
		(*f)()
	}
	return n.site.propose(n.id, c...), nil
}

func (n *node) ReadBarrier(context.Context) error {
	n.site.mu.Lock()
	n.asked++
	held := n.held
	n.site.mu.Unlock()
	if held != nil {
		<-held
	}
	if n.isCut() {
		return errCut
	}
	return nil
}

// holdBarrier lets confirmed look-ups wait until c is closed.
func (n *node) holdBarrier(c chan struct{}) {
	n.site.mu.Lock()
	defer n.site.mu.Unlock()
	n.held = c
}

func (n *node) isCut() bool {
	n.site.mu.Lock()
	defer n.site.mu.Unlock()
	return n.cut
}

func (n *node) QuorumLostFor() time.Duration {
	n.site.mu.Lock()
	defer n.site.mu.Unlock()
	if !n.cut {
		return 0
	}
	return max(1, time.Since(n.lostAt))
}

func (n *node) Applied(ctx context.Context, index uint64, nodes []string) error {
	for _, o := range n.site.nodes {
		if !o.isCut() {
			if err := o.Settle(ctx, index); err != nil {
				return err
			}
		}
	}
	return nil
}

func (n *node) SendToNode(to string, s store.Session, m *protocol.Message, done func(protocol.Outcome)) {
	o := n.site.nodes[to]
	switch {
	case o.dead.Load():
		done(protocol.Outcome{Status: protocol.StatusUnavailable})
	case o.mute:
	case o.late != nil:
		go func() {
			<-o.late
			o.Router.DeliverToSession(s, m, done)
		}()
	default:
		o.Router.DeliverToSession(s, m, done)
	}
}

func (n *node) Watchers(_ context.Context, user protocol.Address) (by []protocol.Address, partial bool) {
	for _, o := range n.site.nodes {
		switch {
		case o == n:
		case o.dead.Load():
			partial = true
		default:
			by = append(by, o.WatchersOf(user)...)
		}
	}
	return by, partial
}

func (n *node) Failed(a protocol.Attempt) {
	for _, o := range n.site.nodes {
		if o != n {
			o.FailedElsewhere(a, 1)
		}
	}
}

// Peers counts the nodes that are not dead as reached.
func (n *node) Peers() (connected, up int) {
	for _, o := range n.site.nodes {
		if o != n {
			up++
			if !o.dead.Load() {
				connected++
			}
		}
	}
	return connected, up
}

func (n *node) Counted(counts []ratelimit.Count) {
	for _, o := range n.site.nodes {
		if o != n && !o.dead.Load() {
			o.limits.Receive(n.id, counts)
		}
	}
}

func (n *node) Succeeded(a protocol.Attempt) {
	for _, o := range n.site.nodes {
		if o != n {
			o.SucceededElsewhere(a)
		}
	}
}
