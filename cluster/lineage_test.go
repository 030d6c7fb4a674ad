package cluster

import (
	"testing"

	"simpd/cluster/bootstrap"
	"simpd/cluster/storage"
	clusterv1 "simpd/proto/simp/cluster/v1"
	storev1 "simpd/proto/simp/store/v1"
	"simpd/store"
)

// TestCheckProcess: who holds the data of the process that came up last is let in,
// and who holds an older copy is not; a node that is behind believes the others.
func TestCheckProcess(t *testing.T) {
	n := &Node{cfg: Config{NodeID: "n1"}, storage: inMemory(t, "n1"), table: store.New(store.Config{})}
	must(t, n.storage.Manifest.Change(func(id *storage.Record) { id.Dirty, id.ClusterID = true, "f" }))
	apply := func(c *storev1.Change) {
		t.Helper()
		n.table.Apply(&storev1.Entry{MinSchema: 1, Batch: []*storev1.Batch{{Change: []*storev1.Change{c}}}})
	}
	apply(&storev1.Change{Kind: &storev1.Change_NewHistory{NewHistory: &storev1.NewHistory{History: "h", Secret: make([]byte, 32)}}})
	apply(&storev1.Change{Kind: &storev1.Change_NodeUp{NodeUp: &storev1.NodeUp{Node: "n2", Incarnation: 5, Version: "1", MinSchema: 1, MaxSchema: 9}}})
	node, ok := n.table.Node("n2")
	if !ok {
		t.Fatal("n2 is not in the table")
	}
	const fine, oldCopy, otherCluster = clusterv1.Rejection_REASON_UNSPECIFIED, clusterv1.Rejection_REASON_OLD_COPY, clusterv1.Rejection_REASON_OTHER_CLUSTER
	for name, c := range map[string]struct {
		node             string
		incarnation      uint64
		lineage          *clusterv1.Lineage
		behind, upToDate clusterv1.Rejection_Reason
	}{
		"the process itself":      {"n2", 5, &clusterv1.Lineage{History: "h", Epoch: node.Epoch, Incarnation: []uint64{5}}, fine, fine},
		"the next one":            {"n2", 6, &clusterv1.Lineage{History: "h", Epoch: node.Epoch, Incarnation: []uint64{5, 6}}, fine, fine},
		"before it came up":       {"n2", 6, &clusterv1.Lineage{History: "h", Epoch: node.Epoch - 1, Incarnation: []uint64{4, 5, 6}}, fine, fine},
		"an older copy":           {"n2", 6, &clusterv1.Lineage{History: "h", Epoch: node.Epoch - 1, Incarnation: []uint64{4, 6}}, oldCopy, oldCopy},
		"a newer one":             {"n2", 7, &clusterv1.Lineage{History: "h", Epoch: node.Epoch + 1, Incarnation: []uint64{6, 7}}, fine, oldCopy},
		"of an older version":     {"n2", 7, nil, fine, fine},
		"without a past":          {"n2", 7, &clusterv1.Lineage{}, fine, fine},
		"of a history before":     {"n2", 7, &clusterv1.Lineage{History: "g", Epoch: 1, Incarnation: []uint64{1}}, fine, fine},
		"of the same cluster":     {"n2", 5, &clusterv1.Lineage{ClusterIdSum: bootstrap.ClusterIDSum("f")}, fine, fine},
		"of another cluster":      {"n2", 5, &clusterv1.Lineage{ClusterIdSum: bootstrap.ClusterIDSum("g")}, otherCluster, otherCluster},
		"a node that is not here": {"n3", 7, &clusterv1.Lineage{History: "h", Epoch: 1, Incarnation: []uint64{6, 7}}, fine, fine},
	} {
		for upToDate, want := range map[bool]clusterv1.Rejection_Reason{false: c.behind, true: c.upToDate} {
			if got := n.checkProcess(c.node, c.incarnation, c.lineage, upToDate); got != want {
				t.Errorf("%s, up to date: %v: %v", name, upToDate, got)
			}
		}
	}
}
