package link

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// counter is a state machine that counts.
type counter struct{ n int }

func (c *counter) Apply(*raft.Log) any                  { c.n++; return c.n }
func (c *counter) Snapshot() (raft.FSMSnapshot, error)  { return nil, fmt.Errorf("not here") }
func (c *counter) Restore(snapshot io.ReadCloser) error { return snapshot.Close() }

// elect runs Raft on nodes 1 to n, to be shut down at the end.
func (s *site) elect(n int) []*raft.Raft {
	s.t.Helper()
	var servers raft.Configuration
	for i := 1; i <= n; i++ {
		servers.Servers = append(servers.Servers, raft.Server{ID: raft.ServerID(nodeID(i)), Address: raft.ServerAddress(hostOf(i) + ":7470")})
	}
	var all []*raft.Raft
	for i := 1; i <= n; i++ {
		c := raft.DefaultConfig()
		c.LocalID, c.Logger = raft.ServerID(nodeID(i)), hclog.NewNullLogger()
		logs := raft.NewInmemStore()
		transport := s.links[nodeID(i)].RaftTransport(c.Logger)
		if err := raft.BootstrapCluster(c, logs, logs, raft.NewInmemSnapshotStore(), transport, servers); err != nil {
			s.t.Fatal(err)
		}
		r, err := raft.NewRaft(c, &counter{}, logs, logs, raft.NewInmemSnapshotStore(), transport)
		if err != nil {
			s.t.Fatal(err)
		}
		s.t.Cleanup(func() {
			if err := r.Shutdown().Error(); err != nil {
				s.t.Error(err)
			}
		})
		all = append(all, r)
	}
	return all
}

func leader(all []*raft.Raft) *raft.Raft {
	for _, r := range all {
		if r.State() == raft.Leader {
			return r
		}
	}
	return nil
}

func TestRaftElectsAndCommitsOverTheSameListener(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t).secure(3).up(3)
		all := s.elect(3)
		s.eventually(func() bool { return leader(all) != nil }, "a leader is elected")
		for i := range 100 {
			f := leader(all).Apply([]byte("x"), time.Second)
			if err := f.Error(); err != nil || f.Response() != i+1 {
				t.Fatalf("%d: %v, %v", i, f.Response(), err)
			}
		}
		for _, r := range all {
			addr, id := r.LeaderWithID()
			if at := s.links[string(id)].Addr(); addr != raft.ServerAddress(at) && addr != raft.ServerAddress(string(id)+"@"+at) {
				t.Errorf("the leader %s is said to be at %s", id, addr)
			}
		}
	})
}

func TestRaftSurvivesTheLossOfItsLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t).up(3)
		all := s.elect(3)
		s.eventually(func() bool { return leader(all) != nil }, "a leader is elected")
		_, old := leader(all).LeaderWithID()
		var others []*raft.Raft
		for i, r := range all {
			if nodeID(i+1) != string(old) {
				others = append(others, r)
			} else {
				s.network.Isolate(hostOf(i + 1))
			}
		}
		s.eventually(func() bool { return leader(others) != nil }, "another is elected")
		if err := leader(others).Apply([]byte("x"), time.Second).Error(); err != nil {
			t.Error(err)
		}
	})
}

// raftCalls answers what comes in by a transport and keeps the senders that
// were named.
type raftCalls struct {
	mu    sync.Mutex
	heard []string
}

// serve answers until the transport is closed.
func (r *raftCalls) serve(t raft.Transport, closed <-chan struct{}) {
	answer := func(call raft.RPC) {
		r.mu.Lock()
		h := RaftHeader(call)
		r.heard = append(r.heard, fmt.Sprintf("%s %s", h.ID, h.Addr))
		r.mu.Unlock()
		if call.Reader != nil {
			io.Copy(io.Discard, call.Reader)
		}
		call.Respond(&raft.AppendEntriesResponse{}, nil)
	}
	t.SetHeartbeatHandler(answer)
	for {
		select {
		case call := <-t.Consumer():
			answer(call)
		case <-closed:
			return
		}
	}
}

func (r *raftCalls) take() (heard []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	heard, r.heard = r.heard, nil
	return heard
}

// TestANodeSpeaksForItselfAlone: whatever call of Raft a node makes, it is
// refused unless it is in the name that the node's certificate has.
func TestANodeSpeaksForItselfAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t).secure(3).up(3)
		for _, l := range s.links {
			l.SetConfiguration(configuration(1, 1, 2, 3))
		}
		here, there := s.links["n1"].RaftTransport(hclog.NewNullLogger()), s.links["n2"].RaftTransport(hclog.NewNullLogger())
		defer here.(io.Closer).Close()
		defer there.(io.Closer).Close()
		closed := make(chan struct{})
		defer close(closed)
		var calls raftCalls
		go calls.serve(here, closed)
		const at = "10.0.0.1:7470"
		for name, call := range map[string]func(h raft.RPCHeader) error{
			"heartbeat": func(h raft.RPCHeader) error {
				return there.AppendEntries("n1", at, &raft.AppendEntriesRequest{RPCHeader: h, Term: 9}, &raft.AppendEntriesResponse{})
			},
			"AppendEntries": func(h raft.RPCHeader) error {
				return there.AppendEntries("n1", at, &raft.AppendEntriesRequest{RPCHeader: h, Term: 9, PrevLogEntry: 1}, &raft.AppendEntriesResponse{})
			},
			"RequestVote": func(h raft.RPCHeader) error {
				return there.RequestVote("n1", at, &raft.RequestVoteRequest{RPCHeader: h, Term: 9}, &raft.RequestVoteResponse{})
			},
			"RequestPreVote": func(h raft.RPCHeader) error {
				return there.(raft.WithPreVote).RequestPreVote("n1", at, &raft.RequestPreVoteRequest{RPCHeader: h, Term: 9}, &raft.RequestPreVoteResponse{})
			},
			"TimeoutNow": func(h raft.RPCHeader) error {
				return there.TimeoutNow("n1", at, &raft.TimeoutNowRequest{RPCHeader: h}, &raft.TimeoutNowResponse{})
			},
			"InstallSnapshot": func(h raft.RPCHeader) error {
				return there.InstallSnapshot("n1", at, &raft.InstallSnapshotRequest{RPCHeader: h, Term: 9, Size: 4}, &raft.InstallSnapshotResponse{}, strings.NewReader("data"))
			},
		} {
			for _, id := range []string{"n3", "n1", "", "n3\x00n2", "n2x"} {
				h := raft.RPCHeader{ProtocolVersion: 3, ID: []byte(id), Addr: []byte("10.0.0.3:7470")}
				if err := call(h); err == nil || len(calls.take()) > 0 {
					t.Errorf("%s in the name %q: it is answered, %v", name, id, err)
				}
			}
			// Its own name is let through; another's address is not taken for that node's.
			h := raft.RPCHeader{ProtocolVersion: 3, ID: []byte("n2\x00founding"), Addr: []byte("10.0.0.3:7470")}
			err := call(h)
			if heard := calls.take(); err != nil || len(heard) != 1 || heard[0] != "n2\x00founding n2@10.0.0.3:7470" {
				t.Errorf("%s in its own name: %q, %v", name, heard, err)
			}
		}
	})
}
