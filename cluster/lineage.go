package cluster

import (
	"encoding/json"
	"fmt"
	"hash/crc32"
	"slices"

	clusterv1 "simpd/proto/simp/cluster/v1"
)

// A copy of a node's data has the node's id, its votes, and usually its keys. So
// the marker says which processes have run on the data, and the table says which
// process came up last as the node. Where the table's is none of the marker's,
// another process has come up on another copy, and has voted and acknowledged
// what this one does not hold.

// maxLineage limits how many processes a manifest names.
const maxLineage = 64

// lineage records the processes that have run on the data of a directory.
type lineage struct {
	History string `json:"history"` // of the table that gave the node the epoch
	Epoch   uint64 `json:"epoch"`   // the newest that one of them has seen of itself
	// Incarnations are those of the processes that may have registered in that
	// epoch or a later one, the oldest first.
	Incarnations []uint64 `json:"boots"`
	Sum          string   `json:"sum"`
}

// sum returns a checksum of everything else.
func (l lineage) sum() string {
	l.Sum = ""
	b, _ := json.Marshal(l) // of strings and numbers: no error
	return fmt.Sprintf("%08x", crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
}

// setLineage changes the manifest's lineage.
func (m *manifest) setLineage(change func(old lineage) lineage) error {
	return m.change(func(id *manifestRecord) {
		old := lineage{}
		if id.Lineage != nil {
			old = *id.Lineage
		}
		l := change(old)
		l.Sum = l.sum()
		id.Lineage = &l
	})
}

// beginLineage records, before the table can know it, that this process runs
// on the data.
func (m *manifest) beginLineage(boot uint64) error {
	if l := m.get().Lineage; l != nil && slices.Contains(l.Incarnations, boot) {
		return nil
	}
	return m.setLineage(func(l lineage) lineage {
		l.Incarnations = append(slices.Clone(l.Incarnations), boot)
		if extra := len(l.Incarnations) - maxLineage; extra > 0 {
			l.Incarnations = slices.Delete(l.Incarnations, 1, 1+extra) // the first may be the one that came up last
		}
		return l
	})
}

// endLineage records that the table has this process as the one that
// registered last.
func (m *manifest) endLineage(history string, epoch, boot uint64) error {
	return m.setLineage(func(lineage) lineage { return lineage{History: history, Epoch: epoch, Incarnations: []uint64{boot}} })
}

// lineage describes this process and its data to the other nodes.
func (n *Node) lineage() *clusterv1.Lineage {
	id := n.storage.manifest.get()
	l := &clusterv1.Lineage{}
	if id.Dirty {
		l.FoundingSum = clusterIDSum(id.ClusterID)
	}
	if id.Lineage != nil {
		l.History, l.Epoch, l.Boot = id.Lineage.History, id.Lineage.Epoch, id.Lineage.Incarnations
	}
	return l
}

// checkProcess decides by its lineage whether a process may be admitted as a
// node. Unless this node's table is certainly up to date, it believes a
// process that claims to have registered later than the table knows.
func (n *Node) checkProcess(node string, boot uint64, l *clusterv1.Lineage, upToDate bool) clusterv1.Rejection_Reason {
	own := n.lineage()
	if sum := l.GetFoundingSum(); len(sum) > 0 && len(own.FoundingSum) > 0 && !slices.Equal(sum, own.FoundingSum) {
		return clusterv1.Rejection_REASON_FOUNDING
	}
	known, ok := n.table.Node(node)
	switch {
	case !ok || l.GetEpoch() == 0 || l.History != n.table.History():
	case known.Incarnation == boot || slices.Contains(l.Boot, known.Incarnation):
	case known.Epoch > l.Epoch || upToDate:
		return clusterv1.Rejection_REASON_OLD_COPY
	}
	return clusterv1.Rejection_REASON_UNSPECIFIED
}
