package store

import "simpd/protocol"

// chunkSize is how many events a chunk of the ring holds. Chunk n holds the
// events of the indexes n*chunkSize+1 to (n+1)*chunkSize.
const chunkSize = 1024

// entry is an event as the ring keeps it; its place tells its index.
type entry struct {
	kind    EventKind
	visible bool
	address string
	node    string
	after   packed
}

type chunk [chunkSize]entry

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
	*r.at(r.index + 1) = e
	r.index++
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

func (r *ring) at(index uint64) *entry {
	i := index - 1
	return &r.chunks[i/chunkSize-r.first][i%chunkSize]
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
