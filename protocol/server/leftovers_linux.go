package server

import (
	"bytes"
	"crypto/tls"
	"reflect"
	"unsafe"
)

// leftovers are the buffers that package tls keeps for as long as a connection
// lasts, as long as the longest record of the handshake: more than all else
// that it holds for one that idles. It offers no way to give them back, so they
// are looked for by their names: where a later package has none so named, they
// are kept.
type leftovers struct {
	raw  *bytes.Buffer // records as they came
	hand *bytes.Buffer // what of them belongs to a handshake
}

// findLeftovers finds those of c.
func findLeftovers(c *tls.Conn) leftovers {
	return leftovers{bufferOf(c, "rawInput"), bufferOf(c, "hand")}
}

func bufferOf(c *tls.Conn, name string) *bytes.Buffer {
	f, ok := reflect.TypeFor[tls.Conn]().FieldByName(name)
	if !ok || f.Type != reflect.TypeFor[bytes.Buffer]() {
		return nil
	}
	return (*bytes.Buffer)(unsafe.Add(unsafe.Pointer(c), f.Offset))
}

// worthGivingBack is the room that a buffer may have while nothing is in it:
// what reading one short line makes.
const worthGivingBack = 1 << 10

// giveBack gives the buffers up that are empty. It is for the goroutine that
// reads, which has found nothing more to read.
func (l leftovers) giveBack() {
	for _, b := range []*bytes.Buffer{l.raw, l.hand} {
		if b != nil && b.Len() == 0 && b.Cap() > worthGivingBack {
			*b = bytes.Buffer{}
		}
	}
}
