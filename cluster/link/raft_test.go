package link

import (
	"fmt"
	"io"
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
		addr, id := all[0].LeaderWithID()
		if string(addr) != s.links[string(id)].Addr() {
			t.Errorf("the leader %s is said to be at %s", id, addr)
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
