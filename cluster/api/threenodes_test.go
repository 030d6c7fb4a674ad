package api_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"simpd/cluster/api"
	"simpd/cluster/clustertest"
	simpv1 "simpd/proto/simp/v1"
	"simpd/protocol"
)

// realSite is a site of three nodes with their Raft and gossip, each with the
// services over its own table.
type realSite struct {
	*clustertest.Site
	t  *testing.T
	mu sync.Mutex

	programs map[int]*programs // by node, of those that run
}

// programs is the services of one node.
type programs struct {
	listener *bufconn.Listener
	server   *api.Server
	served   chan error
}

func newRealSite(t *testing.T, users ...string) *realSite {
	t.Helper()
	s := &realSite{Site: clustertest.New(t, clustertest.Config{Nodes: 3, Disk: true, Users: users}), t: t, programs: map[int]*programs{}}
	for i := 1; i <= 3; i++ {
		s.serve(i)
	}
	return s
}

func (s *realSite) serve(i int) {
	n := s.Node(i)
	p := &programs{listener: bufconn.Listen(64 << 10), served: make(chan error, 1)}
	p.server = api.New(api.Config{
		NodeID: clustertest.ID(i), Site: clustertest.Domain, Domains: []string{clustertest.Domain}, Table: n.Table,
		Directory: n.Node, Messenger: n.Router, Cluster: &nodes{}, Logger: slog.New(slog.DiscardHandler),
	})
	go func() { p.served <- p.server.Serve(p.listener) }()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.programs[i] = p
}

// silence ends the services of a node without a word.
func (s *realSite) silence(i int) {
	s.t.Helper()
	s.mu.Lock()
	p := s.programs[i]
	delete(s.programs, i)
	s.mu.Unlock()
	now, cancel := context.WithCancel(context.Background())
	cancel()
	p.server.Shutdown(now)
	if err := <-p.served; err != nil {
		s.t.Errorf("serve: %v", err)
	}
}

// dial connects to a node that runs, taken at random.
func (s *realSite) dial() *grpc.ClientConn {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.programs {
		conn, err := grpc.NewClient("passthrough:///bufconn", grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return p.listener.DialContext(ctx) }))
		if err != nil {
			s.t.Error(err)
		}
		return conn
	}
	return nil
}

// wanderer is a consumer that changes its node again and again.
type wanderer struct {
	site  *realSite
	at    *simpv1.Position
	begun *simpv1.Position // where the first present state was complete
	got   []uint64         // the indexes of the changes
	index atomic.Uint64    // how far it has come
	wrong string
}

func (w *wanderer) run(ctx context.Context) {
	for ctx.Err() == nil && w.wrong == "" {
		w.visit(ctx, 1+rand.IntN(300))
	}
}

// visit reads some responses at one node, or until that fails.
func (w *wanderer) visit(ctx context.Context, responses int) {
	conn := w.site.dial()
	defer conn.Close()
	stream, err := simpv1.NewPresenceServiceClient(conn).Watch(ctx, &simpv1.WatchRequest{After: w.at})
	for ; err == nil && responses > 0; responses-- {
		var r *simpv1.WatchResponse
		if r, err = stream.Recv(); err == nil {
			w.take(r)
		}
	}
}

func (w *wanderer) take(r *simpv1.WatchResponse) {
	switch e := r.Event.(type) {
	case *simpv1.WatchResponse_Reset_:
		w.wrong = "a reset: " + e.Reset_.Reason
	case *simpv1.WatchResponse_Presence:
		if w.begun != nil {
			w.got = append(w.got, r.Position.Index)
		}
	case *simpv1.WatchResponse_Synced:
		if w.begun != nil {
			w.wrong = "the present state a second time"
		}
		w.begun = r.Position
	}
	if w.at = r.Position; w.at != nil {
		w.index.Store(w.at.Index)
	}
}

// TestAConsumerSeesTheHistoryWhileNodesAreKilled moves a consumer from node to
// node at random while users come and go at all of them, and kills nodes, the
// leader among them: what it saw has to be the table's history.
func TestAConsumerSeesTheHistoryWhileNodesAreKilled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		users := []string{"u1", "u2", "u3", "u4", "u5", "u6"}
		s := newRealSite(t, users...)
		watching, leave := context.WithCancel(t.Context())
		w, left := &wanderer{site: s}, make(chan struct{})
		go func() { defer close(left); w.run(watching) }()
		s.Eventually("the consumer has begun", func() bool { return w.index.Load() > 0 })
		for round := range 3 {
			s.bustle(users, 300)
			gone := 1 + round%3
			s.silence(gone)
			s.Kill(gone)
			s.bustle(users, 300)
			s.Start(gone)
			s.AwaitReady()
			s.serve(gone)
		}
		s.AwaitSame()
		end := s.Node(1).Table.Index()
		s.Eventually("the consumer has come to the end", func() bool { return w.index.Load() >= end })
		leave()
		<-left
		if w.wrong != "" {
			t.Fatal(w.wrong)
		}
		if len(w.got) < 1000 {
			t.Errorf("only %d changes were seen", len(w.got))
		}
		compareHistory(t, s.Node(1).Table, w.begun.Index, w.got)
		for i := 1; i <= 3; i++ {
			s.silence(i)
		}
	})
}

// bustle has each user change their state so many times, at the nodes that run.
func (s *realSite) bustle(users []string, changes int) {
	var busy sync.WaitGroup
	up := s.Up()
	for i, user := range users {
		busy.Go(func() {
			c, err := up[i%len(up)].Login(user)
			if err != nil {
				s.t.Error(err)
				return
			}
			defer c.Close()
			changeState(s.t, c, changes/len(users))
		})
	}
	busy.Wait()
}

// changeState listens, changes the state and listens no more, by turns. It
// goes on when a node is busy with an election: what counts is what the table
// says.
func changeState(t *testing.T, c *clustertest.Client, changes int) {
	listening := false
	for n := range changes {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		var err error
		switch note := fmt.Sprint(n, strings.Repeat(".", rand.IntN(100))); {
		case !listening:
			_, _, err = c.Connection.Listen(ctx, protocol.ListenRequest{State: protocol.Available, Exclusive: true})
		case n%20 == 0:
			_, err = c.Connection.Unlisten(ctx)
			err = errors.Join(err, errors.New("listens no more"))
		default:
			_, err = c.Connection.SetState(ctx, protocol.Busy, &note)
		}
		listening = err == nil
		cancel()
	}
}
