package store

import (
	"bytes"
	"crypto/sha256"
	"slices"

	storev1 "simpd/proto/simp/store/v1"
)

// Fingerprint is the SHA-256 hash of a certificate in DER.
type Fingerprint = [sha256.Size]byte

// RemovedNode describes an ID that was excluded from the site at least once.
type RemovedNode struct {
	ID string
	// Excluded reports whether no node with that ID may join. An operator can
	// end the exclusion.
	Excluded bool
	// Certificates are refused permanently, even after the exclusion has ended,
	// because whoever took the node may have their keys. They are sorted and
	// must not be changed.
	Certificates []Fingerprint
}

// Limits on the certificates kept; the oldest are dropped first.
const (
	maxNodeCertificates    = 32
	maxRemovedCertificates = 1024 // of one id, over all its removals
)

// excludeSchema is the first schema with removed nodes.
const excludeSchema = 2

// RemovesNodes reports whether the log may hold AddCertificate, ExcludeNode
// and AdmitNode.
func (v View) RemovesNodes() bool { return v.schema >= excludeSchema }

// RemovedNodes returns all removed nodes in the order of their IDs.
func (v View) RemovedNodes() []RemovedNode {
	removed := make([]RemovedNode, 0, v.removed.Len())
	v.removed.Scan(func(_ string, r *RemovedNode) bool {
		removed = append(removed, *r)
		return true
	})
	return removed
}

// RemovesNodes calls View.RemovesNodes on the current table.
func (t *Table) RemovesNodes() bool { return t.Schema() >= excludeSchema }

// RemovedNodes calls View.RemovedNodes on the current table.
func (t *Table) RemovedNodes() []RemovedNode {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.current.RemovedNodes()
}

// addCertificate records a certificate of a node of the site.
func (t *Table) addCertificate(c *storev1.AddCertificate) Result {
	node, ok := t.current.nodes.Get(c.GetNode())
	added, valid := fingerprintFromBytes(c.GetFingerprint())
	switch {
	case t.current.schema < excludeSchema:
		return refuse(WrongSchema, "the site's schema is %d", t.current.schema)
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
	return t.commitEvent(entry{kind: EventCertificate, node: node.ID})
}

// excludeNode keeps an ID and its certificates out of the site.
func (t *Table) excludeNode(c *storev1.ExcludeNode) Result {
	r := &RemovedNode{ID: c.GetNode(), Excluded: true}
	old, again := t.current.removed.Get(c.GetNode())
	if again {
		r.Certificates = old.Certificates
	}
	if node, ok := t.current.nodes.Get(c.GetNode()); ok {
		r.Certificates = mergeFingerprints(r.Certificates, node.Certificates)
	}
	named, valid := fingerprintsFromBytes(c.GetFingerprint())
	switch {
	case t.current.schema < excludeSchema:
		return refuse(WrongSchema, "the site's schema is %d", t.current.schema)
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
	t.current.removed.Set(r.ID, r)
	return t.commitEvent(entry{kind: EventNodeExcluded, node: r.ID})
}

// admitNode allows a node with an excluded ID to join again.
func (t *Table) admitNode(c *storev1.AdmitNode) Result {
	old, ok := t.current.removed.Get(c.GetNode())
	switch {
	case t.current.schema < excludeSchema:
		return refuse(WrongSchema, "the site's schema is %d", t.current.schema)
	case !ok:
		return refuse(NoNode, "no node %s was removed", c.GetNode())
	case !old.Excluded:
		return Result{}
	}
	t.current.removed.Set(old.ID, &RemovedNode{ID: old.ID, Certificates: old.Certificates})
	return t.commitEvent(entry{kind: EventNodeAdmitted, node: old.ID})
}

// certificatesOf returns the certificates of a node; none if it is nil.
func certificatesOf(n *Node) []Fingerprint {
	if n == nil {
		return nil
	}
	return n.Certificates
}

// mergeFingerprints returns the union of both lists, sorted, in a new slice.
func mergeFingerprints(a, b []Fingerprint) []Fingerprint {
	all := slices.Concat(a, b)
	slices.SortFunc(all, compareFingerprints)
	return slices.Compact(all)
}

func compareFingerprints(a, b Fingerprint) int { return bytes.Compare(a[:], b[:]) }

func fingerprintFromBytes(b []byte) (f Fingerprint, ok bool) {
	return f, copy(f[:], b) == len(b) && len(b) == len(f)
}

// fingerprintsFromBytes converts fingerprints; ok is false if one is
// malformed.
func fingerprintsFromBytes(all [][]byte) (list []Fingerprint, ok bool) {
	for _, b := range all {
		f, ok := fingerprintFromBytes(b)
		if !ok {
			return nil, false
		}
		list = append(list, f)
	}
	return list, true
}

func fingerprintsToBytes(list []Fingerprint) (all [][]byte) {
	for _, f := range list {
		all = append(all, slices.Clone(f[:]))
	}
	return all
}

func removedNodeProto(r *RemovedNode) *storev1.Record {
	return &storev1.Record{Kind: &storev1.Record_RemovedNode{RemovedNode: &storev1.RemovedNode{
		Node: r.ID, Excluded: r.Excluded, Certificate: fingerprintsToBytes(r.Certificates),
	}}}
}

// addRemovedNode restores a removed node from a snapshot.
func (b *restorer) addRemovedNode(record *storev1.RemovedNode) error {
	if err := b.checkOrder(partRemoved, record.GetNode()); err != nil {
		return err
	}
	certificates, ok := fingerprintsFromBytes(record.GetCertificate())
	if !ok || !validName(record.GetNode()) || !slices.IsSortedFunc(certificates, compareFingerprints) {
		return corrupt("the removed node %q", record.GetNode())
	}
	b.view.removed.Load(record.GetNode(), &RemovedNode{ID: record.GetNode(), Excluded: record.GetExcluded(), Certificates: certificates})
	return nil
}

// addRemovedNodes hashes removed nodes and certificates. A table without any,
// as before schema 2, keeps its old hash.
func (d *digester) addRemovedNodes(v View) {
	v.nodes.Scan(func(_ string, n *Node) bool {
		if len(n.Certificates) > 0 {
			d.addCertificates("certificates of "+n.ID, 0, n.Certificates)
		}
		return true
	})
	v.removed.Scan(func(_ string, r *RemovedNode) bool {
		d.addCertificates("removed "+r.ID, boolToUint64(r.Excluded), r.Certificates)
		return true
	})
}

func (d *digester) addCertificates(of string, state uint64, list []Fingerprint) {
	d.addString(of)
	d.addNumbers(state, uint64(len(list)))
	for _, f := range list {
		d.addString(string(f[:]))
	}
}
