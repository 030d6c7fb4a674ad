package server

import (
	"crypto/rand"
	"encoding/binary"
	"strconv"
	"sync/atomic"
)

// ids makes the ids of messages whose senders chose none: a random name of
// this run, and a number.
type ids struct {
	run  string
	last atomic.Uint64
}

func newIDs() *ids {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return &ids{run: strconv.FormatUint(binary.LittleEndian.Uint64(b[:]), 36) + "."}
}

func (i *ids) next() string {
	var b [32]byte
	return string(strconv.AppendUint(append(b[:0], i.run...), i.last.Add(1), 36))
}
