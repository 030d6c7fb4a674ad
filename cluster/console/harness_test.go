package console

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"simpd/cluster/api"
	storev1 "simpd/proto/simp/store/v1"
	simpv1 "simpd/proto/simp/v1"
	"simpd/protocol"
	"simpd/protocol/httphost"
	"simpd/store"
)

// testSite is a site of nodes that share one table, each with the services for
// programs and a console.
type testSite struct {
	t     testing.TB
	table *store.Table
	nodes []*testNode
	epoch uint64

	mu      sync.Mutex // guards what follows
	log     bytes.Buffer
	behind  error // why nodes have not caught up
	lost    time.Duration
	drained chan struct{} // ends a drain
	kicked  []string
	noNode  string // that there is not, besides n9
}

type testNode struct {
	site    *testSite
	id      string
	server  *api.Server
	console *Console
}

func newTestSite(t testing.TB, nodes int) *testSite {
	t.Helper()
	s := &testSite{t: t, table: store.New(store.Config{}), drained: make(chan struct{})}
	s.apply(&storev1.Change{Kind: &storev1.Change_NewHistory{NewHistory: &storev1.NewHistory{History: "h1", Secret: []byte("the site's secret")}}})
	s.epoch = s.apply(&storev1.Change{Kind: &storev1.Change_NodeUp{NodeUp: &storev1.NodeUp{
		Node: "n1", Incarnation: 1, Version: "test", MinSchema: 1, MaxSchema: store.NewestSchema,
	}}}).Epoch
	s.apply(&storev1.Change{Kind: &storev1.Change_SetSchema{SetSchema: &storev1.SetSchema{Schema: store.NewestSchema}}})
	for i := range nodes {
		s.nodes = append(s.nodes, &testNode{site: s, id: fmt.Sprintf("n%d", i+1)})
	}
	for _, n := range s.nodes {
		s.serve(n)
	}
	return s
}

func (s *testSite) serve(n *testNode) {
	id := n.id
	logger := slog.New(slog.NewTextHandler(s, nil))
	keys := NewKeys(s.table.Secret, s.table.ConsoleKey)
	n.server = api.New(api.Config{
		NodeID: id, Site: "example.com", Domains: []string{"example.com"}, Table: s.table, Directory: s, Messenger: s, Cluster: s,
		Console: keys, Logger: logger, TempDir: s.t.TempDir(),
	})
	n.console = New(Config{
		NodeID: id, Site: "example.com", Hosts: httphost.New("n1.example.com", "n2.example.com"), Keys: keys, Use: s.use,
		CaughtUp: s.CaughtUp, QuorumLostFor: s.QuorumLostFor, Programs: n.server, View: s, Logger: logger,
	})
	s.t.Cleanup(func() {
		n.console.Close()
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		n.server.Shutdown(ctx)
	})
}

// Write takes the log.
func (s *testSite) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.Write(b)
}

func (s *testSite) logged() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.String()
}

func (s *testSite) apply(c *storev1.Change) store.Result {
	s.t.Helper()
	results, err := s.Propose(context.Background(), c)
	if err != nil || results[0].Refusal != store.None {
		s.t.Fatalf("%v %v", results, err)
	}
	return results[0]
}

// The testSite is the Directory, the Cluster and the Messenger of its nodes.

func (s *testSite) Propose(_ context.Context, changes ...*storev1.Change) ([]store.Result, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	results, err := s.table.Apply(&storev1.Entry{Batch: []*storev1.Batch{{Origin: "n1", TimeMs: time.Now().UnixMilli(), Change: changes}}})
	if err != nil {
		return nil, err
	}
	return results[0].Results, nil
}

func (s *testSite) use(ctx context.Context, id []byte, until time.Time, generation uint64) error {
	results, err := s.Propose(ctx, &storev1.Change{Kind: &storev1.Change_UseConsoleToken{
		UseConsoleToken: &storev1.UseConsoleToken{Id: id, UntilMs: until.UnixMilli(), Generation: generation},
	}})
	if err == nil && results[0].Refusal != store.None {
		err = fmt.Errorf("%w: %s", ErrUsed, results[0].Detail)
	}
	return err
}

func (s *testSite) ReadBarrier(context.Context) error { return nil }

func (s *testSite) Applied(ctx context.Context, index uint64, _ []string) error {
	return s.table.Wait(ctx, index)
}

func (s *testSite) QuorumLostFor() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lost
}

func (s *testSite) CaughtUp() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.behind
}

func (s *testSite) set(behind error, lost time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.behind, s.lost = behind, lost
}

func (s *testSite) Send(*protocol.SendRequest) {}

func (s *testSite) Nodes(context.Context) (all []*simpv1.NodeStatus, _ []*simpv1.SettingDifference, _ error) {
	for _, n := range s.nodes {
		all = append(all, &simpv1.NodeStatus{
			Id: n.id, State: simpv1.NodeState_NODE_STATE_READY, Role: simpv1.NodeRole_NODE_ROLE_FOLLOWER, Version: "test",
			ConsoleAddress: "https://" + n.id + ".example.com:7475", Outcome: []*simpv1.OutcomeCount{{Status: 200, Count: 7}},
		})
	}
	all[0].Role = simpv1.NodeRole_NODE_ROLE_LEADER
	return all, nil, nil
}

func (s *testSite) TransferLeadership(_ context.Context, node string) (string, error) {
	return node, nil
}
func (s *testSite) RemoveNode(context.Context, string) error { return nil }
func (s *testSite) AdmitNode(context.Context, string) error  { return nil }
func (s *testSite) Undrain(context.Context, string) error    { return nil }

func (s *testSite) Drain(ctx context.Context, node string, _ time.Duration, progress func(*simpv1.DrainResponse)) error {
	s.mu.Lock()
	unknown := node == "n9" || node == s.noNode
	s.mu.Unlock()
	if unknown {
		return protocol.Errorf(protocol.StatusUnknownAddress, "there is no node n9")
	}
	progress(&simpv1.DrainResponse{Total: 4, Left: 3})
	select {
	case <-s.drained:
		progress(&simpv1.DrainResponse{Total: 4})
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *testSite) CheckDomain(context.Context, string, string) (*simpv1.CheckDomainResponse, error) {
	return &simpv1.CheckDomainResponse{Reached: true}, nil
}

func (s *testSite) Kick(_ context.Context, user protocol.Address, _ *store.Session) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kicked = append(s.kicked, user.String())
	return 1, nil
}

func (s *testSite) Audit(context.Context, string) Observed[AuditRecord] {
	o := Observed[AuditRecord]{Found: []AuditRecord{}, Silent: []string{}, Nodes: []string{}}
	for _, n := range s.nodes {
		o.Nodes = append(o.Nodes, n.id)
		for _, r := range n.server.RecentAudit() {
			o.Found = append(o.Found, AuditRecord{Node: n.id, TimeMs: r.Time.UnixMilli(), Who: r.Who, Via: r.Via, What: r.What, Whom: r.Whom, Outcome: r.Outcome, Why: r.Why})
		}
	}
	return o
}

func (s *testSite) Domains(context.Context, string) Observed[Domain] {
	return Observed[Domain]{Found: []Domain{{Node: "n1", Domain: "two.example"}, {Node: "n1", Domain: "one.example"}}, Silent: []string{}, Nodes: []string{"n1"}}
}

// revoke makes all links and sessions void.
func (s *testSite) revoke() {
	s.t.Helper()
	id := newID()
	s.apply(&storev1.Change{Kind: &storev1.Change_RevokeConsole{RevokeConsole: &storev1.RevokeConsole{
		Generation: s.table.ConsoleGeneration(), Secret: append(id[:], id[:]...),
	}}})
}

// account makes an account.
func (s *testSite) account(user string) {
	s.t.Helper()
	s.apply(&storev1.Change{Kind: &storev1.Change_PutAccount{PutAccount: &storev1.PutAccount{
		Address: user, Mode: storev1.PutAccount_MODE_CREATE,
		Verifier: &storev1.Verifier{Salt: make([]byte, 16), Iterations: 10_000, StoredKey: make([]byte, 32), ServerKey: make([]byte, 32)},
	}}})
}

// listen binds a session of a user.
func (s *testSite) listen(user string, number uint64) {
	s.t.Helper()
	a, _ := s.table.Account(protocol.CanonicalAddress(user))
	s.apply(&storev1.Change{Kind: &storev1.Change_Bind{Bind: &storev1.Bind{
		Address: user, Session: &storev1.Session{Node: "n1", Epoch: s.epoch, Number: number}, Epoch: s.epoch,
		State: storev1.State_STATE_AVAILABLE, Credential: a.Credential, Client: "192.0.2.1:1",
	}}})
}

const allRoles = "presence:read message:send account:admin cluster:admin cluster:read abuse:admin"

// link makes a link for somebody of those roles, and returns its address at a
// node.
func (n *testNode) link(roles string) string {
	link, _ := n.console.Keys.Link("", api.Identity{Name: "olga", Roles: strings.Fields(roles)}, time.Time{})
	return link
}

// do makes a request; header is names and values in turn.
func (n *testNode) do(method, target, cookie string, body string, header ...string) *http.Response {
	w := httptest.NewRecorder()
	n.console.ServeHTTP(w, n.request(method, target, cookie, body, header...))
	return w.Result()
}

func (n *testNode) request(method, target, cookie string, body string, header ...string) *http.Request {
	r := httptest.NewRequest(method, "/", strings.NewReader(body))
	r.Host, r.RequestURI = n.id+".example.com:7475", target
	if u, err := url.Parse(target); err == nil {
		r.URL = u
	}
	if cookie != "" {
		r.Header.Set("Cookie", cookieName+"="+cookie)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			r.Host = header[i+1]
		} else {
			r.Header.Set(header[i], header[i+1])
		}
	}
	return r
}

// status makes a request and returns the status of its answer.
func (n *testNode) status(method, target, cookie string, body string, header ...string) int {
	return n.do(method, target, cookie, body, header...).StatusCode
}

// cookieOf returns the value of the cookie that an answer sets; "" if none.
func cookieOf(r *http.Response) string {
	for _, c := range r.Cookies() {
		if c.Name == cookieName {
			return c.Value
		}
	}
	return ""
}

// signIn returns the cookie of somebody of those roles.
func (n *testNode) signIn(roles string) string {
	n.site.t.Helper()
	r := n.do(http.MethodGet, n.link(roles), "", "")
	cookie := cookieOf(r)
	if r.StatusCode != http.StatusOK || cookie == "" {
		n.site.t.Fatalf("signing in: %d", r.StatusCode)
	}
	return cookie
}

// get returns what a route answers.
func (n *testNode) get(target, cookie string, into any) {
	n.site.t.Helper()
	r := n.do(http.MethodGet, target, cookie, "")
	if r.StatusCode != http.StatusOK {
		n.site.t.Fatalf("GET %s: %d", target, r.StatusCode)
	}
	if err := json.NewDecoder(r.Body).Decode(into); err != nil {
		n.site.t.Fatalf("GET %s: %v", target, err)
	}
}

// follower is a browser that reads events.
type follower struct {
	head http.Header
	mu   sync.Mutex
	code int
	got  bytes.Buffer
	end  context.CancelFunc
	done chan struct{}
}

func (f *follower) Header() http.Header { return f.head }
func (f *follower) WriteHeader(code int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.code = code
}
func (f *follower) Flush() {}

func (f *follower) Write(b []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.got.Write(b)
}

// take returns what has come since the last call.
func (f *follower) take() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	defer f.got.Reset()
	return f.got.String()
}

// hasEnded reports whether the stream is over.
func (f *follower) hasEnded() bool {
	select {
	case <-f.done:
		return true
	default:
		return false
	}
}

// follow opens a stream of events.
func (n *testNode) follow(target, cookie string, header ...string) *follower {
	f := &follower{head: http.Header{}, done: make(chan struct{})}
	r := n.request(http.MethodGet, target, cookie, "", append(header, "Accept", "text/event-stream")...)
	var ctx context.Context
	ctx, f.end = context.WithCancel(r.Context())
	go func() {
		defer close(f.done)
		n.console.ServeHTTP(f, r.WithContext(ctx))
	}()
	n.site.t.Cleanup(f.end)
	return f
}

var errBehind = errors.New("catching up with the site")
