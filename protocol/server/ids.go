package server

import (
	"crypto/rand"
	"encoding/binary"
	"strconv"
	"sync/atomic"
)

// messageIDs generates IDs for messages without one: a random name of this
// process, and a number.
type messageIDs struct {
	run  string
	last atomic.Uint64
}

func newMessageIDs() *messageIDs {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return &messageIDs{run: strconv.FormatUint(binary.LittleEndian.Uint64(b[:]), 36) + "."}
}

func (i *messageIDs) next() string {
	var b [32]byte
	return string(strconv.AppendUint(append(b[:0], i.run...), i.last.Add(1), 36))
}
