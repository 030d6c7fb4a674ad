package store

import (
	"crypto/sha256"

	storev1 "simpd/proto/simp/store/v1"
)

// NeededSchema returns the oldest schema with which the table keeps all that a
// record of a backup holds. The record has passed CheckBackupRecord.
func NeededSchema(r *storev1.Record) uint32 {
	whole, _ := digestAtSchema(r, NewestSchema)
	for schema := uint32(NewestSchema); schema > OldestSchema; schema-- {
		if kept, ok := digestAtSchema(r, schema-1); !ok || kept != whole {
			return schema
		}
	}
	return OldestSchema
}

// digestAtSchema returns the hash of what the table keeps of a record if it is
// restored at a schema, and reports whether it is restored at all.
func digestAtSchema(r *storev1.Record, schema uint32) (sum [sha256.Size]byte, ok bool) {
	piece := newView()
	piece.schema = schema
	ok = piece.addBackupRecord(r, 1, func(string) bool { return true })
	piece.schema = NewestSchema // the hash is of the content
	return piece.Digest(), ok
}
