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

// maxLineage bounds how many processes a marker names.
const maxLineage = 64

// lineage records the processes that have run on the data of a directory.
type lineage struct {
	History string `json:"history"` // of the table that gave the node the epoch
	Epoch   uint64 `json:"epoch"`   // the newest that one of them has seen of itself
	// Boots are the numbers of those that may have come up in that epoch or a
	// later one, the oldest first.
	Boots []uint64 `json:"boots"`
	Sum   string   `json:"sum"`
}

// sum is a checksum of everything else in it.
func (l lineage) sum() string {
	l.Sum = ""
	b, _ := json.Marshal(l) // of strings and numbers: no error
	return fmt.Sprintf("%08x", crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
}

// setLineage changes the marker's lineage; nil: it has none yet.
func (m *marker) setLineage(change func(old lineage) lineage) error {
	return m.change(func(id *identity) {
		old := lineage{}
		if id.Lineage != nil {
			old = *id.Lineage
		}
		l := change(old)
		l.Sum = l.sum()
		id.Lineage = &l
	})
}

// beginLineage notes, before the table can know it, that this process runs on
// the data.
func (m *marker) beginLineage(boot uint64) error {
	if l := m.get().Lineage; l != nil && slices.Contains(l.Boots, boot) {
		return nil
	}
	return m.setLineage(func(l lineage) lineage {
		l.Boots = append(slices.Clone(l.Boots), boot)
		if extra := len(l.Boots) - maxLineage; extra > 0 {
			l.Boots = slices.Delete(l.Boots, 1, 1+extra) // the first may be the one that came up last
		}
		return l
	})
}

// endLineage notes that the table has this process as the one that came up last.
func (m *marker) endLineage(history string, epoch, boot uint64) error {
	return m.setLineage(func(lineage) lineage { return lineage{History: history, Epoch: epoch, Boots: []uint64{boot}} })
}

// lineage describes this process and its data for the other nodes.
func (n *Node) lineage() *clusterv1.Lineage {
	id := n.disk.marker.get()
	l := &clusterv1.Lineage{}
	if id.Begun {
		l.FoundingSum = foundingSum(id.Founding)
	}
	if id.Lineage != nil {
		l.History, l.Epoch, l.Boot = id.Lineage.History, id.Lineage.Epoch, id.Lineage.Boots
	}
	return l
}

// checkProcess judges whether a process may be let in as a node, by its lineage.
// Unless this node's table is certainly up to date, a process is believed that
// says it came up later than the table knows.
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
