package cluster

import (
	"strings"
	"testing"

	"github.com/hashicorp/raft"

	"simpd/cluster/link"
	"simpd/cluster/storage"
)

// anyProcess is a processTracker that accepts every process.
type anyProcess struct{}

func (anyProcess) AcceptsRaftFrom(string, uint64) bool { return true }
func (anyProcess) ChecksIncarnation(string) bool       { return false }

// guarded is a node's transport over another one.
func guarded(to raft.Transport, clusterID string, incarnation uint64) *transport {
	return newTransport(to, headerStamp{func() string { return clusterID }, incarnation, anyProcess{}}, &commitBroadcaster{})
}

// inMemory is the storage of a node that keeps nothing.
func inMemory(t *testing.T, node string) *storage.Storage {
	t.Helper()
	s, err := storage.Open("", "example.com", node, nil, nil)
	must(t, err)
	return s
}

// TestCallsOfAnotherCluster: what Raft says comes only from who has data of
// the same cluster ID, and bears the sender's plain id.
func TestCallsOfAnotherCluster(t *testing.T) {
	for _, tt := range []struct {
		from, to string
		same     bool
	}{{"a", "a", true}, {"", "", true}, {"a", "b", false}, {"", "b", false}, {"a", "", false}} {
		_, out := raft.NewInmemTransport("n1")
		_, in := raft.NewInmemTransport("n2")
		out.Connect("n2", in)
		sender, receiver := guarded(out, tt.from, 1), guarded(in, tt.to, 2)
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

// TestHeartbeatOfAnotherCluster: the short cut for heartbeats is no way round.
func TestHeartbeatOfAnotherCluster(t *testing.T) {
	_, in := raft.NewInmemTransport("n2")
	g := guarded(in, "b", 2)
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

// tracker lets one process of each node take part.
type tracker struct {
	incarnation      uint64
	takesIncarnation bool
}

func (p tracker) AcceptsRaftFrom(_ string, incarnation uint64) bool {
	return incarnation == p.incarnation
}
func (p tracker) ChecksIncarnation(string) bool { return p.takesIncarnation }

// TestCallsOfASecondProcess: calls of Raft bear the number of their process, if
// the other version takes it, and come only from the process that was let in.
func TestCallsOfASecondProcess(t *testing.T) {
	for _, clusterID := range []string{"", "a"} {
		for _, tt := range []struct {
			takesIncarnation bool
			current          uint64
			ok               bool
		}{{true, 7, true}, {true, 8, false}, {true, 0, false}, {false, 0, true}, {false, 7, false}} {
			word := func() string { return clusterID }
			sender, receiver := headerStamp{word, 7, tracker{takesIncarnation: tt.takesIncarnation}}, headerStamp{word, 9, tracker{incarnation: tt.current}}
			call := raft.RPC{Command: &raft.AppendEntriesRequest{RPCHeader: sender.stamp("n2", raft.RPCHeader{ID: []byte("n1")})}}
			if err := receiver.check(call); (err == nil) != tt.ok {
				t.Errorf("%+v: %v", tt, err)
			} else if id := string(link.RaftHeader(call).ID); tt.ok && id != "n1" {
				t.Errorf("%+v: the id is %q", tt, id)
			}
		}
	}
}
