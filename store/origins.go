package store

import "strings"

// sole is a listener's only session: its number, and in the lowest bits that of
// its origin.
type sole uint64

const (
	several    = sole(0) // or numbers too great for it: the listener has to be read
	originBits = 16
)

func (s sole) origin() int    { return int(s & (1<<originBits - 1)) }
func (s sole) number() uint64 { return uint64(s >> originBits) }

// origins number what sessions have in common with others of their node. There
// are few: a node has one more with each epoch, and one for each earlier epoch
// of which it has taken sessions along into it. None is forgotten; those for
// whom there is no number are found by reading them.
type origins struct {
	all     []origin // the first is none: its number is several's
	numbers map[origin]int
	last    int // what was asked for last is mostly asked for again
}

// origin is where a session began, and in which epoch it was bound last.
type origin struct {
	node         string
	began, bound uint64
}

// sole returns l's session if there is but one.
func (o *origins) sole(l packed) sole {
	var head Listener
	c, n := l.open(&head)
	if n != 1 {
		return several
	}
	b := c.binding()
	number := o.of(origin{b.Session.Node, b.Session.Epoch, b.Epoch})
	if number >= 1<<originBits || b.Session.Number >= 1<<(64-originBits) {
		return several
	}
	return sole(b.Session.Number<<originBits) | sole(number)
}

func (o *origins) of(from origin) int {
	if o.all == nil {
		o.all, o.numbers = make([]origin, 1), map[origin]int{}
	}
	if o.last > 0 && o.all[o.last] == from {
		return o.last
	}
	number, ok := o.numbers[from]
	if !ok {
		number = o.add(from)
	}
	if number < len(o.all) {
		o.last = number
	}
	return number
}

// add gives a new origin the number that it returns. Where there are too many it
// returns one that is nobody's.
func (o *origins) add(from origin) int {
	number := len(o.all)
	if number < 1<<originBits {
		from.node = strings.Clone(from.node) // it was a part of a listener
		o.all = append(o.all, from)
		o.numbers[from] = number
	}
	return number
}
