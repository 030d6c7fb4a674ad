package store

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	storev1 "simpd/proto/simp/store/v1"
)

// siteOfTwo returns a table of a schema, with the nodes n1 and n2.
func siteOfTwo(t *testing.T, schema uint32) *Table {
	t.Helper()
	table := New(Config{})
	table.current.schema = schema
	for i, id := range []string{"n1", "n2"} {
		r := table.nodeUp(&storev1.NodeUp{Node: id, Incarnation: uint64(i + 1), MinSchema: 1, MaxSchema: NewestSchema})
		if r.Refusal != None {
			t.Fatal(r.Detail)
		}
	}
	return table
}

func print(n byte) []byte { return bytes.Repeat([]byte{n}, 32) }

func prints(t *testing.T, list ...byte) (all []Fingerprint) {
	t.Helper()
	for _, n := range list {
		all = append(all, Fingerprint(print(n)))
	}
	return all
}

func TestARemovedNodeIsKeptWithItsCertificates(t *testing.T) {
	table := siteOfTwo(t, excludeSchema)
	for _, step := range []struct {
		name   string
		result Result
		want   Refusal
		taken  bool
	}{
		{"a certificate", table.addCertificate(&storev1.AddCertificate{Node: "n2", Fingerprint: print(9)}), None, true},
		{"the same again", table.addCertificate(&storev1.AddCertificate{Node: "n2", Fingerprint: print(9)}), None, false},
		{"of nobody", table.addCertificate(&storev1.AddCertificate{Node: "n3", Fingerprint: print(9)}), NoNode, false},
		{"that is too short", table.addCertificate(&storev1.AddCertificate{Node: "n2", Fingerprint: print(9)[:31]}), Malformed, false},
		{"to admit who was not removed", table.admitNode(&storev1.AdmitNode{Node: "n2"}), NoNode, false},
		{"to exclude", table.excludeNode(&storev1.ExcludeNode{Node: "n2", Fingerprint: [][]byte{print(5)}}), None, true},
		{"to exclude again", table.excludeNode(&storev1.ExcludeNode{Node: "n2"}), None, false},
		{"to exclude nobody", table.excludeNode(&storev1.ExcludeNode{}), Malformed, false},
		{"to admit", table.admitNode(&storev1.AdmitNode{Node: "n2"}), None, true},
		{"to admit again", table.admitNode(&storev1.AdmitNode{Node: "n2"}), None, false},
	} {
		if step.result.Refusal != step.want || step.result.Applied != step.taken {
			t.Errorf("%s: %+v", step.name, step.result)
		}
	}
	removed := table.RemovedNodes()
	if want := prints(t, 5, 9); len(removed) != 1 || removed[0].ID != "n2" || removed[0].Excluded || fmt.Sprint(removed[0].Certificates) != fmt.Sprint(want) {
		t.Errorf("removed: %+v", removed)
	}
}

// TestOlderSchemasKeepNoRemovedNodes: a log that older versions read holds
// nothing that they don't know, and their tables hash as before.
func TestOlderSchemasKeepNoRemovedNodes(t *testing.T) {
	table := siteOfTwo(t, 1)
	before := table.View().Digest()
	for _, r := range []Result{
		table.addCertificate(&storev1.AddCertificate{Node: "n1", Fingerprint: print(1)}),
		table.excludeNode(&storev1.ExcludeNode{Node: "n1"}),
		table.admitNode(&storev1.AdmitNode{Node: "n1"}),
	} {
		if r.Refusal != WrongSchema {
			t.Errorf("%+v", r)
		}
	}
	if table.RemovesNodes() || table.View().Digest() != before {
		t.Error("something was kept")
	}
}

// TestCertificatesOfANodeAreBounded: the newest are kept, over an epoch too.
func TestCertificatesOfANodeAreBounded(t *testing.T) {
	table := siteOfTwo(t, excludeSchema)
	for i := range maxNodeCertificates + 1 {
		table.addCertificate(&storev1.AddCertificate{Node: "n1", Fingerprint: print(byte(i))})
	}
	table.nodeUp(&storev1.NodeUp{Node: "n1", Incarnation: 7, MinSchema: 1, MaxSchema: NewestSchema})
	node, _ := table.Node("n1")
	if n := len(node.Certificates); n != maxNodeCertificates || node.Certificates[0] != Fingerprint(print(1)) {
		t.Errorf("%d certificates, the first %x", n, node.Certificates[0])
	}
}

// TestRemovedNodesOutliveTheTable: a snapshot holds them, a restore of
// accounts and a new history leave them, and the digest tells them apart.
func TestRemovedNodesOutliveTheTable(t *testing.T) {
	table := New(Config{})
	apply := func(changes ...*storev1.Change) {
		t.Helper()
		results, err := table.Apply(&storev1.Entry{MinSchema: 1, Batch: []*storev1.Batch{{Change: changes}}})
		if err != nil || slices.ContainsFunc(results[0].Results, func(r Result) bool { return r.Refusal != None }) {
			t.Fatal(results, err)
		}
	}
	digests := map[[32]byte]bool{}
	differs := func(what string) {
		t.Helper()
		if sum := table.View().Digest(); digests[sum] {
			t.Errorf("%s: the digest is as it was", what)
		} else {
			digests[sum] = true
		}
	}
	apply(&storev1.Change{Kind: &storev1.Change_NodeUp{NodeUp: &storev1.NodeUp{Node: "n1", Incarnation: 1, MinSchema: 1, MaxSchema: NewestSchema}}},
		&storev1.Change{Kind: &storev1.Change_SetSchema{SetSchema: &storev1.SetSchema{Schema: excludeSchema}}})
	differs("a node")
	apply(&storev1.Change{Kind: &storev1.Change_AddCertificate{AddCertificate: &storev1.AddCertificate{Node: "n1", Fingerprint: print(3)}}})
	differs("a certificate")
	apply(&storev1.Change{Kind: &storev1.Change_ExcludeNode{ExcludeNode: &storev1.ExcludeNode{Node: "n3", Fingerprint: [][]byte{print(4), print(2)}}}})
	differs("a removed node")
	apply(&storev1.Change{Kind: &storev1.Change_NewHistory{NewHistory: &storev1.NewHistory{History: "h2"}}},
		&storev1.Change{Kind: &storev1.Change_RestoreAccounts{RestoreAccounts: &storev1.RestoreAccounts{First: true, Last: true}}})
	var octets bytes.Buffer
	if _, err := table.Snapshot().WriteTo(&octets); err != nil {
		t.Fatal(err)
	}
	again := New(Config{})
	if err := again.Restore(&octets); err != nil {
		t.Fatal(err)
	}
	if again.View().Digest() != table.View().Digest() || len(again.RemovedNodes()) != 1 || len(again.Nodes()[0].Certificates) != 1 {
		t.Errorf("restored: %+v, %+v", again.RemovedNodes(), again.Nodes())
	}
}
