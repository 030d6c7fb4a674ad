package storage

import (
	"encoding/json"
	"fmt"
	"hash/crc32"
	"slices"
)

// A copy of a node's data has the node's id, its votes, and usually its keys. So
// the marker says which processes have run on the data, and the table says which
// process came up last as the node. Where the table's is none of the marker's,
// another process has come up on another copy, and has voted and acknowledged
// what this one does not hold.

// maxLineage limits how many processes a manifest names.
const maxLineage = 64

// Lineage records the processes that have run on the data of a directory.
type Lineage struct {
	History string `json:"history"` // of the table that gave the node the epoch
	Epoch   uint64 `json:"epoch"`   // the newest that one of them has seen of itself
	// Incarnations are those of the processes that may have registered in that
	// epoch or a later one, the oldest first.
	Incarnations []uint64 `json:"boots"`
	Sum          string   `json:"sum"`
}

// sum returns a checksum of everything else.
func (l Lineage) sum() string {
	l.Sum = ""
	b, _ := json.Marshal(l) // of strings and numbers: no error
	return fmt.Sprintf("%08x", crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
}

// setLineage changes the manifest's lineage.
func (m *Manifest) setLineage(change func(old Lineage) Lineage) error {
	return m.Change(func(id *Record) {
		old := Lineage{}
		if id.Lineage != nil {
			old = *id.Lineage
		}
		l := change(old)
		l.Sum = l.sum()
		id.Lineage = &l
	})
}

// BeginLineage records, before the table can know it, that this process runs
// on the data.
func (m *Manifest) BeginLineage(incarnation uint64) error {
	if l := m.Get().Lineage; l != nil && slices.Contains(l.Incarnations, incarnation) {
		return nil
	}
	return m.setLineage(func(l Lineage) Lineage {
		l.Incarnations = append(slices.Clone(l.Incarnations), incarnation)
		if extra := len(l.Incarnations) - maxLineage; extra > 0 {
			l.Incarnations = slices.Delete(l.Incarnations, 1, 1+extra) // the first may be the one that came up last
		}
		return l
	})
}

// EndLineage records that the table has this process as the one that
// registered last.
func (m *Manifest) EndLineage(history string, epoch, incarnation uint64) error {
	return m.setLineage(func(Lineage) Lineage {
		return Lineage{History: history, Epoch: epoch, Incarnations: []uint64{incarnation}}
	})
}
