package cluster

import (
	"strings"
	"testing"

	"github.com/hashicorp/raft"

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

// TestFoundersKeepTheirWord: what a founder promised holds once something was
// begun under it, and may be given anew before.
func TestFoundersKeepTheirWord(t *testing.T) {
	_, transport := raft.NewInmemTransport("n1")
	n := &Node{cfg: Config{NodeID: "n1"}, storage: inMemory(t, "n1")}
	n.transport = guarded(transport, "", 1)
	defer n.transport.Close()
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
