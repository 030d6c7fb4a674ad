package storage

import (
	"sync"

	"simpd/protocol/wait"
)

// entryOverhead is the size of an entry in the log store besides its data:
// its key, the names and values of its other fields, and its checksum.
const entryOverhead = 128

// LogSize counts the octets of each entry in Raft's log. Any goroutine may
// call its methods.
type LogSize struct {
	mu       sync.Mutex
	first    uint64      // index of the oldest entry
	sizes    []uint32    // of the entries in octets, the oldest first
	octets   uint64      // of all entries
	snapshot uint64      // index that the newest snapshot reaches
	pending  uint64      // octets of the entries beyond it
	limit    uint64      // of pending; 0: none
	exceeded wait.Signal // receives when pending exceeds limit
}

func newLogSize() *LogSize { return &LogSize{exceeded: wait.NewSignal()} }

// add counts an entry with that many octets of data. It replaces the entry at
// its index and all that follow; before a gap nothing counts any more.
func (s *LogSize) add(index uint64, data int) {
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

// next returns the index after the newest entry. The caller holds s.mu, as
// for all methods below that do not say otherwise.
func (s *LogSize) next() uint64 { return s.first + uint64(len(s.sizes)) }

// cut removes the entry at index and all that follow, or all if there is none
// at index.
func (s *LogSize) cut(index uint64) {
	if index < s.first || index > s.next() {
		index = s.first
	}
	s.sizes = s.sizes[:index-s.first]
	s.count()
}

// count recomputes the sums.
func (s *LogSize) count() {
	s.octets, s.pending = 0, 0
	for i, size := range s.sizes {
		s.octets += uint64(size)
		if s.first+uint64(i) > s.snapshot {
			s.pending += uint64(size)
		}
	}
}

// remove removes the entries of a range, which is the beginning or the end of
// the log.
func (s *LogSize) remove(from, to uint64) {
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

// snapshotAt records how far the newest snapshot reaches.
func (s *LogSize) snapshotAt(index uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.snapshot = max(s.snapshot, index)
	s.count()
}

// SnapshotIndex returns how far the newest snapshot reaches.
func (s *LogSize) SnapshotIndex() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.snapshot
}

// SetLimit sets the octets after the newest snapshot above which Exceeded
// receives.
func (s *LogSize) SetLimit(octets uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limit = octets
	s.tell()
}

// Exceeded receives once when there is more after the newest snapshot than the
// limit.
func (s *LogSize) Exceeded() <-chan struct{} { return s.exceeded }

// tell notifies if there is too much after the newest snapshot.
func (s *LogSize) tell() {
	if s.limit > 0 && s.pending > s.limit {
		s.exceeded.Notify()
	}
}

// BeyondSnapshot counts the entries after the newest snapshot, and their
// octets.
func (s *LogSize) BeyondSnapshot() (entries, octets uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next() <= s.snapshot+1 {
		return 0, 0
	}
	return s.next() - max(s.first, s.snapshot+1), s.pending
}

// Total returns the octets of all entries.
func (s *LogSize) Total() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.octets
}

// Newest counts the newest entries that together have at most that many
// octets, none before the entry from.
func (s *LogSize) Newest(octets, from uint64) (entries uint64) {
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
