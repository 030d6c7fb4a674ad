package store

import (
	"encoding/binary"
	"math"

	"simpd/protocol"
)

// An undo says what a listener was before a change, in terms of what it is
// after: Since, Index, and then steps that list the bindings in their order.
// Numbers are uvarints, strings are after their length. It is written to
// snapshots: a step's number and meaning never change.
const (
	undoKeep  = 0 // from, count: the newer listener's bindings from that place on
	undoPatch = 1 // from, Epoch, State, Since, Index: the binding there with these
	undoNote  = 2 // likewise, and Note
	undoWhole = 3 // a binding as packBinding writes it
)

// appendUndo appends to buf what leads from newer back to older, which are of
// the same user.
func appendUndo(buf []byte, newer, older *Listener) []byte {
	buf = appendTime(buf, older.Since)
	buf = binary.AppendUvarint(buf, older.Index)
	next := 0 // place in newer
	for i := 0; i < len(older.Bindings); i++ {
		b := &older.Bindings[i]
		at := findFrom(newer.Bindings, next, b.Session)
		if at < 0 || !isPatchOf(&newer.Bindings[at], b) {
			buf = packBinding(append(buf, undoWhole), b)
			continue
		}
		n := countEqual(newer.Bindings[at:], older.Bindings[i:])
		if n > 0 {
			buf = binary.AppendUvarint(append(buf, undoKeep), uint64(at))
			buf = binary.AppendUvarint(buf, uint64(n))
			i += n - 1
		} else {
			n = 1
			buf = appendPatch(buf, at, &newer.Bindings[at], b)
		}
		next = at + n
	}
	return buf
}

func findFrom(bindings []Binding, from int, s Session) int {
	for i := from; i < len(bindings); i++ {
		if bindings[i].Session == s {
			return i
		}
	}
	return -1
}

// isPatchOf reports whether o differs from b, of the same session, only in
// what a patch says.
func isPatchOf(b, o *Binding) bool {
	return b.Bound == o.Bound && b.Agent == o.Agent && b.Client == o.Client
}

// countEqual returns with how many equal bindings both begin.
func countEqual(a, b []Binding) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

func appendPatch(buf []byte, at int, newer, older *Binding) []byte {
	step := byte(undoPatch)
	if newer.Note != older.Note {
		step = undoNote
	}
	buf = binary.AppendUvarint(append(buf, step), uint64(at))
	buf = binary.AppendUvarint(buf, older.Epoch)
	buf = binary.AppendUvarint(buf, uint64(older.State))
	buf = appendTime(buf, older.Since)
	buf = binary.AppendUvarint(buf, older.Index)
	if step == undoNote {
		buf = appendString(buf, older.Note)
	}
	return buf
}

// applyUndo makes older, whose Bindings it uses again, what newer was before.
// Strings are parts of newer's and of undo, which must be in order.
func applyUndo(older, newer *Listener, undo string) {
	c := cursor{s: undo}
	older.Address, older.Bindings = newer.Address, older.Bindings[:0]
	older.Since, older.Index = fromMilli(int64(c.uvarint())), c.uvarint()
	for c.s != "" {
		switch step := c.uvarint(); step {
		case undoKeep:
			from, n := c.uvarint(), c.uvarint()
			older.Bindings = append(older.Bindings, newer.Bindings[from:from+n]...)
		case undoWhole:
			older.Bindings = append(older.Bindings, c.binding())
		default:
			older.Bindings = append(older.Bindings, c.patched(newer.Bindings[c.uvarint()], step == undoNote))
		}
	}
}

// patched reads a patch of b.
func (c *cursor) patched(b Binding, withNote bool) Binding {
	b.Epoch, b.State = c.uvarint(), protocol.State(c.uvarint())
	b.Since, b.Index = fromMilli(int64(c.uvarint())), c.uvarint()
	if withNote {
		b.Note = c.string()
	}
	return b
}

// checkUndo reports whether undo can be applied to a listener with that many
// bindings, and how many it leads back to.
func checkUndo(undo []byte, newer int) (older int, ok bool) {
	c := checker{b: undo, places: uint64(newer)}
	c.numbers(2)
	for len(c.b) > 0 && !c.bad {
		older += c.step()
	}
	return older, !c.bad && older > 0
}

// checker reads an undo of a snapshot. After what is not in order it reads on,
// and bad is set.
type checker struct {
	b      []byte
	next   uint64 // the place from which on bindings may be taken
	places uint64
	bad    bool
}

// step returns how many bindings the next step lists.
func (c *checker) step() int {
	switch c.number() {
	case undoKeep:
		from, n := c.number(), c.number()
		return c.take(from, n)
	case undoPatch:
		c.patch()
		return 1
	case undoNote:
		c.patch()
		c.strings(1)
		return 1
	case undoWhole:
		c.strings(1) // node
		c.numbers(3) // epoch and number of the session, epoch
		c.state()
		c.strings(1) // note
		c.numbers(3) // since, index, bound
		c.strings(2) // agent, client
		return 1
	}
	c.bad = true
	return 0
}

// take takes n bindings of the newer listener; each can be taken once.
func (c *checker) take(from, n uint64) int {
	if from < c.next || n == 0 || from >= c.places || n > c.places-from {
		c.bad = true
		return 0
	}
	c.next = from + n
	return int(n)
}

func (c *checker) patch() {
	c.take(c.number(), 1)
	c.numbers(1)
	c.state()
	c.numbers(2)
}

func (c *checker) state() {
	s := c.number()
	c.bad = c.bad || s > math.MaxUint8 || stateRecord(protocol.State(s)) == 0
}

func (c *checker) number() uint64 {
	v, n := binary.Uvarint(c.b)
	if n <= 0 {
		c.b, c.bad = nil, true
		return 0
	}
	c.b = c.b[n:]
	return v
}

func (c *checker) numbers(n int) {
	for range n {
		c.number()
	}
}

func (c *checker) strings(n int) {
	for range n {
		length := c.number()
		if length > uint64(len(c.b)) {
			c.b, c.bad = nil, true
			return
		}
		c.b = c.b[length:]
	}
}
