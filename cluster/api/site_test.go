package api_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"simpd/cluster/api"
	storev1 "simpd/proto/simp/store/v1"
	simpv1 "simpd/proto/simp/v1"
	"simpd/protocol"
	"simpd/store"
)

// testSite is a site of one node in memory: the services over a real table,
// and a Directory that applies at once what is proposed.
type testSite struct {
	t      testing.TB
	config api.Config
	table  *store.Table
	server *api.Server
	conn   *grpc.ClientConn
	dial   func() (net.Conn, error) // a connection that says nothing yet

	presence simpv1.PresenceServiceClient
	messages simpv1.MessageServiceClient
	accounts simpv1.AccountServiceClient
	invites  simpv1.InviteServiceClient
	blocks   simpv1.BlockServiceClient
	reports  simpv1.ReportServiceClient
	cluster  simpv1.ClusterServiceClient

	directory *directory
	nodes     *nodes
	messenger *messenger
	epoch     uint64
	sessions  uint64
}

func newSite(t testing.TB, change ...func(*api.Config)) *testSite {
	t.Helper()
	s := siteOn(t, store.New(store.Config{}), change...)
	s.propose(&storev1.Change{Kind: &storev1.Change_NewHistory{NewHistory: &storev1.NewHistory{History: "h1", Secret: []byte("secret")}}})
	s.epoch = s.propose(&storev1.Change{Kind: &storev1.Change_NodeUp{NodeUp: &storev1.NodeUp{
		Node: "n1", Incarnation: 1, Version: "test", MinSchema: 1, MaxSchema: store.NewestSchema,
	}}}).Epoch
	return s
}

// siteOn is a node of a table that others may share.
func siteOn(t testing.TB, table *store.Table, change ...func(*api.Config)) *testSite {
	t.Helper()
	s := &testSite{t: t, table: table, nodes: &nodes{}, messenger: &messenger{}, directory: &directory{table: table}}
	s.config = api.Config{
		NodeID: "n1", Site: "example.com", Domains: []string{"example.com", "example.org"}, Table: table,
		Directory: s.directory, Messenger: s.messenger, Cluster: s.nodes, TempDir: t.TempDir(),
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)), Console: links{},
	}
	for _, c := range change {
		c(&s.config)
	}
	s.serve()
	return s
}

func (s *testSite) serve() {
	s.server = api.New(s.config)
	l := bufconn.Listen(64 << 10)
	s.dial = l.Dial
	served := make(chan error, 1)
	go func() { served <- s.server.Serve(l) }()
	conn, err := grpc.NewClient("passthrough:///bufconn", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))
	if err != nil {
		s.t.Fatal(err)
	}
	s.conn = conn
	s.presence, s.messages = simpv1.NewPresenceServiceClient(conn), simpv1.NewMessageServiceClient(conn)
	s.accounts, s.cluster = simpv1.NewAccountServiceClient(conn), simpv1.NewClusterServiceClient(conn)
	s.reports = simpv1.NewReportServiceClient(conn)
	s.invites, s.blocks = simpv1.NewInviteServiceClient(conn), simpv1.NewBlockServiceClient(conn)
	s.t.Cleanup(func() {
		conn.Close()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		s.server.Shutdown(ctx)
		if err := <-served; err != nil {
			s.t.Errorf("serve: %v", err)
		}
	})
}

func (s *testSite) propose(c *storev1.Change) store.Result {
	s.t.Helper()
	results, err := s.directory.Propose(context.Background(), c)
	if err != nil {
		s.t.Fatal(err)
	}
	if results[0].Refusal != store.None {
		s.t.Fatalf("refused: %s", results[0].Detail)
	}
	return results[0]
}

// account makes an account without a usable password.
func (s *testSite) account(user string) {
	s.t.Helper()
	s.propose(&storev1.Change{Kind: &storev1.Change_PutAccount{PutAccount: &storev1.PutAccount{
		Address: user, Verifier: someVerifier(), Mode: storev1.PutAccount_MODE_CREATE,
	}}})
}

// appAccount makes an account with a device's key and an app password, at the
// newest schema, and returns the app password's ID.
func (s *testSite) appAccount(user string) (id uint64) {
	s.t.Helper()
	s.account(user)
	s.propose(&storev1.Change{Kind: &storev1.Change_SetSchema{SetSchema: &storev1.SetSchema{Schema: store.NewestSchema}}})
	s.addKey(user, 1)
	return s.appPassword(user, "phone", 0)
}

// appPassword adds an app password.
func (s *testSite) appPassword(user, name string, until int64) (id uint64) {
	s.t.Helper()
	v := someVerifier()
	copy(v.StoredKey, name)
	return s.propose(&storev1.Change{Kind: &storev1.Change_AddAppPassword{AddAppPassword: &storev1.AddAppPassword{
		Address: user, Name: name, Verifier: v, UntilMs: until,
	}}}).AppPassword
}

// ownedAccount registers an account of an account source.
func (s *testSite) ownedAccount(user, source string) {
	s.t.Helper()
	v := someVerifier()
	copy(v.StoredKey, source)
	s.propose(&storev1.Change{Kind: &storev1.Change_RegisterAccount{RegisterAccount: &storev1.RegisterAccount{
		Address: user, Source: source, Verifier: v,
	}}})
}

// invitation adds an invitation for an hour, as change says, at a schema that
// has them, and returns its ID.
func (s *testSite) invitation(change func(*storev1.AddInvitation)) (id uint64) {
	s.t.Helper()
	add := &storev1.AddInvitation{
		CodeHash: protocol.HashInvitationCode("code"), Domain: "example.com", Uses: 1, UntilMs: time.Now().Add(time.Hour).UnixMilli(),
	}
	if change != nil {
		change(add)
	}
	return s.propose(&storev1.Change{Kind: &storev1.Change_AddInvitation{AddInvitation: add}}).Invitation
}

func someVerifier() *storev1.Verifier {
	return &storev1.Verifier{Salt: make([]byte, 16), Iterations: 10_000, StoredKey: make([]byte, 32), ServerKey: make([]byte, 32)}
}

// listen binds a session of a user, and makes the account if there is none.
func (s *testSite) listen(user string, state storev1.State, note string) *storev1.Session {
	s.t.Helper()
	if _, ok := s.table.Account(address(user)); !ok {
		s.account(user)
	}
	a, _ := s.table.Account(address(user))
	s.sessions++
	session := &storev1.Session{Node: "n1", Epoch: s.epoch, Number: s.sessions}
	s.propose(&storev1.Change{Kind: &storev1.Change_Bind{Bind: &storev1.Bind{
		Address: user, Session: session, Epoch: s.epoch, State: state, Note: note, Agent: "test/1", Client: "192.0.2.1:1", Credential: a.Credential,
	}}})
	return session
}

func (s *testSite) release(user string, session *storev1.Session) {
	s.t.Helper()
	s.propose(&storev1.Change{Kind: &storev1.Change_Release{Release: &storev1.Release{Address: user, Session: session, Epoch: s.epoch}}})
}

func (s *testSite) setState(user string, session *storev1.Session, state storev1.State, note string) {
	s.t.Helper()
	s.propose(s.stateChange(user, session, state, note))
}

func (s *testSite) stateChange(user string, session *storev1.Session, state storev1.State, note string) *storev1.Change {
	return &storev1.Change{Kind: &storev1.Change_SetState{SetState: &storev1.SetState{
		Address: user, Session: session, Epoch: s.epoch, State: state, Note: &note,
	}}}
}

func address(s string) protocol.Address {
	a, err := protocol.ParseAddress(s)
	if err != nil {
		panic(err)
	}
	return a
}

// directory is a site whose log is one goroutine's: what is proposed is
// applied at once, on the one table.
type directory struct {
	mu    sync.Mutex
	table *store.Table

	err     error         // of the next Propose
	confirm error         // of Confirm
	contact time.Duration // out of touch for
	since   time.Time     // or since then, if not zero
	behind  error         // of CaughtUp
	applied func(ctx context.Context, index uint64) error
}

func (d *directory) Propose(_ context.Context, changes ...*storev1.Change) ([]store.Result, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err == errFault {
		panic(d.err)
	}
	if d.err != nil {
		return nil, d.err
	}
	results, err := d.table.Apply(&storev1.Entry{Batch: []*storev1.Batch{{Origin: "n1", TimeMs: time.Now().UnixMilli(), Change: changes}}})
	if err != nil {
		return nil, err
	}
	return results[0].Results, nil
}

func (d *directory) ReadBarrier(context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.confirm
}

func (d *directory) Applied(ctx context.Context, index uint64, _ []string) error {
	if d.applied != nil {
		return d.applied(ctx, index)
	}
	return d.table.Wait(ctx, index)
}

func (d *directory) QuorumLostFor() time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.since.IsZero() {
		return time.Since(d.since)
	}
	return d.contact
}

func (d *directory) CaughtUp() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.behind
}

// cut makes the node one that has been out of touch for so long.
func (d *directory) cut(since time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.contact = since
}

// nodes is a cluster that notes what it is asked for.
type nodes struct {
	mu    sync.Mutex
	list  []*simpv1.NodeStatus
	asked []string
	err   error
}

func (n *nodes) note(format string, args ...any) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked = append(n.asked, fmt.Sprintf(format, args...))
	if n.err == errFault {
		panic(n.err)
	}
	return n.err
}

// links are links to consoles.
type links struct{}

func (links) Link(address string, who api.Identity, end time.Time) (string, time.Time) {
	return fmt.Sprintf("%s/%s/%s", address, who.Name, strings.Join(who.Roles, ",")), time.Unix(1_800_000_000, 0)
}

func (n *nodes) Nodes(context.Context) ([]*simpv1.NodeStatus, []*simpv1.SettingDifference, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.err == errFault {
		panic(n.err)
	}
	list := slices.Clone(n.list)
	if len(list) == 0 {
		list = []*simpv1.NodeStatus{{Id: "n1", ConsoleAddress: "https://n1.example.com:7475"}}
	}
	return list, nil, n.err
}

func (n *nodes) TransferLeadership(_ context.Context, node string) (string, error) {
	return "n2", n.note("transfer %s", node)
}

func (n *nodes) AdmitNode(_ context.Context, node string) error { return n.note("admit %s", node) }

func (n *nodes) RemoveNode(_ context.Context, node string) error { return n.note("remove %s", node) }

func (n *nodes) Drain(_ context.Context, node string, timeout time.Duration, progress func(*simpv1.DrainResponse)) error {
	progress(&simpv1.DrainResponse{Total: 2, Left: 2, Leader: true})
	progress(&simpv1.DrainResponse{Total: 2, Left: 0})
	return n.note("drain %s %s", node, timeout)
}

func (n *nodes) Undrain(_ context.Context, node string) error { return n.note("undrain %s", node) }

// CheckDomain finds that one domain is well, and that no other is known.
func (n *nodes) CheckDomain(_ context.Context, own, domain string) (*simpv1.CheckDomainResponse, error) {
	if domain == "two.example" {
		return &simpv1.CheckDomainResponse{Reached: true, Check: []*simpv1.DomainCheck{{Step: "proof", Ok: true, Text: domain + " takes this site for " + own}}}, nil
	}
	return &simpv1.CheckDomainResponse{Check: []*simpv1.DomainCheck{{Step: "DNS", Text: domain + " has no address", Advice: "ask them"}}}, nil
}

func (n *nodes) Kick(_ context.Context, user protocol.Address, session *store.Session) (int, error) {
	if session != nil {
		return 1, n.note("kick %s %s", user, session)
	}
	return 2, n.note("kick %s", user)
}

// messenger answers each recipient by the first letters of the address.
type messenger struct {
	mu   sync.Mutex
	sent []*protocol.SendRequest
}

func (m *messenger) Send(r *protocol.SendRequest) {
	m.mu.Lock()
	m.sent = append(m.sent, r)
	m.mu.Unlock()
	go func() {
		for i := len(r.To) - 1; i >= 0; i-- {
			o := protocol.Outcome{Status: protocol.StatusOK, Text: "delivered"}
			if r.To[i].Local() == "deaf" {
				o = protocol.Outcome{Status: protocol.StatusNotListening, Text: "not listening"}
			}
			r.Done(i, o)
		}
	}()
}
