package server

import (
	"hash/maphash"
	"time"

	"simpd/protocol"
)

// dedupCache remembers which messages a client has accepted, each for at
// least protocol.RepeatWindow (SIMP.md, section 6, rule 6). It stores two
// hashes of a message and never evicts early: the owner counts its memory,
// and refuses messages whose memory can't be counted.
type dedupCache struct {
	generations []generation // oldest first
}

// generation holds the messages accepted within about a minute.
type generation struct {
	since  time.Time
	tables []table // all except the last are full
	size   int     // entries in all tables
	free   int     // room in the last table
}

// table is a hash table with open addressing, whose length is a power of two.
// It does not grow; when it is full, another one is made.
type table []entry

// entry is one accepted message. Its key is not zero.
type entry struct{ key, sum uint64 }

const (
	generationSpan = time.Minute
	minTable       = 8
	maxTable       = 1 << 16 // a mebibyte

	// entryCost and generationCost are what an entry and a generation take, in
	// octets.
	entryCost      = 24
	generationCost = 256
)

// get returns the content hash of the accepted message with that key.
func (c *dedupCache) get(key uint64, now time.Time) (sum uint64, ok bool) {
	for i := len(c.generations) - 1; i >= 0; i-- {
		g := &c.generations[i]
		if g.isOver(now) {
			break
		}
		if sum, ok = g.get(key); ok {
			return sum, true
		}
	}
	return 0, false
}

// put remembers a message accepted now, and returns the additional memory in
// octets.
func (c *dedupCache) put(key, sum uint64, now time.Time) (cost int) {
	cost = entryCost
	g := c.newest()
	if g == nil || now.Sub(g.since) > generationSpan {
		c.generations = append(c.generations, generation{since: now})
		g = c.newest()
		cost += generationCost
	}
	g.put(entry{key, sum})
	return cost
}

// expire drops generations that are no longer needed, and returns the
// released memory in octets.
func (c *dedupCache) expire(now time.Time) (freed int) {
	for len(c.generations) > 0 && c.generations[0].isOver(now) {
		freed += c.generations[0].cost()
		c.generations[0] = generation{}
		c.generations = c.generations[1:]
	}
	if len(c.generations) == 0 {
		c.generations = nil
	}
	return freed
}

// clear empties the cache, and returns the released memory in octets.
func (c *dedupCache) clear() (freed int) {
	for i := range c.generations {
		freed += c.generations[i].cost()
	}
	c.generations = nil
	return freed
}

// nextExpiry returns when expire has to be called next; zero if not at all.
func (c *dedupCache) nextExpiry() (at time.Time) {
	if len(c.generations) > 0 {
		at = c.generations[0].end()
	}
	return at
}

func (c *dedupCache) newest() *generation {
	if len(c.generations) == 0 {
		return nil
	}
	return &c.generations[len(c.generations)-1]
}

// end returns when the last entry is no longer needed.
func (g *generation) end() time.Time { return g.since.Add(generationSpan + protocol.RepeatWindow) }

func (g *generation) isOver(now time.Time) bool { return now.After(g.end()) }

func (g *generation) cost() int { return generationCost + g.size*entryCost }

func (g *generation) get(key uint64) (sum uint64, ok bool) {
	for _, t := range g.tables {
		if e := t.find(key); e.key == key {
			return e.sum, true
		}
	}
	return 0, false
}

func (g *generation) put(e entry) {
	if g.free == 0 {
		t := newTable(g.size / 2)
		g.tables, g.free = append(g.tables, t), len(t)/8*7 // or finding takes long
	}
	g.size++
	g.free--
	*g.tables[len(g.tables)-1].find(e.key) = e
}

// newTable returns an empty table for about n entries.
func newTable(n int) table {
	length := minTable
	for length < min(n, maxTable) {
		length *= 2
	}
	return make(table, length)
}

// find returns the entry with that key, or the free entry for it.
func (t table) find(key uint64) *entry {
	mask := uint64(len(t) - 1)
	for i := key & mask; ; i++ {
		if e := &t[i&mask]; e.key == key || e.key == 0 {
			return e
		}
	}
}

// messageHasher hashes messages with seeds that no sender knows.
type messageHasher struct{ ids, octets maphash.Seed }

func newMessageHasher() *messageHasher { return &messageHasher{maphash.MakeSeed(), maphash.MakeSeed()} }

// hashMessage returns the hash of m's sender and ID, which is not zero, and
// that of its content.
func (h *messageHasher) hashMessage(m *protocol.Message) (key, sum uint64) {
	key = maphash.String(h.ids, m.From.String())
	key = key*0x9E3779B97F4A7C15 ^ maphash.String(h.ids, m.ID)
	return max(key, 1), maphash.Bytes(h.octets, m.Entity)
}
