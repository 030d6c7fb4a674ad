package cluster

import (
	"strings"
	"testing"

	"github.com/hashicorp/raft"

	"simpd/cluster/link"
	"simpd/cluster/storage"
	clusterv1 "simpd/proto/simp/cluster/v1"
)

// inMemory is the storage of a node that keeps nothing.
func inMemory(t *testing.T, node string) *storage.Storage {
	t.Helper()
	s, err := storage.Open("", "example.com", node, nil, nil)
	must(t, err)
	return s
}

// anyProcess is a processTracker that accepts every process.
type anyProcess struct{}

func (anyProcess) AcceptsRaftFrom(string, uint64) bool { return true }
func (anyProcess) ChecksIncarnation(string) bool       { return false }

// TestCallsOfAnotherFounding: what Raft says comes only from who has data of
// the same cluster ID, and bears the sender's plain id.
func TestCallsOfAnotherFounding(t *testing.T) {
	for _, tt := range []struct {
		from, to string
		same     bool
	}{{"a", "a", true}, {"", "", true}, {"a", "b", false}, {"", "b", false}, {"a", "", false}} {
		_, out := raft.NewInmemTransport("n1")
		_, in := raft.NewInmemTransport("n2")
		out.Connect("n2", in)
		sender, receiver := newGuardedTransport(out, func() string { return tt.from }, 1, anyProcess{}), newGuardedTransport(in, func() string { return tt.to }, 2, anyProcess{})
		receiver.open()
		answering := make(chan struct{})
		go func() {
			defer close(answering)
			for {
				select {
				case c := <-receiver.Consumer():
					c.Respond(&raft.RequestVoteResponse{Granted: string(link.RaftHeader(c).ID) == "n1"}, nil)
				case <-receiver.closed:
					return
				}
			}
		}()
		header, answer := raft.RPCHeader{ID: []byte("n1")}, raft.RequestVoteResponse{}
		err := sender.RequestVote("n2", "n2", &raft.RequestVoteRequest{RPCHeader: header}, &answer)
		if (err == nil) != tt.same || answer.Granted != tt.same {
			t.Errorf("from a node of %q to one of %q: granted %v, %v", tt.from, tt.to, answer.Granted, err)
		}
		if string(header.ID) != "n1" {
			t.Errorf("the request itself was changed: %q", header.ID)
		}
		if err := receiver.Close(); err != nil {
			t.Error(err)
		}
		<-answering
		if err := sender.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestHeartbeatOfAnotherFounding: the short cut for heartbeats is no way round.
func TestHeartbeatOfAnotherFounding(t *testing.T) {
	_, in := raft.NewInmemTransport("n2")
	g := newGuardedTransport(in, func() string { return "b" }, 2, anyProcess{})
	defer g.Close()
	beats := 0
	beat := g.guardHeartbeat(func(c raft.RPC) { beats++; c.Respond(nil, nil) })
	for _, id := range []string{"n1", "n1\x00a", "n1\x00b"} {
		answer := make(chan raft.RPCResponse, 1)
		beat(raft.RPC{Command: &raft.AppendEntriesRequest{RPCHeader: raft.RPCHeader{ID: []byte(id)}}, RespChan: answer})
		if err := (<-answer).Error; (err == nil) != strings.HasSuffix(id, "b") {
			t.Errorf("%q: %v", id, err)
		}
	}
	if beats != 1 {
		t.Errorf("%d heartbeats have come through", beats)
	}
}

// TestFoundersKeepTheirWord: what a founder promised holds once something was
// begun under it, and may be given anew before.
func TestFoundersKeepTheirWord(t *testing.T) {
	_, transport := raft.NewInmemTransport("n1")
	n := &Node{cfg: Config{NodeID: "n1"}, storage: inMemory(t, "n1")}
	n.guard = newGuardedTransport(transport, func() string { return n.storage.Manifest.Get().ClusterID }, 1, anyProcess{})
	defer n.guard.Close()
	list := []string{"n1", "n2"}
	if word := n.chooseClusterID([]*clusterv1.ProbeResponse{{Node: "n2"}}); word != "" {
		t.Errorf("a word with a version that knows none: %q", word)
	}
	first, none := n.chooseClusterID([]*clusterv1.ProbeResponse{{Node: "n2", Founding: new(string)}}), n.acceptInitialConfig(list, "")
	if len(first) != 16 || none != nil {
		t.Errorf("%q, %v", first, none)
	}
	if err := n.acceptInitialConfig(list, first); err != nil {
		t.Error(err)
	}
	if again := n.chooseClusterID(nil); again != first {
		t.Errorf("%q was promised, and is %q now", first, again)
	}
	if err := n.storage.Manifest.MarkDirty(); err != nil {
		t.Fatal(err)
	}
	if err := n.acceptInitialConfig(list, first); err != nil {
		t.Errorf("the same once more: %v", err)
	}
	if err := n.acceptInitialConfig(list, newClusterID()); err == nil {
		t.Error("a new word under which nothing was begun")
	}
	if err := n.acceptJoin("n2", newClusterID()); err == nil {
		t.Error("admitted anew with data")
	}
}

// TestStray: a node ends only where a site with another cluster ID has a leader.
func TestStray(t *testing.T) {
	n := &Node{cfg: Config{NodeID: "n3"}, storage: inMemory(t, "n3")}
	word := func(s string) *string { return &s }
	probes := []*clusterv1.ProbeResponse{{Node: "n1", Founding: word("b"), Leader: "n1"}}
	if err := n.checkForeignCluster(probes); err != nil {
		t.Errorf("without data: %v", err)
	}
	if err := n.storage.Manifest.Change(func(id *storage.Record) { id.Dirty, id.ClusterID = true, "a" }); err != nil {
		t.Fatal(err)
	}
	for _, harmless := range []*clusterv1.ProbeResponse{
		{Node: "n1", Founding: word("a"), Leader: "n1"}, {Node: "n1", Founding: word("b")}, {Node: "n1", Leader: "n1"},
	} {
		if err := n.checkForeignCluster([]*clusterv1.ProbeResponse{harmless}); err != nil {
			t.Errorf("%v: %v", harmless, err)
		}
	}
	if err := n.checkForeignCluster(probes); err == nil || !strings.Contains(err.Error(), "has another cluster ID of the site example.com than n1") {
		t.Errorf("%v", err)
	}
}

// TestStrayStaysWithItsSite: one node of its own site is reason enough to wait.
func TestStrayStaysWithItsSite(t *testing.T) {
	n := &Node{cfg: Config{NodeID: "n3"}, storage: inMemory(t, "n3")}
	must(t, n.storage.Manifest.Change(func(id *storage.Record) { id.Dirty, id.ClusterID = true, "a" }))
	err := n.checkForeignCluster([]*clusterv1.ProbeResponse{
		{Node: "n1", HasState: true, FoundingSum: clusterIDSum("b"), Leader: "n1"}, {Node: "n2", HasState: true, FoundingSum: clusterIDSum("a")},
	})
	if err != nil {
		t.Error(err)
	}
}

// tracker lets one process of each node take part.
type tracker struct {
	boot      uint64
	takesBoot bool
}

func (p tracker) AcceptsRaftFrom(_ string, boot uint64) bool { return boot == p.boot }
func (p tracker) ChecksIncarnation(string) bool              { return p.takesBoot }

// TestCallsOfASecondProcess: calls of Raft bear the number of their process, if
// the other version takes it, and come only from the process that was let in.
func TestCallsOfASecondProcess(t *testing.T) {
	for _, founding := range []string{"", "a"} {
		for _, tt := range []struct {
			takesBoot bool
			current   uint64
			ok        bool
		}{{true, 7, true}, {true, 8, false}, {true, 0, false}, {false, 0, true}, {false, 7, false}} {
			word := func() string { return founding }
			sender, receiver := newGuardedTransport(noTransport("n1"), word, 7, tracker{takesBoot: tt.takesBoot}), newGuardedTransport(noTransport("n2"), word, 9, tracker{boot: tt.current})
			call := raft.RPC{Command: &raft.AppendEntriesRequest{RPCHeader: sender.stampHeader("n2", raft.RPCHeader{ID: []byte("n1")})}}
			if err := receiver.checkHeader(call); (err == nil) != tt.ok {
				t.Errorf("%+v: %v", tt, err)
			} else if id := string(link.RaftHeader(call).ID); tt.ok && id != "n1" {
				t.Errorf("%+v: the id is %q", tt, id)
			}
			must(t, sender.Close())
			must(t, receiver.Close())
		}
	}
}

func noTransport(id raft.ServerAddress) raft.Transport {
	_, transport := raft.NewInmemTransport(id)
	return transport
}
