package bootstrap

import (
	"strings"
	"testing"

	"simpd/cluster/storage"
	clusterv1 "simpd/proto/simp/cluster/v1"
)

// inMemory is the manifest of a node that keeps nothing.
func inMemory(t *testing.T, node string) *storage.Manifest {
	t.Helper()
	s, err := storage.Open("", "example.com", node, nil, nil)
	must(t, err)
	return s.Manifest
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestFoundersKeepTheirWord: what a founder promised holds once something was
// begun under it, and may be given anew before.
func TestFoundersKeepTheirWord(t *testing.T) {
	b := New(Config{NodeID: "n1", Manifest: inMemory(t, "n1"), OnAdmitted: func() {}})
	list := []string{"n1", "n2"}
	if word := b.chooseClusterID([]*clusterv1.ProbeResponse{{Node: "n2"}}); word != "" {
		t.Errorf("a word with a version that knows none: %q", word)
	}
	first, none := b.chooseClusterID([]*clusterv1.ProbeResponse{{Node: "n2", ClusterId: new(string)}}), b.acceptInitialConfig(list, "")
	if len(first) != 16 || none != nil {
		t.Errorf("%q, %v", first, none)
	}
	if err := b.acceptInitialConfig(list, first); err != nil {
		t.Error(err)
	}
	if again := b.chooseClusterID(nil); again != first {
		t.Errorf("%q was promised, and is %q now", first, again)
	}
	if err := b.config.Manifest.MarkDirty(); err != nil {
		t.Fatal(err)
	}
	if err := b.acceptInitialConfig(list, first); err != nil {
		t.Errorf("the same once more: %v", err)
	}
	if err := b.acceptInitialConfig(list, NewClusterID()); err == nil {
		t.Error("a new word under which nothing was begun")
	}
	if err := b.AcceptJoin("n2", NewClusterID()); err == nil {
		t.Error("admitted anew with data")
	}
}

// TestStray: a node ends only where a site with another cluster ID has a leader.
func TestStray(t *testing.T) {
	b := New(Config{NodeID: "n3", Manifest: inMemory(t, "n3")})
	word := func(s string) *string { return &s }
	probes := []*clusterv1.ProbeResponse{{Node: "n1", ClusterId: word("b"), Leader: "n1"}}
	if err := b.checkForeignCluster(probes); err != nil {
		t.Errorf("without data: %v", err)
	}
	if err := b.config.Manifest.Change(func(id *storage.Record) { id.Dirty, id.ClusterID = true, "a" }); err != nil {
		t.Fatal(err)
	}
	for _, harmless := range []*clusterv1.ProbeResponse{
		{Node: "n1", ClusterId: word("a"), Leader: "n1"}, {Node: "n1", ClusterId: word("b")}, {Node: "n1", Leader: "n1"},
	} {
		if err := b.checkForeignCluster([]*clusterv1.ProbeResponse{harmless}); err != nil {
			t.Errorf("%v: %v", harmless, err)
		}
	}
	if err := b.checkForeignCluster(probes); err == nil || !strings.Contains(err.Error(), "has another cluster ID of the site example.com than n1") {
		t.Errorf("%v", err)
	}
}

// TestStrayStaysWithItsSite: one node of its own site is reason enough to wait.
func TestStrayStaysWithItsSite(t *testing.T) {
	b := New(Config{NodeID: "n3", Manifest: inMemory(t, "n3")})
	must(t, b.config.Manifest.Change(func(id *storage.Record) { id.Dirty, id.ClusterID = true, "a" }))
	err := b.checkForeignCluster([]*clusterv1.ProbeResponse{
		{Node: "n1", HasState: true, ClusterIdSum: ClusterIDSum("b"), Leader: "n1"}, {Node: "n2", HasState: true, ClusterIdSum: ClusterIDSum("a")},
	})
	if err != nil {
		t.Error(err)
	}
}
