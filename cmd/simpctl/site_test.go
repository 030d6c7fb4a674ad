package main

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"simpd/cluster/api"
	storev1 "simpd/proto/simp/store/v1"
	simpv1 "simpd/proto/simp/v1"
	"simpd/protocol"
	"simpd/store"
)

// testSite is a node on a loopback port whose log is its own table.
type testSite struct {
	t     *testing.T
	table *store.Table
	addr  string
	epoch uint64

	mu    sync.Mutex
	asked []string
	down  bool // n3 is
	alone bool // n1 is: n2 drains, n3 is down
}

func newSite(t *testing.T) *testSite {
	t.Helper()
	s := &testSite{t: t, table: store.New(store.Config{})}
	s.propose(&storev1.Change{Kind: &storev1.Change_NewHistory{NewHistory: &storev1.NewHistory{History: "8f3a"}}})
	s.epoch = s.propose(&storev1.Change{Kind: &storev1.Change_NodeUp{NodeUp: &storev1.NodeUp{Node: "n1", Incarnation: 1, MinSchema: 1, MaxSchema: store.NewestSchema}}}).Epoch
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = l.Addr().String()
	server := api.New(api.Config{
		NodeID: "n1", Site: "example.com", Domains: []string{"example.com"}, Table: s.table,
		Directory: s, Messenger: s, Cluster: s, TempDir: t.TempDir(), Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() {
		server.Shutdown(t.Context())
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return s
}

func (s *testSite) propose(c *storev1.Change) store.Result {
	s.t.Helper()
	results, err := s.Propose(context.Background(), c)
	if err != nil || results[0].Refusal != store.None {
		s.t.Fatalf("%v %v", results, err)
	}
	return results[0]
}

// listen binds a session; number tells it from others.
func (s *testSite) listen(user string, number uint64) {
	s.t.Helper()
	a, _ := protocol.ParseAddress(user)
	account, ok := s.table.Account(a)
	if !ok {
		s.t.Fatalf("%s has no account", user)
	}
	s.propose(&storev1.Change{Kind: &storev1.Change_Bind{Bind: &storev1.Bind{
		Address: user, Session: &storev1.Session{Node: "n1", Epoch: s.epoch, Number: number}, Epoch: s.epoch,
		State: storev1.State_STATE_AVAILABLE, Agent: "simp/1", Client: "192.0.2.1:5000", Credential: account.Credential,
	}}})
}

// fits reports whether the user's password is p.
func (s *testSite) fits(user, p string) bool {
	a, _ := protocol.ParseAddress(user)
	account, ok := s.table.Account(a)
	return ok && account.Credentials().Fits(p)
}

func (s *testSite) note(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, what)
}

func (s *testSite) Propose(_ context.Context, changes ...*storev1.Change) ([]store.Result, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	results, err := s.table.Apply(&storev1.Entry{Batch: []*storev1.Batch{{Origin: "n1", TimeMs: time.Now().UnixMilli(), Change: changes}}})
	if err != nil {
		return nil, err
	}
	return results[0].Results, nil
}

func (s *testSite) ReadBarrier(context.Context) error { return nil }

func (s *testSite) Applied(ctx context.Context, index uint64, _ []string) error {
	return s.table.Wait(ctx, index)
}

func (s *testSite) QuorumLostFor() time.Duration { return 0 }

func (s *testSite) CaughtUp() error { return nil }

func (s *testSite) Send(r *protocol.SendRequest) {
	for i := range r.To {
		r.Done(i, protocol.Outcome{Status: protocol.StatusOK})
	}
}

func (s *testSite) Nodes(context.Context) ([]*simpv1.NodeStatus, []*simpv1.SettingDifference, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := []*simpv1.NodeStatus{
		{Id: "n1", State: simpv1.NodeState_NODE_STATE_READY, Role: simpv1.NodeRole_NODE_ROLE_FOLLOWER, ClientAddress: "127.0.0.1:7467"},
		{Id: "n2", State: simpv1.NodeState_NODE_STATE_READY, Role: simpv1.NodeRole_NODE_ROLE_LEADER, Version: "0.1.0"},
		{Id: "n3", State: simpv1.NodeState_NODE_STATE_READY, Role: simpv1.NodeRole_NODE_ROLE_FOLLOWER, Version: "0.1.0"},
	}
	for _, n := range list {
		n.Index, n.Started = s.table.Index(), timestamppb.New(time.Now().Add(-90*time.Minute))
	}
	if s.alone {
		list[1].State = simpv1.NodeState_NODE_STATE_DRAINING
	}
	if s.down || s.alone {
		list[2].State, list[2].Problem = simpv1.NodeState_NODE_STATE_DOWN, "does not answer"
		list[1].Warning = []string{"the account source corp: ldaps://a fails"}
	}
	return list, nil, nil
}

func (s *testSite) TransferLeadership(_ context.Context, node string) (string, error) {
	s.note("transfer " + node)
	return "n3", nil
}

func (s *testSite) AdmitNode(_ context.Context, node string) error {
	if node == "n9" {
		return protocol.Errorf(protocol.StatusUnknownAddress, "no node n9 was removed from the site")
	}
	s.note("admit " + node)
	return nil
}

func (s *testSite) RemoveNode(_ context.Context, node string) error {
	if node == "n9" {
		return protocol.Errorf(protocol.StatusUnknownAddress, "the site has no node n9; it has n1, n2 and n3")
	}
	s.note("remove " + node)
	return nil
}

func (s *testSite) Drain(_ context.Context, node string, _ time.Duration, progress func(*simpv1.DrainResponse)) error {
	progress(&simpv1.DrainResponse{Total: 3, Left: 3})
	progress(&simpv1.DrainResponse{Total: 3})
	s.note("drain " + node)
	return nil
}

func (s *testSite) Undrain(_ context.Context, node string) error {
	s.note("undrain " + node)
	return nil
}

// CheckDomain finds that one domain is well, and that no other is known.
func (s *testSite) CheckDomain(_ context.Context, own, domain string) (*simpv1.CheckDomainResponse, error) {
	if domain == "two.example" {
		return &simpv1.CheckDomainResponse{Reached: true, Check: []*simpv1.DomainCheck{{Step: "proof", Ok: true, Text: domain + " takes this site for " + own}}}, nil
	}
	return &simpv1.CheckDomainResponse{Check: []*simpv1.DomainCheck{{Step: "DNS", Text: domain + " has no address", Advice: "ask them"}}}, nil
}

func (s *testSite) Kick(_ context.Context, user protocol.Address, session *store.Session) (int, error) {
	if session != nil {
		s.note("kick " + user.String() + " " + session.String())
		return 1, nil
	}
	s.note("kick " + user.String())
	return 2, nil
}

// console is a terminal of which everything or nothing is one.
type console struct {
	terminal bool
	answers  []string
}

func (c *console) isTerminal(any) bool { return c.terminal }

func (c *console) readPassword(context.Context, any) (string, error) {
	if len(c.answers) == 0 {
		return "", io.EOF
	}
	answer := c.answers[0]
	c.answers = c.answers[1:]
	return answer, nil
}

// result is what a run of simpctl left behind.
type result struct {
	code     int
	out, err string
}

// simpctl runs the program as it is run on no terminal.
func simpctl(t *testing.T, in string, args ...string) result {
	t.Helper()
	return simpctlAt(t, &console{}, in, args...)
}

func simpctlAt(t *testing.T, c *console, in string, args ...string) result {
	t.Helper()
	var out, errOut bytes.Buffer
	a := &app{in: strings.NewReader(in), out: &out, errOut: &errOut, env: func(string) string { return "" }, term: c}
	code := run(t.Context(), a, args)
	return result{code, out.String(), errOut.String()}
}

// do runs simpctl against the site.
func (s *testSite) do(in string, args ...string) result {
	s.t.Helper()
	return simpctl(s.t, in, append([]string{"--insecure", "--addr", s.addr}, args...)...)
}

// ok runs simpctl, which has to succeed, and returns what it printed.
func (s *testSite) ok(in string, args ...string) string {
	s.t.Helper()
	r := s.do(in, args...)
	if r.code != 0 {
		s.t.Fatalf("simpctl %v: exit %d: %s", args, r.code, r.err)
	}
	return r.out
}
