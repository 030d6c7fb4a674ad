package store

import (
	"encoding/binary"
	"time"
	"unsafe"

	"simpd/protocol"
)

// packed is a listener as the table keeps it: all its fields one after the
// other, about 80 octets for a user with one session, with no pointer in them.
// A million of them are one allocation each, with nothing for the garbage
// collector to follow, and whatever keeps one keeps a pointer to it and no
// more: how long it is stands before its fields. (To share the names of nodes
// and programs among them would spare some ten octets, and cost a pointer or a
// number that somebody has to give back.) The zero packed is deaf.
//
// Numbers are uvarints; a string is its length and its octets. Digest hashes
// the layout of the fields, so it belongs to the schema.
type packed struct{ first *byte }

// keepPacked returns what pack wrote, in octets of its own.
func keepPacked(fields []byte) packed {
	var head [binary.MaxVarintLen32]byte
	n := binary.PutUvarint(head[:], uint64(len(fields)))
	octets := make([]byte, n+len(fields))
	copy(octets[copy(octets, head[:n]):], fields)
	return packed{&octets[0]}
}

func (p packed) deaf() bool { return p.first == nil }

// fields returns what pack wrote, as a part of p; "" if p is deaf.
func (p packed) fields() string {
	if p.first == nil {
		return ""
	}
	at, n := unsafe.Pointer(p.first), 0
	for shift := 0; ; shift += 7 {
		b := *(*byte)(at)
		at = unsafe.Add(at, 1)
		n |= int(b&0x7F) << shift
		if b < 0x80 {
			return unsafe.String((*byte)(at), n)
		}
	}
}

// pack appends l to buf.
func pack(buf []byte, l *Listener) []byte {
	buf = appendString(buf, l.Address.String())
	buf = appendTime(buf, l.Since)
	buf = binary.AppendUvarint(buf, l.Index)
	buf = binary.AppendUvarint(buf, uint64(len(l.Bindings)))
	for i := range l.Bindings {
		buf = packBinding(buf, &l.Bindings[i])
	}
	return buf
}

func packBinding(buf []byte, b *Binding) []byte {
	buf = appendString(buf, b.Session.Node)
	buf = binary.AppendUvarint(buf, b.Session.Epoch)
	buf = binary.AppendUvarint(buf, b.Session.Number)
	buf = binary.AppendUvarint(buf, b.Epoch)
	buf = binary.AppendUvarint(buf, uint64(b.State))
	buf = appendString(buf, b.Note)
	buf = appendTime(buf, b.Since)
	buf = binary.AppendUvarint(buf, b.Index)
	buf = binary.AppendUvarint(buf, b.Bound)
	buf = appendString(buf, b.Agent)
	return appendString(buf, b.Client)
}

func appendString(buf []byte, s string) []byte {
	return append(binary.AppendUvarint(buf, uint64(len(s))), s...)
}

func appendTime(buf []byte, t time.Time) []byte {
	return binary.AppendUvarint(buf, uint64(t.UnixMilli()))
}

// fromMilli is the time that the table keeps: milliseconds, in UTC.
func fromMilli(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

// address returns whose p is, as a part of p; "" if p is deaf.
func (p packed) address() string {
	if p.deaf() {
		return ""
	}
	c := cursor{s: p.fields()}
	return c.string()
}

// open begins to read p: its head, and then n times binding.
func (p packed) open(l *Listener) (c cursor, n int) {
	c.s = p.fields()
	l.Address = protocol.CanonicalAddress(c.string())
	l.Since = fromMilli(int64(c.uvarint()))
	l.Index = c.uvarint()
	return c, int(c.uvarint())
}

// unpackInto reads p into l, whose Bindings it uses again. Strings are parts
// of p.
func (p packed) unpackInto(l *Listener) {
	c, n := p.open(l)
	l.Bindings = l.Bindings[:0]
	for range n {
		l.Bindings = append(l.Bindings, c.binding())
	}
}

// unpack returns p as a listener of its own; nil if p is deaf.
func (p packed) unpack() *Listener {
	if p.deaf() {
		return nil
	}
	l := &Listener{}
	c, n := p.open(l)
	l.Bindings = make([]Binding, n)
	for i := range l.Bindings {
		l.Bindings[i] = c.binding()
	}
	return l
}

// presence is unpack().Presence() without an allocation.
func (p packed) presence() protocol.Presence {
	if p.deaf() {
		return protocol.Presence{}
	}
	var l Listener
	c, n := p.open(&l)
	b := c.binding()
	for range n - 1 {
		if o := c.binding(); better(&o, &b) {
			b = o
		}
	}
	return protocol.Presence{Address: l.Address, State: b.State, Note: b.Note, Since: l.Since, Index: l.Index}
}

// cursor reads what pack wrote. The table packed it: it can't be wrong.
type cursor struct{ s string }

func (c *cursor) uvarint() (v uint64) {
	for shift := 0; ; shift += 7 {
		b := c.s[0]
		c.s = c.s[1:]
		v |= uint64(b&0x7F) << shift
		if b < 0x80 {
			return v
		}
	}
}

func (c *cursor) string() string {
	n := c.uvarint()
	s := c.s[:n]
	c.s = c.s[n:]
	return s
}

func (c *cursor) binding() Binding {
	return Binding{
		Session: Session{Node: c.string(), Epoch: c.uvarint(), Number: c.uvarint()},
		Epoch:   c.uvarint(),
		State:   protocol.State(c.uvarint()),
		Note:    c.string(),
		Since:   fromMilli(int64(c.uvarint())),
		Index:   c.uvarint(),
		Bound:   c.uvarint(),
		Agent:   c.string(),
		Client:  c.string(),
	}
}
