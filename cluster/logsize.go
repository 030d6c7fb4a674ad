package cluster

import "sync"

// entryOverhead is what an entry takes in the log store beside its data: its
// key, the names and values of its other fields, its checksum.
const entryOverhead = 128

// logSize counts the octets of the entries in Raft's log, one by one. Methods
// may be called from any goroutine.
type logSize struct {
	mu       sync.Mutex
	first    uint64   // index of the oldest entry
	sizes    []uint32 // of the entries in octets, the oldest first
	octets   uint64   // of all entries
	snapshot uint64   // index that the newest snapshot reaches
	pending  uint64   // octets of the entries beyond it
	limit    uint64   // of pending; 0: none
	exceeded poke     // pending has gone beyond limit
}

func newLogSize() *logSize { return &logSize{exceeded: newPoke()} }

// add counts an entry of so many octets of data. It replaces the entry at its
// index and all that follow; before a gap nothing counts any more.
func (s *logSize) add(index uint64, data int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.sizes) > 0 && index != s.next() {
		s.cut(index)
	}
	if len(s.sizes) == 0 {
		s.first = index
	}
	size := uint32(data + entryOverhead)
	s.sizes = append(s.sizes, size)
	s.octets += uint64(size)
	if index > s.snapshot {
		s.pending += uint64(size)
	}
	s.tell()
}

// next is the index after the newest entry; s.mu is held, as for all below
// that say nothing else.
func (s *logSize) next() uint64 { return s.first + uint64(len(s.sizes)) }

// cut forgets the entry at index and all that follow; all there are if none is
// there.
func (s *logSize) cut(index uint64) {
	if index < s.first || index > s.next() {
		index = s.first
	}
	s.sizes = s.sizes[:index-s.first]
	s.count()
}

// count adds up anew.
func (s *logSize) count() {
	s.octets, s.pending = 0, 0
	for i, size := range s.sizes {
		s.octets += uint64(size)
		if s.first+uint64(i) > s.snapshot {
			s.pending += uint64(size)
		}
	}
}

// remove forgets the entries of a range, which is the beginning or the end of
// the log.
func (s *logSize) remove(from, to uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case len(s.sizes) == 0 || to < s.first:
	case from > s.first:
		s.cut(from)
	default:
		gone := min(to+1, s.next()) - s.first
		s.sizes, s.first = s.sizes[gone:], s.first+gone
		s.count()
	}
}

// snapshotAt notes how far the newest snapshot reaches.
func (s *logSize) snapshotAt(index uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.snapshot = max(s.snapshot, index)
	s.count()
}

// snapshotIndex returns how far the newest snapshot reaches.
func (s *logSize) snapshotIndex() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.snapshot
}

// setLimit sets how many octets there may be beyond the newest snapshot before
// exceeded is told.
func (s *logSize) setLimit(octets uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limit = octets
	s.tell()
}

// tell tells if there is too much beyond the newest snapshot.
func (s *logSize) tell() {
	if s.limit > 0 && s.pending > s.limit {
		s.exceeded.now()
	}
}

// beyondSnapshot counts the entries that no snapshot holds, and their octets.
func (s *logSize) beyondSnapshot() (entries, octets uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next() <= s.snapshot+1 {
		return 0, 0
	}
	return s.next() - max(s.first, s.snapshot+1), s.pending
}

// total returns the octets of all entries.
func (s *logSize) total() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.octets
}

// newest counts the newest entries that have at most so many octets together,
// none of which comes before the entry from.
func (s *logSize) newest(octets, from uint64) (entries uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := len(s.sizes) - 1; i >= 0 && s.first+uint64(i) >= from; i-- {
		size := uint64(s.sizes[i])
		if size > octets {
			break
		}
		octets -= size
		entries++
	}
	return entries
}
