package store_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"simpd/store"
)

// field returns a field of an encoded message that holds octets.
func field(number protowire.Number, octets []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, number, protowire.BytesType), octets)
}

// Numbers and lengths that an input only announces take no memory, and what is
// in it no more than a small multiple of its octets. Errors say what is wrong.
func TestHostileInputsTakeNoMemory(t *testing.T) {
	const (
		million = 1 << 20
		batch   = 2 // fields of store.proto
		change  = 5
		rules   = 4
	)
	empty := bytes.Repeat(field(2, nil), million)
	groups := bytes.Repeat(protowire.AppendTag(nil, 1000, protowire.StartGroupType), million)
	record := func(octets []byte) []byte {
		return slices.Concat([]byte("SIMPSNAP"), binary.AppendUvarint(nil, uint64(len(octets))), octets)
	}
	entry := func(octets []byte) []byte {
		sum := binary.BigEndian.AppendUint32(nil, crc32.Checksum(octets, crc32.MakeTable(crc32.Castagnoli)))
		return append(sum, octets...)
	}
	restore := func(b []byte) error { return store.New(store.Config{}).Restore(bytes.NewReader(b)) }
	decode := func(b []byte) error { _, err := store.DecodeEntry(b); return err }
	for name, c := range map[string]struct {
		read  func([]byte) error
		input []byte
		want  string
	}{
		"a snapshot that announces 4 MiB":    {restore, append([]byte("SIMPSNAP"), binary.AppendUvarint(nil, 4<<20)...), "a record of 4194304 octets: it ends too soon"},
		"a snapshot that announces 1 TiB":    {restore, append([]byte("SIMPSNAP"), binary.AppendUvarint(nil, 1<<34)...), "a record is said to have 17179869184 octets"},
		"a record of a million empty rules":  {restore, record(field(rules, empty)), "messages in"},
		"a record of a million groups":       {restore, record(groups), "field 1000 of Record"},
		"an entry of a million empty groups": {decode, entry(groups), "field 1000 of Entry"},
		"an entry of a million batches":      {decode, entry(bytes.Repeat(field(batch, nil), million)), "messages in"},
		"an entry of a million changes":      {decode, entry(field(batch, bytes.Repeat(field(change, nil), million))), "messages in"},
	} {
		t.Run(name, func(t *testing.T) {
			checkMemory(t, len(c.input), func() {
				if err := c.read(c.input); !errors.Is(err, store.ErrCorrupt) || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%v; want %q", err, c.want)
				}
			})
		})
	}
}
