package store

import (
	"cmp"
	"hash/maphash"
	"slices"
	"strings"

	storev1 "simpd/proto/simp/store/v1"
	"simpd/protocol"
)

// ContactGroup is a group of a directory, whose members have one another as
// contacts. It is immutable and shared by all readers.
type ContactGroup struct {
	Source string // the account source
	Key    string // unique in the source
	Name   string

	// members holds address and name of each member, in the order of the
	// addresses, each after its length. A group with 1000 members is so one
	// allocation without pointers.
	members string
	count   int
}

// contactGroupSchema is the first schema with contact groups.
const contactGroupSchema = 5

// HasContactGroups reports whether the log may hold contact groups.
func (t *Table) HasContactGroups() bool { return t.Schema() >= contactGroupSchema }

// Len returns the number of members.
func (g *ContactGroup) Len() int { return g.count }

// Members calls yield for each member in the order of the addresses, until
// yield returns false. It does not allocate.
func (g *ContactGroup) Members(yield func(address protocol.Address, name string) bool) {
	for rest := g.members; rest != ""; {
		var address, name string
		address, rest = cutString(rest)
		name, rest = cutString(rest)
		if !yield(protocol.CanonicalAddress(address), name) {
			return
		}
	}
}

// cutString returns the string at the start of s, which its length precedes, and
// what follows it.
func cutString(s string) (first, rest string) {
	length, n := 0, 0
	for shift := 0; ; shift += 7 {
		b := s[n]
		n++
		length |= int(b&0x7F) << shift
		if b < 0x80 {
			break
		}
	}
	return s[n : n+length], s[n+length:]
}

// Has reports whether a is a member.
func (g *ContactGroup) Has(a protocol.Address) (found bool) {
	g.Members(func(m protocol.Address, _ string) bool {
		found = m == a
		return !found && m.Compare(a) < 0
	})
	return found
}

// octets returns what the group counts towards protocol.MaxGroupOctets; 0 for
// nil.
func (g *ContactGroup) octets() int {
	if g == nil {
		return 0
	}
	return len(g.Source) + len(g.Key) + len(g.Name) + len(g.members)
}

func (g *ContactGroup) id() string { return contactGroupID(g.Source, g.Key) }

func contactGroupID(source, key string) string { return source + "\x00" + key }

// compareShown orders groups as they are shown: by name.
func (g *ContactGroup) compareShown(o *ContactGroup) int {
	return cmp.Or(strings.Compare(g.Name, o.Name), strings.Compare(g.id(), o.id()))
}

// ContactGroups returns all groups in the order of their sources and keys.
func (v View) ContactGroups() []*ContactGroup { return v.groups.Values() }

// ContactGroupsOf returns the groups of which a is a member, in the order of
// their names.
func (t *Table) ContactGroupsOf(a protocol.Address) []*ContactGroup {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.groupIndex.of(a)
}

// groupIndex finds the groups of a user, by a hash of the address, so that it
// keeps no member list in memory that has been replaced. Only the live table
// has one.
type groupIndex struct {
	seed   maphash.Seed
	byUser map[uint64][]*ContactGroup
}

func newGroupIndex() groupIndex {
	return groupIndex{seed: maphash.MakeSeed(), byUser: map[uint64][]*ContactGroup{}}
}

func (x *groupIndex) hash(a protocol.Address) uint64 { return maphash.String(x.seed, a.String()) }

func (x *groupIndex) of(a protocol.Address) (groups []*ContactGroup) {
	for _, g := range x.byUser[x.hash(a)] {
		if g.Has(a) { // and not only somebody with the same hash
			groups = append(groups, g)
		}
	}
	slices.SortFunc(groups, (*ContactGroup).compareShown)
	return groups
}

// add adds a group.
func (x *groupIndex) add(g *ContactGroup) {
	g.Members(func(a protocol.Address, _ string) bool {
		h := x.hash(a)
		x.byUser[h] = append(slices.Clip(x.byUser[h]), g)
		return true
	})
}

// remove removes a group.
func (x *groupIndex) remove(g *ContactGroup) {
	g.Members(func(a protocol.Address, _ string) bool {
		h := x.hash(a)
		at := slices.Index(x.byUser[h], g)
		rest := slices.Delete(slices.Clone(x.byUser[h]), at, at+1)
		if x.byUser[h] = rest; len(rest) == 0 {
			delete(x.byUser, h)
		}
		return true
	})
}

// rebuildGroupIndex makes the index anew, after the table was replaced.
func (t *Table) rebuildGroupIndex() {
	t.groupIndex = newGroupIndex()
	t.current.groups.Scan(func(_ string, g *ContactGroup) bool {
		t.groupIndex.add(g)
		return true
	})
}

// putContactGroup makes a group, or replaces it.
func (t *Table) putContactGroup(c *storev1.PutContactGroup) Result {
	if t.current.schema < contactGroupSchema {
		return refuse(WrongSchema, "the site's schema is %d", t.current.schema)
	}
	g, ok := contactGroupFromProto(c.GetGroup())
	if !ok {
		return refuse(Malformed, "a group without a source, a key, a name or members, or with too much of it")
	}
	old, found := t.current.groups.Get(g.id())
	if found && *old == *g {
		return Result{}
	}
	if r := t.checkGroupLimits(old, g); r.Refusal != None {
		return r
	}
	t.replaceContactGroup(old, g)
	return t.commitEvent(entry{kind: EventGroups, list: old.octets()})
}

// checkGroupLimits checks whether there is room for a group in place of old, which
// may be nil.
func (t *Table) checkGroupLimits(old, g *ContactGroup) Result {
	switch {
	case old == nil && t.current.groups.Len() >= protocol.MaxContactGroups:
		return refuse(TooManyGroups, "the site has %d contact groups already", t.current.groups.Len())
	case t.current.groupOctets-old.octets()+g.octets() > protocol.MaxGroupOctets:
		return refuse(TooManyGroups, "all contact groups together would have more than %d octets", protocol.MaxGroupOctets)
	}
	return Result{}
}

// replaceContactGroup puts a group in the place of old, which may be nil.
func (t *Table) replaceContactGroup(old, g *ContactGroup) {
	if old != nil {
		t.groupIndex.remove(old)
	}
	t.groupIndex.add(g)
	t.current.setContactGroup(g)
}

// restoreContactGroup adds a group of a backup, if there is room for it.
func (t *Table) restoreContactGroup(g *ContactGroup) {
	old, _ := t.current.groups.Get(g.id())
	if t.checkGroupLimits(old, g).Refusal == None {
		t.replaceContactGroup(old, g)
	}
}

// setContactGroup adds or replaces a group. Only the caller keeps an index.
func (v *View) setContactGroup(g *ContactGroup) {
	if old, found := v.groups.Set(g.id(), g); found {
		v.groupOctets -= old.octets()
	}
	v.groupOctets += g.octets()
}

// removeContactGroup removes a group.
func (t *Table) removeContactGroup(c *storev1.RemoveContactGroup) Result {
	if t.current.schema < contactGroupSchema {
		return refuse(WrongSchema, "the site's schema is %d", t.current.schema)
	}
	old, found := t.current.groups.Delete(contactGroupID(c.GetSource(), c.GetKey()))
	if !found {
		return Result{}
	}
	t.current.groupOctets -= old.octets()
	t.groupIndex.remove(old)
	return t.commitEvent(entry{kind: EventGroups, list: old.octets()})
}

// Record returns the group as snapshots and backups hold it.
func (g *ContactGroup) Record() *storev1.Record {
	return &storev1.Record{Kind: &storev1.Record_ContactGroup{ContactGroup: g.Proto()}}
}

// Proto returns the group as changes hold it.
func (g *ContactGroup) Proto() *storev1.ContactGroup {
	p := &storev1.ContactGroup{Source: g.Source, Key: g.Key, Name: g.Name, Member: make([]*storev1.GroupMember, 0, g.count)}
	g.Members(func(a protocol.Address, name string) bool {
		p.Member = append(p.Member, &storev1.GroupMember{Address: a.String(), Name: name})
		return true
	})
	return p
}

// ParseContactGroup returns the group of a record, and reports whether the table
// takes it.
func ParseContactGroup(r *storev1.ContactGroup) (*ContactGroup, bool) {
	return contactGroupFromProto(r)
}

// maxGroupRecord limits the octets of a group with its members, so that one
// entry of the log and one record of a backup hold it.
const maxGroupRecord = 256 << 10

func contactGroupFromProto(r *storev1.ContactGroup) (*ContactGroup, bool) {
	g := &ContactGroup{Source: r.GetSource(), Key: r.GetKey(), Name: r.GetName(), count: len(r.GetMember())}
	if !validGroupText(g.Source, maxName) || !validGroupText(g.Key, protocol.MaxGroupKey) || !validGroupText(g.Name, protocol.MaxNote) ||
		g.count == 0 || g.count > protocol.MaxGroupMembers {
		return nil, false
	}
	var packed []byte
	for i, m := range r.GetMember() {
		if !validAddress(m.GetAddress()) || len(m.GetName()) > protocol.MaxNote || i > 0 && r.GetMember()[i-1].GetAddress() >= m.GetAddress() {
			return nil, false
		}
		packed = appendString(appendString(packed, m.GetAddress()), m.GetName())
	}
	g.members = string(packed)
	return g, len(packed) <= maxGroupRecord
}

func validGroupText(s string, most int) bool {
	return s != "" && len(s) <= most && !strings.ContainsAny(s, "\x00\r\n")
}

// addContactGroup restores a group from a snapshot.
func (b *restorer) addContactGroup(record *storev1.ContactGroup) error {
	if err := b.checkOrder(partContactGroups, contactGroupID(record.GetSource(), record.GetKey())); err != nil {
		return err
	}
	g, ok := contactGroupFromProto(record)
	if !ok || b.view.schema < contactGroupSchema {
		return corrupt("the contact group %q", record.GetKey())
	}
	b.view.setContactGroup(g)
	return nil
}

// restoreContactGroup adds a group of a backup. Before schema 5 it ignores groups.
// It reports whether the record is in order.
func (v *View) restoreContactGroup(record *storev1.ContactGroup) bool {
	g, ok := contactGroupFromProto(record)
	if ok && v.schema >= contactGroupSchema {
		v.setContactGroup(g)
	}
	return ok
}

// addContactGroups hashes groups. A table without any, as before schema 5, keeps
// its old hash.
func (d *digester) addContactGroups(v View) {
	v.groups.Scan(func(id string, g *ContactGroup) bool {
		d.addString("contact group " + id)
		d.addString(g.Name)
		d.addNumbers(uint64(g.count))
		d.addString(g.members)
		return true
	})
}
