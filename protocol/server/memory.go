package server

import (
	"hash/maphash"
	"time"

	"simpd/protocol"
)

// memory remembers for at least protocol.RepeatWindow which messages a client
// accepted: two hashes each, no octets.
type memory struct {
	generations []generation // oldest first
}

// generation is what was accepted in about one minute.
type generation struct {
	since time.Time
	sums  map[uint64]uint64
}

const (
	generationTime = time.Minute
	// maxGeneration bounds the memory of one session: above so many messages
	// a minute, every minute, the oldest are forgotten early.
	maxGeneration = 1 << 16
)

func (m *memory) get(key uint64, now time.Time) (sum uint64, ok bool) {
	for i := len(m.generations) - 1; i >= 0; i-- {
		g := &m.generations[i]
		if now.Sub(g.since) > generationTime+protocol.RepeatWindow {
			break
		}
		if sum, ok = g.sums[key]; ok {
			return sum, true
		}
	}
	return 0, false
}

func (m *memory) put(key, sum uint64, now time.Time) {
	last := len(m.generations) - 1
	if last < 0 || now.Sub(m.generations[last].since) > generationTime || len(m.generations[last].sums) >= maxGeneration {
		m.forget(now)
		m.generations = append(m.generations, generation{now, make(map[uint64]uint64)})
		last = len(m.generations) - 1
	}
	m.generations[last].sums[key] = sum
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
