package server

import (
	"hash/maphash"
	"time"

	"simpd/protocol"
)

// dedupCache remembers which messages a client accepted, each for at least
// protocol.RepeatWindow (SIMP.md, section 6, rule 6). It keeps two hashes of a
// message, and forgets none of them early: whoever fills it counts what it
// costs, and takes no message that could not be counted.
type dedupCache struct {
	generations []generation // oldest first
}

// generation holds the messages that were accepted within about a minute.
type generation struct {
	since  time.Time
	tables []table // all but the last are full
	size   int     // entries in all
	free   int     // how many more the last table takes
}

// table is a hash table with open addressing, of a fixed length that is a power
// of two. It is never enlarged: once it is full another is made.
type table []entry

// entry is one message that was accepted. Its key is not zero.
type entry struct{ key, sum uint64 }

const (
	generationTime = time.Minute
	minTable       = 8
	maxTable       = 1 << 16 // a mebibyte

	// entryCost and generationCost are what an entry and a generation take, in
	// octets.
	entryCost      = 24
	generationCost = 256
)

// get returns the hash of the octets that were accepted with the given key.
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

// put remembers a message that was accepted now, and returns how many octets
// more the cache takes.
func (c *dedupCache) put(key, sum uint64, now time.Time) (cost int) {
	cost = entryCost
	g := c.newest()
	if g == nil || now.Sub(g.since) > generationTime {
		c.generations = append(c.generations, generation{since: now})
		g = c.newest()
		cost += generationCost
	}
	g.put(entry{key, sum})
	return cost
}

// forget drops the generations of which no entry is needed any more, and returns
// how many octets the cache takes less.
func (c *dedupCache) forget(now time.Time) (freed int) {
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

// forgetAll empties the cache, and returns how many octets that gives back.
func (c *dedupCache) forgetAll() (freed int) {
	for i := range c.generations {
		freed += c.generations[i].cost()
	}
	c.generations = nil
	return freed
}

// due returns when forget has to be called next, the zero time if it need not.
func (c *dedupCache) due() (at time.Time) {
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

// end returns when the last entry of g is not needed any more.
func (g *generation) end() time.Time { return g.since.Add(generationTime + protocol.RepeatWindow) }

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

// find returns the entry with the given key, or the free one where it belongs.
func (t table) find(key uint64) *entry {
	mask := uint64(len(t) - 1)
	for i := key & mask; ; i++ {
		if e := &t[i&mask]; e.key == key || e.key == 0 {
			return e
		}
	}
}

// hasher hashes messages, with seeds that no sender knows.
type hasher struct{ ids, octets maphash.Seed }

func newHasher() *hasher { return &hasher{maphash.MakeSeed(), maphash.MakeSeed()} }

// message returns the hash of m's sender and id, which is not zero, and that of
// its octets.
func (h *hasher) message(m *protocol.Message) (key, sum uint64) {
	key = maphash.String(h.ids, m.From.String())
	key = key*0x9E3779B97F4A7C15 ^ maphash.String(h.ids, m.ID)
	return max(key, 1), maphash.Bytes(h.octets, m.Entity)
}
