package store

import (
	"slices"
	"strings"
	"unsafe"

	"simpd/protocol"
)

// chunkSize is how many events a chunk of the ring holds. Chunk n holds the
// events of the indexes n*chunkSize+1 to (n+1)*chunkSize.
const chunkSize = 1024

// entry is an event, but for its index.
type entry struct {
	kind    EventKind
	visible bool
	address string // after's, unless that is deaf
	node    string
	after   packed
}

// kept is an entry as the ring keeps it; its place tells its index.
type kept struct {
	octets  *byte  // of after, or if that is deaf of address
	address uint16 // the length of address; 0: octets are after's
	kind    EventKind
	visible bool
	node    uint32 // its place among the ring's names
}

type chunk [chunkSize]kept

// ring is the newest changes, one entry for each index in (floor, index]. It
// grows by chunks, and drops whole chunks at its other end. An entry, once
// written, is never written again: a copy of the chunks' list, made under the
// table's lock, is read without it.
type ring struct {
	keep   uint64 // at least so many are kept
	floor  uint64 // the first entry is of the index floor+1
	index  uint64 // the last is of this one
	first  uint64 // number of chunks[0]
	chunks []*chunk
	names  []string // of nodes; each stays where it is
}

// reset empties the ring; the next entry's index is index+1.
func (r *ring) reset(index uint64) {
	*r = ring{keep: r.keep, floor: index, index: index, first: index / chunkSize}
}

// add appends the entry of the next index.
func (r *ring) add(e entry) {
	if n := r.index/chunkSize - r.first; n == uint64(len(r.chunks)) {
		r.grow()
	}
	k := kept{kind: e.kind, visible: e.visible, node: r.number(e.node)}
	if k.octets = e.after.first; e.after.deaf() && e.address != "" {
		k.octets, k.address = unsafe.StringData(e.address), uint16(len(e.address))
	}
	*r.place(r.index + 1) = k
	r.index++
}

// number returns the place of a node's name.
func (r *ring) number(name string) uint32 {
	i := slices.Index(r.names, name)
	if i < 0 {
		i = len(r.names)
		r.names = append(r.names, strings.Clone(name))
	}
	return uint32(i)
}

// grow adds a chunk, and drops the first while the others suffice. The list is
// made anew, as readers may hold the old one.
func (r *ring) grow() {
	drop := 0
	for len(r.chunks) > drop+1 && r.index-(r.first+uint64(drop)+1)*chunkSize >= r.keep {
		drop++
	}
	if drop > 0 {
		r.first += uint64(drop)
		r.floor = r.first * chunkSize
	}
	chunks := make([]*chunk, 0, len(r.chunks)-drop+1)
	r.chunks = append(append(chunks, r.chunks[drop:]...), new(chunk))
}

func (r *ring) place(index uint64) *kept {
	i := index - 1
	return &r.chunks[i/chunkSize-r.first][i%chunkSize]
}

func (r *ring) at(index uint64) entry {
	k := r.place(index)
	e := entry{kind: k.kind, visible: k.visible, node: r.names[k.node]}
	if k.address > 0 {
		e.address = unsafe.String(k.octets, int(k.address))
		return e
	}
	e.after = packed{k.octets}
	e.address = e.after.address()
	return e
}

// after returns the part of the ring with up to max entries after index.
func (r *ring) after(index uint64, max uint) (part ring, ok bool) {
	if index < r.floor || index > r.index {
		return ring{}, false
	}
	part = *r
	part.floor = index
	part.index = min(r.index, index+uint64(max))
	return part, true
}

// events returns all of the ring.
func (r *ring) events() []Event {
	events := make([]Event, 0, r.index-r.floor)
	for i := r.floor + 1; i <= r.index; i++ {
		e := r.at(i)
		events = append(events, Event{
			Index: i, Kind: e.kind, Address: protocol.CanonicalAddress(e.address), Node: e.node,
			After: e.after.unpack(), Visible: e.visible,
		})
	}
	return events
}
