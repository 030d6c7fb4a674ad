package server

import (
	"hash/maphash"
	"slices"
	"time"

	"simpd/protocol"
)

// memory remembers for at least protocol.RepeatWindow which messages a client
// accepted: two hashes each, no octets. To remember one is to note it down;
// only where somebody repeats messages, which those do who choose their ids, is
// what was noted sorted for finding it.
type memory struct {
	generations []generation // oldest first
	sorted      bool         // somebody has asked
}

// generation is what was accepted in about one minute.
type generation struct {
	since time.Time
	count int
	notes [][]note          // full but for the last; nil once sorted
	found map[uint64]uint64 // sums by key; nil until sorted
}

// note is one message that was accepted.
type note struct{ key, sum uint64 }

const (
	generationTime = time.Minute
	// maxGeneration bounds the memory of one session: above so many messages
	// a minute, every minute, the oldest are forgotten early.
	maxGeneration = 1 << 16
)

func (m *memory) get(key uint64, now time.Time) (sum uint64, ok bool) {
	m.sort()
	for i := len(m.generations) - 1; i >= 0; i-- {
		g := &m.generations[i]
		if now.Sub(g.since) > generationTime+protocol.RepeatWindow {
			break
		}
		if sum, ok = g.found[key]; ok {
			return sum, true
		}
	}
	return 0, false
}

// sort has what is noted found, and from now on all that is put in.
func (m *memory) sort() {
	if m.sorted {
		return
	}
	m.sorted = true
	for i := range m.generations {
		g := &m.generations[i]
		g.found = make(map[uint64]uint64, g.count)
		for _, n := range slices.Concat(g.notes...) {
			g.found[n.key] = n.sum
		}
		g.notes = nil
	}
}

func (m *memory) put(key, sum uint64, now time.Time) {
	g := m.newest()
	if g == nil || now.Sub(g.since) > generationTime || g.count >= maxGeneration {
		m.forget(now)
		m.generations = append(m.generations, generation{since: now})
		g = m.newest()
	}
	g.count++
	if !m.sorted {
		g.note(note{key, sum})
		return
	}
	if g.found == nil {
		g.found = make(map[uint64]uint64)
	}
	g.found[key] = sum
}

// What is noted is never moved: there is room for few at first, and then for
// ever more at a time.
const (
	firstNotes = 4
	mostNotes  = 256
)

func (g *generation) note(n note) {
	last := len(g.notes) - 1
	if last < 0 || len(g.notes[last]) == cap(g.notes[last]) {
		room := firstNotes
		if last >= 0 {
			room = min(2*cap(g.notes[last]), mostNotes)
		}
		g.notes = append(g.notes, make([]note, 0, room))
		last++
	}
	g.notes[last] = append(g.notes[last], n)
}

func (m *memory) newest() *generation {
	if len(m.generations) == 0 {
		return nil
	}
	return &m.generations[len(m.generations)-1]
}

// maxGenerations is what a window needs, and as many again where generations
// are full before their minute is over.
const maxGenerations = 12

// forget gives up what is too old.
func (m *memory) forget(now time.Time) {
	for len(m.generations) > 0 {
		old := now.Sub(m.generations[0].since) > generationTime+protocol.RepeatWindow
		if !old && len(m.generations) < maxGenerations {
			return
		}
		m.generations = m.generations[1:]
	}
	m.generations = nil
}

// hasher hashes messages, with seeds that no sender knows.
type hasher struct{ ids, octets maphash.Seed }

func newHasher() *hasher { return &hasher{maphash.MakeSeed(), maphash.MakeSeed()} }

// message returns the hash of m's sender and id, and that of its octets.
func (h *hasher) message(m *protocol.Message) (key, sum uint64) {
	key = maphash.String(h.ids, m.From.String())
	key = key*0x9E3779B97F4A7C15 ^ maphash.String(h.ids, m.ID)
	return key, maphash.Bytes(h.octets, m.Entity)
}
