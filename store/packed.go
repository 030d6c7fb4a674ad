package store

import (
	"encoding/binary"
	"time"
	"unsafe"

	"simpd/protocol"
)

// packed is a listener as the table stores it: all its fields one after the
// other, about 80 octets for a user with one session, without pointers. A
// million of them are a million allocations that the garbage collector need
// not scan, and a reference to one is a single pointer, because its length
// precedes its fields. (Sharing the names of nodes and programs would save
// about ten octets, and cost a pointer or a number with a reference count.)
// The zero packed means deaf.
//
// Numbers are uvarints; a string is its length followed by its octets. Digest
// hashes this layout, so it is part of the schema.
type packed struct{ first *byte }

// newPacked returns a copy of encoded fields.
func newPacked(fields []byte) packed {
	var head [binary.MaxVarintLen32]byte
	n := binary.PutUvarint(head[:], uint64(len(fields)))
	octets := make([]byte, n+len(fields))
	copy(octets[copy(octets, head[:n]):], fields)
	return packed{&octets[0]}
}

func (p packed) isEmpty() bool { return p.first == nil }

// fields returns the encoded fields as a part of p, "" if p is empty.
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

// appendListener appends the encoded fields of l to buf.
func appendListener(buf []byte, l *Listener) []byte {
	buf = appendString(buf, l.Address.String())
	buf = appendTime(buf, l.Since)
	buf = binary.AppendUvarint(buf, l.Index)
	buf = binary.AppendUvarint(buf, uint64(len(l.Bindings)))
	for i := range l.Bindings {
		buf = appendBinding(buf, &l.Bindings[i])
	}
	return buf
}

func appendBinding(buf []byte, b *Binding) []byte {
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

// fromMilli returns the time with the precision of the table: milliseconds,
// in UTC.
func fromMilli(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

// address returns the listener's address as a part of p, "" if p is empty.
func (p packed) address() string {
	if p.isEmpty() {
		return ""
	}
	c := decoder{s: p.fields()}
	return c.string()
}

// decodeHead decodes everything before the bindings into l, and returns a
// decoder for the n bindings.
func (p packed) decodeHead(l *Listener) (c decoder, n int) {
	c.s = p.fields()
	l.Address = protocol.CanonicalAddress(c.string())
	l.Since = fromMilli(int64(c.uvarint()))
	l.Index = c.uvarint()
	return c, int(c.uvarint())
}

// unpackInto decodes p into l, whose Bindings it reuses. Strings are parts of
// p.
func (p packed) unpackInto(l *Listener) {
	c, n := p.decodeHead(l)
	l.Bindings = l.Bindings[:0]
	for range n {
		l.Bindings = append(l.Bindings, c.binding())
	}
}

// unpack decodes p into a new listener; nil if p is empty.
func (p packed) unpack() *Listener {
	if p.isEmpty() {
		return nil
	}
	l := &Listener{}
	c, n := p.decodeHead(l)
	l.Bindings = make([]Binding, n)
	for i := range l.Bindings {
		l.Bindings[i] = c.binding()
	}
	return l
}

// presence returns unpack().Presence() without an allocation.
func (p packed) presence() protocol.Presence {
	if p.isEmpty() {
		return protocol.Presence{}
	}
	var l Listener
	c, n := p.decodeHead(&l)
	b := c.binding()
	for range n - 1 {
		if o := c.binding(); isBetter(&o, &b) {
			b = o
		}
	}
	return protocol.Presence{Address: l.Address, State: b.State, Note: b.Note, Since: l.Since, Index: l.Index}
}

// decoder decodes packed fields. The table encoded them itself, so they can't
// be wrong.
type decoder struct{ s string }

func (c *decoder) uvarint() (v uint64) {
	for shift := 0; ; shift += 7 {
		b := c.s[0]
		c.s = c.s[1:]
		v |= uint64(b&0x7F) << shift
		if b < 0x80 {
			return v
		}
	}
}

func (c *decoder) string() string {
	n := c.uvarint()
	s := c.s[:n]
	c.s = c.s[n:]
	return s
}

func (c *decoder) binding() Binding {
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
