package store

import (
	"bytes"
	"crypto/sha256"
	"slices"

	storev1 "simpd/proto/simp/store/v1"
)

// Fingerprint is the SHA-256 of a certificate in DER.
type Fingerprint = [sha256.Size]byte

// RemovedNode is an id that was excluded from the site at least once.
type RemovedNode struct {
	ID string
	// Excluded reports whether no node of that id may join. An operator ends it.
	Excluded bool
	// Certificates are refused for good, whatever Excluded says: whoever took
	// the node may have their keys. Ascending; not to be changed.
	Certificates []Fingerprint
}

// The bounds on what is kept of certificates, the oldest of which go first.
const (
	maxNodeCertificates    = 32
	maxRemovedCertificates = 1024 // of one id, over all its removals
)

// excludeSchema is the first schema that knows removed nodes.
const excludeSchema = 2

// RemovesNodes reports whether the log may hold AddCertificate, ExcludeNode
// and AdmitNode.
func (v View) RemovesNodes() bool { return v.schema >= excludeSchema }

// RemovedNodes returns all removed nodes in the order of their ids.
func (v View) RemovedNodes() []RemovedNode {
	removed := make([]RemovedNode, 0, v.removed.Len())
	v.removed.Scan(func(_ string, r *RemovedNode) bool {
		removed = append(removed, *r)
		return true
	})
	return removed
}

// RemovesNodes is View.RemovesNodes of this moment.
func (t *Table) RemovesNodes() bool { return t.Schema() >= excludeSchema }

// RemovedNodes is View.RemovedNodes of this moment.
func (t *Table) RemovedNodes() []RemovedNode {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.now.RemovedNodes()
}

// addCertificate records a certificate of a node of the site.
func (t *Table) addCertificate(c *storev1.AddCertificate) Result {
	node, ok := t.now.nodes.Get(c.GetNode())
	added, valid := fingerprintOf(c.GetFingerprint())
	switch {
	case t.now.schema < excludeSchema:
		return refuse(WrongSchema, "the site's schema is %d", t.now.schema)
	case !valid:
		return refuse(Malformed, "a fingerprint of %d octets", len(c.GetFingerprint()))
	case !ok:
		return refuse(NoNode, "there is no node %s", c.GetNode())
	case slices.Contains(node.Certificates, added):
		return Result{}
	}
	kept := append(slices.Clone(node.Certificates), added)
	kept = kept[max(0, len(kept)-maxNodeCertificates):]
	t.setNode(node, func(n *Node) { n.Certificates = kept })
	return t.commit(entry{kind: EventCertificate, node: node.ID})
}

// excludeNode keeps an id and its certificates out of the site.
func (t *Table) excludeNode(c *storev1.ExcludeNode) Result {
	r := &RemovedNode{ID: c.GetNode(), Excluded: true}
	old, again := t.now.removed.Get(c.GetNode())
	if again {
		r.Certificates = old.Certificates
	}
	if node, ok := t.now.nodes.Get(c.GetNode()); ok {
		r.Certificates = mergeFingerprints(r.Certificates, node.Certificates)
	}
	named, valid := fingerprintsOf(c.GetFingerprint())
	switch {
	case t.now.schema < excludeSchema:
		return refuse(WrongSchema, "the site's schema is %d", t.now.schema)
	case !validName(c.GetNode()) || !valid:
		return refuse(Malformed, "a node without a name, or a fingerprint that is none")
	}
	r.Certificates = mergeFingerprints(r.Certificates, named)
	switch {
	case len(r.Certificates) > maxRemovedCertificates:
		return refuse(Malformed, "%s had more than %d certificates", c.GetNode(), maxRemovedCertificates)
	case again && old.Excluded && len(old.Certificates) == len(r.Certificates):
		return Result{}
	}
	t.now.removed.Set(r.ID, r)
	return t.commit(entry{kind: EventNodeExcluded, node: r.ID})
}

// admitNode lets a node of an excluded id join again.
func (t *Table) admitNode(c *storev1.AdmitNode) Result {
	old, ok := t.now.removed.Get(c.GetNode())
	switch {
	case t.now.schema < excludeSchema:
		return refuse(WrongSchema, "the site's schema is %d", t.now.schema)
	case !ok:
		return refuse(NoNode, "no node %s was removed", c.GetNode())
	case !old.Excluded:
		return Result{}
	}
	t.now.removed.Set(old.ID, &RemovedNode{ID: old.ID, Certificates: old.Certificates})
	return t.commit(entry{kind: EventNodeAdmitted, node: old.ID})
}

// certificatesOf returns those of a node; none if it is nil.
func certificatesOf(n *Node) []Fingerprint {
	if n == nil {
		return nil
	}
	return n.Certificates
}

// mergeFingerprints returns both lists, ascending and each once, in a new slice.
func mergeFingerprints(a, b []Fingerprint) []Fingerprint {
	all := slices.Concat(a, b)
	slices.SortFunc(all, compareFingerprints)
	return slices.Compact(all)
}

func compareFingerprints(a, b Fingerprint) int { return bytes.Compare(a[:], b[:]) }

func fingerprintOf(b []byte) (f Fingerprint, ok bool) {
	return f, copy(f[:], b) == len(b) && len(b) == len(f)
}

// fingerprintsOf converts fingerprints; ok is false if one is none.
func fingerprintsOf(all [][]byte) (list []Fingerprint, ok bool) {
	for _, b := range all {
		f, ok := fingerprintOf(b)
		if !ok {
			return nil, false
		}
		list = append(list, f)
	}
	return list, true
}

func fingerprintOctets(list []Fingerprint) (all [][]byte) {
	for _, f := range list {
		all = append(all, slices.Clone(f[:]))
	}
	return all
}

func removedRecord(r *RemovedNode) *storev1.Record {
	return &storev1.Record{Kind: &storev1.Record_RemovedNode{RemovedNode: &storev1.RemovedNode{
		Node: r.ID, Excluded: r.Excluded, Certificate: fingerprintOctets(r.Certificates),
	}}}
}

// removedNode restores a removed node from a snapshot.
func (b *restorer) removedNode(record *storev1.RemovedNode) error {
	if err := b.enter(partRemoved, record.GetNode()); err != nil {
		return err
	}
	certificates, ok := fingerprintsOf(record.GetCertificate())
	if !ok || !validName(record.GetNode()) || !slices.IsSortedFunc(certificates, compareFingerprints) {
		return corrupt("the removed node %q", record.GetNode())
	}
	b.view.removed.Load(record.GetNode(), &RemovedNode{ID: record.GetNode(), Excluded: record.GetExcluded(), Certificates: certificates})
	return nil
}

// removedNodes adds what is kept of removed nodes and of certificates. A table
// that has none, as all have before schema 2, hashes as it did before.
func (d *digester) removedNodes(v View) {
	v.nodes.Scan(func(_ string, n *Node) bool {
		if len(n.Certificates) > 0 {
			d.certificates("certificates of "+n.ID, 0, n.Certificates)
		}
		return true
	})
	v.removed.Scan(func(_ string, r *RemovedNode) bool {
		d.certificates("removed "+r.ID, flag(r.Excluded), r.Certificates)
		return true
	})
}

func (d *digester) certificates(of string, state uint64, list []Fingerprint) {
	d.string(of)
	d.numbers(state, uint64(len(list)))
	for _, f := range list {
		d.string(string(f[:]))
	}
}
