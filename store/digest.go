package store

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
)

// Digest returns a hash of the whole table except the events. It is equal on
// all nodes that have applied the same changes. It takes about a second for a
// million users and holds no lock.
func (v View) Digest() [sha256.Size]byte {
	d := digester{hash: sha256.New()}
	d.addString(v.history)
	d.addString(string(v.secret))
	d.addNumbers(v.index, uint64(v.schema), v.restoring)
	v.nodes.Scan(func(_ string, n *Node) bool { d.addNode(n); return true })
	d.endSection()
	v.accounts.ascend("", func(_ string, a *Account) bool { d.addAccount(a); return true })
	d.endSection()
	v.rules.ascend("", func(owner string, l *ACL) bool { d.addRules(owner, l.rules); return true })
	d.endSection()
	v.contacts.ascend("", func(owner string, contacts []Contact) bool { d.addContacts(owner, contacts); return true })
	d.endSection()
	v.listeners.ascend("", func(p packed) bool { d.addString(p.fields()); return true })
	d.endSection()
	d.addRemovedNodes(v)
	d.addInvitations(v)
	d.addBlocks(v)
	d.addSealedValues(v)
	d.addContactGroups(v)
	d.addConsole(v.console)
	d.addReports(v)
	return d.sum()
}

// digester hashes strings with their length before them and numbers as
// uvarints, so that different tables never produce the same octets. Each
// section ends with an empty string, which is not a valid name.
type digester struct {
	hash hash.Hash
	buf  []byte
}

func (d *digester) sum() (sum [sha256.Size]byte) {
	d.hash.Write(d.buf)
	d.hash.Sum(sum[:0])
	return sum
}

func (d *digester) addString(s string) {
	if d.buf = appendString(d.buf, s); len(d.buf) > 4096 {
		d.hash.Write(d.buf)
		d.buf = d.buf[:0]
	}
}

func (d *digester) addNumbers(numbers ...uint64) {
	for _, n := range numbers {
		d.buf = binary.AppendUvarint(d.buf, n)
	}
}

func (d *digester) endSection() { d.addString("") }

func (d *digester) addNode(n *Node) {
	d.addString(n.ID)
	d.addNumbers(n.Epoch, boolToUint64(n.Down), boolToUint64(n.Draining), boolToUint64(n.NeedsReap), n.Incarnation, uint64(n.MinSchema), uint64(n.MaxSchema))
	d.addString(n.Version)
	d.addString(n.reapedThrough)
}

func (d *digester) addAccount(a *Account) {
	d.addString(a.Address.String())
	d.addString(string(a.Verifier.Salt))
	d.addString(string(a.Verifier.StoredKey))
	d.addString(string(a.Verifier.ServerKey))
	d.addNumbers(uint64(a.Verifier.Iterations), accountFlags(a), a.Credential, a.Exclusive, uint64(a.Created.UnixMilli()))
	if a.LastDisabled > 0 { // never before schema 2: older tables hash as they did
		d.addNumbers(a.LastDisabled)
	}
	d.addAppPasswords(a)
	d.addKeys(a)
	if a.source != nil { // never before schema 4
		d.addString(a.source.name)
	}
}

// accountFlags says which optional parts of an account follow. There are at
// most 16 app passwords.
func accountFlags(a *Account) uint64 {
	return boolToUint64(a.Disabled) | boolToUint64(a.LastDisabled > 0)<<1 | uint64(len(a.AppPasswords()))<<2 |
		boolToUint64(a.source != nil)<<8 | boolToUint64(a.HasLeftSource())<<9 | uint64(len(a.Keys()))<<16
}

func (d *digester) addRules(owner string, rules []Rule) {
	d.addString(owner)
	d.addNumbers(uint64(len(rules)))
	for _, r := range rules {
		d.addString(r.Who.String())
		d.addNumbers(uint64(r.Message), uint64(r.Presence))
	}
}

func (d *digester) addContacts(owner string, contacts []Contact) {
	d.addString(owner)
	d.addNumbers(uint64(len(contacts)))
	for _, c := range contacts {
		d.addString(c.Address.String())
		d.addString(c.Name)
	}
}

func boolToUint64(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}
