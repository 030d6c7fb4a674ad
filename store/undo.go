package store

import (
	"encoding/binary"
	"math"

	"simpd/protocol"
)

// An undo describes a listener before a change in terms of the listener after
// it: Since, Index, and then steps that list the bindings in order. Numbers
// are uvarints; strings follow their length. Undos are written to snapshots,
// so the number and meaning of a step never change.
const (
	undoKeep  = 0 // from, count: copy the newer listener's bindings from there on
	undoPatch = 1 // from, Epoch, State, Since, Index: copy the binding with these values
	undoNote  = 2 // likewise, with Note
	undoWhole = 3 // a binding as appendBinding encodes it
)

// appendUndo appends the undo that leads from newer back to older, which have
// the same user.
func appendUndo(buf []byte, newer, older *Listener) []byte {
	buf = appendTime(buf, older.Since)
	buf = binary.AppendUvarint(buf, older.Index)
	next := 0 // place in newer
	for i := 0; i < len(older.Bindings); i++ {
		b := &older.Bindings[i]
		at := findFrom(newer.Bindings, next, b.Session)
		if at < 0 || !isPatchOf(&newer.Bindings[at], b) {
			buf = appendBinding(append(buf, undoWhole), b)
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
// what a patch can express.
func isPatchOf(b, o *Binding) bool {
	return b.Bound == o.Bound && b.Agent == o.Agent && b.Client == o.Client
}

// countEqual returns the length of the common prefix.
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

// applyUndo sets older, whose Bindings it reuses, to what newer was before.
// Strings are parts of newer's and of undo, which must be valid.
func applyUndo(older, newer *Listener, undo string) {
	c := decoder{s: undo}
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

// patched decodes a patch of b.
func (c *decoder) patched(b Binding, withNote bool) Binding {
	b.Epoch, b.State = c.uvarint(), protocol.State(c.uvarint())
	b.Since, b.Index = fromMilli(int64(c.uvarint())), c.uvarint()
	if withNote {
		b.Note = c.string()
	}
	return b
}

// checkUndo reports whether an undo from a snapshot is valid for a newer
// listener with that many bindings, and returns how many bindings the older
// one has.
func checkUndo(undo []byte, newer int) (older int, ok bool) {
	c := undoChecker{b: undo, newerBindings: uint64(newer)}
	c.numbers(2)
	for len(c.b) > 0 && !c.bad {
		older += c.checkStep()
	}
	return older, !c.bad && older > 0
}

// undoChecker checks an undo from a snapshot. After an error it continues
// with bad set.
type undoChecker struct {
	b             []byte
	next          uint64 // bindings from this position on may be taken
	newerBindings uint64
	bad           bool
}

// checkStep returns how many bindings the next step lists.
func (c *undoChecker) checkStep() int {
	switch c.number() {
	case undoKeep:
		from, n := c.number(), c.number()
		return c.takeBindings(from, n)
	case undoPatch:
		c.checkPatch()
		return 1
	case undoNote:
		c.checkPatch()
		c.strings(1)
		return 1
	case undoWhole:
		c.strings(1) // node
		c.numbers(3) // epoch and number of the session, epoch
		c.checkState()
		c.strings(1) // note
		c.numbers(3) // since, index, bound
		c.strings(2) // agent, client
		return 1
	}
	c.bad = true
	return 0
}

// takeBindings takes n bindings of the newer listener; each can be taken
// once.
func (c *undoChecker) takeBindings(from, n uint64) int {
	if from < c.next || n == 0 || from >= c.newerBindings || n > c.newerBindings-from {
		c.bad = true
		return 0
	}
	c.next = from + n
	return int(n)
}

func (c *undoChecker) checkPatch() {
	c.takeBindings(c.number(), 1)
	c.numbers(1)
	c.checkState()
	c.numbers(2)
}

func (c *undoChecker) checkState() {
	s := c.number()
	c.bad = c.bad || s > math.MaxUint8 || StateProto(protocol.State(s)) == 0
}

func (c *undoChecker) number() uint64 {
	v, n := binary.Uvarint(c.b)
	if n <= 0 {
		c.b, c.bad = nil, true
		return 0
	}
	c.b = c.b[n:]
	return v
}

func (c *undoChecker) numbers(n int) {
	for range n {
		c.number()
	}
}

func (c *undoChecker) strings(n int) {
	for range n {
		length := c.number()
		if length > uint64(len(c.b)) {
			c.b, c.bad = nil, true
			return
		}
		c.b = c.b[length:]
	}
}
