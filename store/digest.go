package store

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
)

// Digest hashes the whole table, but for the events that it keeps: equal on
// all nodes that have applied the same changes. It takes about a second for a
// million users; it holds no lock.
func (v View) Digest() [sha256.Size]byte {
	d := digester{hash: sha256.New()}
	d.string(v.history)
	d.string(string(v.secret))
	d.numbers(v.index, uint64(v.schema), v.restoring)
	v.nodes.Scan(func(_ string, n *Node) bool { d.node(n); return true })
	d.end()
	v.accounts.ascend("", func(_ string, a *Account) bool { d.account(a); return true })
	d.end()
	v.rules.ascend("", func(owner string, l *ACL) bool { d.rules(owner, l.rules); return true })
	d.end()
	v.contacts.ascend("", func(owner string, contacts []Contact) bool { d.contacts(owner, contacts); return true })
	d.end()
	v.listeners.ascend("", func(p packed) bool { d.string(p.fields()); return true })
	d.end()
	d.removedNodes(v)
	return d.sum()
}

// digester writes strings with their length before them and numbers as
// uvarints, so that different tables never give the same octets. Each part
// ends with an empty string, which no name is.
type digester struct {
	hash hash.Hash
	buf  []byte
}

func (d *digester) sum() (sum [sha256.Size]byte) {
	d.hash.Write(d.buf)
	d.hash.Sum(sum[:0])
	return sum
}

func (d *digester) string(s string) {
	if d.buf = appendString(d.buf, s); len(d.buf) > 4096 {
		d.hash.Write(d.buf)
		d.buf = d.buf[:0]
	}
}

func (d *digester) numbers(numbers ...uint64) {
	for _, n := range numbers {
		d.buf = binary.AppendUvarint(d.buf, n)
	}
}

func (d *digester) end() { d.string("") }

func (d *digester) node(n *Node) {
	d.string(n.ID)
	d.numbers(n.Epoch, flag(n.Down), flag(n.Draining), flag(n.Dirty), n.Boot, uint64(n.MinSchema), uint64(n.MaxSchema))
	d.string(n.Version)
	d.string(n.reaped)
}

func (d *digester) account(a *Account) {
	d.string(a.Address.String())
	d.string(string(a.Verifier.Salt))
	d.string(string(a.Verifier.StoredKey))
	d.string(string(a.Verifier.ServerKey))
	d.numbers(uint64(a.Verifier.Iterations), flag(a.Disabled)|flag(a.LastDisabled > 0)<<1, a.Credential, a.Exclusive, uint64(a.Created.UnixMilli()))
	if a.LastDisabled > 0 { // never before schema 2: older tables hash as they did
		d.numbers(a.LastDisabled)
	}
}

func (d *digester) rules(owner string, rules []Rule) {
	d.string(owner)
	d.numbers(uint64(len(rules)))
	for _, r := range rules {
		d.string(r.Who.String())
		d.numbers(uint64(r.Message), uint64(r.Presence))
	}
}

func (d *digester) contacts(owner string, contacts []Contact) {
	d.string(owner)
	d.numbers(uint64(len(contacts)))
	for _, c := range contacts {
		d.string(c.Address.String())
		d.string(c.Name)
	}
}

func flag(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}
