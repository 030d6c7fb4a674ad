package store

import (
	"time"

	storev1 "simpd/proto/simp/store/v1"
)

// Entry returns what the block says, as the log has it.
func (b *Block) Entry() *storev1.BlockEntry {
	e := &storev1.BlockEntry{Target: b.Target.String(), Written: b.Written.String(), Reason: b.Reason}
	if !b.Until.IsZero() {
		e.UntilMs = b.Until.UnixMilli()
	}
	return e
}

// Record returns the block as snapshots and backups hold it.
func (b *Block) Record() *storev1.Record {
	return &storev1.Record{Kind: &storev1.Record_Block{Block: &storev1.Block{
		Entry: b.Entry(), Feed: b.Feed, CreatedMs: b.Created.UnixMilli(), By: b.By,
	}}}
}

func blockFromProto(r *storev1.Block) (*Block, bool) {
	b := blockFromEntry(r.GetEntry())
	b.Feed, b.Created, b.By = r.GetFeed(), fromMilli(r.GetCreatedMs()), r.GetBy()
	return b, b.isValid()
}

// addBlock restores a block from a snapshot. It accepts more blocks than the table
// admits: a restore from a backup keeps those of feeds beside those of the backup.
func (b *restorer) addBlock(record *storev1.Block) error {
	restored, ok := blockFromProto(record)
	if !ok || b.view.schema < blockSchema {
		return corrupt("the block of %q", record.GetEntry().GetTarget())
	}
	if err := b.checkOrder(partBlocks, restored.Key()); err != nil {
		return err
	}
	b.view.blocks.Load(restored.Key(), restored)
	b.view.blockOctets += restored.octets()
	return nil
}

// restoreBlock adds a block of a backup. Before schema 5 it ignores blocks. It
// reports whether the record is in order: blocks of feeds are not part of
// backups.
func (v *View) restoreBlock(record *storev1.Block) bool {
	b, ok := blockFromProto(record)
	if ok && v.schema >= blockSchema {
		v.setBlock(b)
	}
	return ok && b.Feed == ""
}

// operatorBlocks returns how many blocks operators have added, and their octets.
func (v View) operatorBlocks() (n, octets int) {
	v.Blocks("", func(b *Block) bool {
		if b.Feed == "" {
			n, octets = n+1, octets+b.octets()
		}
		return b.Feed == ""
	})
	return n, octets
}

// dropOperatorBlocks removes what a restore from a backup replaces.
func (t *Table) dropOperatorBlocks() {
	var keys []string
	t.current.Blocks("", func(b *Block) bool {
		if b.Feed == "" {
			keys = append(keys, b.Key())
		}
		return b.Feed == ""
	})
	for _, key := range keys {
		t.deleteBlock(key)
	}
}

// addBlocks hashes blocks. A table without any, as before schema 5, keeps its old
// hash.
func (d *digester) addBlocks(v View) {
	v.Blocks("", func(b *Block) bool {
		d.addString("block " + b.Key())
		d.addString(b.Written.String())
		d.addString(b.Reason)
		d.addString(b.By)
		d.addNumbers(uint64(b.Created.UnixMilli()), uint64(milliOrZero(b.Until)))
		return true
	})
}

// milliOrZero returns t in milliseconds since 1970; 0 for the zero time.
func milliOrZero(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}
