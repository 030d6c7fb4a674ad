package store

import "strings"

// singleSession encodes a listener's only session: its number, and in the
// lowest bits the number of its origin.
type singleSession uint64

const (
	multipleSessions = singleSession(0) // or one whose numbers are too large: the listener has to be decoded
	originBits       = 16
)

func (s singleSession) origin() int    { return int(s & (1<<originBits - 1)) }
func (s singleSession) number() uint64 { return uint64(s >> originBits) }

// originTable numbers what sessions have in common with others of their node.
// It has few entries: one for each epoch of a node, and one for each earlier
// epoch from which sessions were taken along. Entries are never removed.
// Sessions without a number are found by decoding the listener.
type originTable struct {
	entries  []origin // the first is unused: its number belongs to multipleSessions
	byOrigin map[origin]int
	recent   int // the entry used last, which is mostly asked for again
}

// origin is where a session began, and in which epoch it was bound last.
type origin struct {
	node         string
	began, bound uint64
}

// singleSession encodes l's session if there is only one.
func (o *originTable) singleSession(l packed) singleSession {
	var head Listener
	c, n := l.decodeHead(&head)
	if n != 1 {
		return multipleSessions
	}
	b := c.binding()
	number := o.numberOf(origin{b.Session.Node, b.Session.Epoch, b.Epoch})
	if number >= 1<<originBits || b.Session.Number >= 1<<(64-originBits) {
		return multipleSessions
	}
	return singleSession(b.Session.Number<<originBits) | singleSession(number)
}

func (o *originTable) numberOf(from origin) int {
	if o.entries == nil {
		o.entries, o.byOrigin = make([]origin, 1), map[origin]int{}
	}
	if o.recent > 0 && o.entries[o.recent] == from {
		return o.recent
	}
	number, ok := o.byOrigin[from]
	if !ok {
		number = o.addOrigin(from)
	}
	if number < len(o.entries) {
		o.recent = number
	}
	return number
}

// addOrigin assigns a number to a new origin. If there are too many, it
// returns a number that no entry has.
func (o *originTable) addOrigin(from origin) int {
	number := len(o.entries)
	if number < 1<<originBits {
		from.node = strings.Clone(from.node) // it is part of a listener
		o.entries = append(o.entries, from)
		o.byOrigin[from] = number
	}
	return number
}
