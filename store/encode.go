package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"google.golang.org/protobuf/proto"

	storev1 "simpd/proto/simp/store/v1"
)

// ErrCorrupt is wrapped by errors that report a damaged entry or snapshot.
var ErrCorrupt = errors.New("it is damaged")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// EncodeEntry returns e as the log stores it: the CRC32C of the rest in four
// octets, big-endian, followed by the encoded entry.
func EncodeEntry(e *storev1.Entry) []byte {
	b := make([]byte, 4, 4+proto.Size(e))
	b, err := proto.MarshalOptions{}.MarshalAppend(b, e)
	if err != nil {
		// Only invalid UTF-8 in a string causes this, which is the caller's error.
		panic(fmt.Sprintf("store: an entry can't be encoded: %v", err))
	}
	binary.BigEndian.PutUint32(b, crc32.Checksum(b[4:], castagnoli))
	return b
}

// DecodeEntry decodes what EncodeEntry returned. Its errors wrap ErrCorrupt.
func DecodeEntry(b []byte) (*storev1.Entry, error) {
	if len(b) < 4 {
		return nil, fmt.Errorf("an entry of %d octets: %w", len(b), ErrCorrupt)
	}
	if sum := crc32.Checksum(b[4:], castagnoli); sum != binary.BigEndian.Uint32(b) {
		return nil, fmt.Errorf("an entry has the checksum %08x, and says %08x: %w", sum, b[:4], ErrCorrupt)
	}
	e := &storev1.Entry{}
	if err := decode(b[4:], e); err != nil {
		return nil, fmt.Errorf("an entry of %d octets can't be read: %w", len(b), err)
	}
	return e, nil
}
