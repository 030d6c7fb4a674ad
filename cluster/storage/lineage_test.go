package storage

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestLineageIsForNewVersionsOnly: a version that knows no lineage reads the
// marker, and drops the lineage when it writes: what it has done the marker does
// not know.
func TestLineageIsForNewVersionsOnly(t *testing.T) {
	dir := t.TempDir()
	m, err := acquireDir(dir, "example.com", "n1")
	must(t, err)
	must(t, m.MarkDirty())
	must(t, m.BeginLineage(7))
	id, _, err := readManifest(dir)
	if err != nil || id.Lineage == nil || !slices.Equal(id.Lineage.Incarnations, []uint64{7}) {
		t.Fatalf("%+v, %v", id, err)
	}
	b, err := os.ReadFile(filepath.Join(dir, manifestFile))
	must(t, err)
	var old map[string]any
	must(t, json.Unmarshal(b, &old))
	delete(old, "lineage")
	b, err = json.Marshal(old)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, manifestFile), b, 0o600))
	if id, _, err := readManifest(dir); err != nil || id.Lineage != nil {
		t.Errorf("without a lineage: %+v, %v", id, err)
	}
}

// TestLineageKeepsWhoMayHaveComeUp: of many starts the first and the newest ones
// stay, until one has come up.
func TestLineageKeepsWhoMayHaveComeUp(t *testing.T) {
	m := &Manifest{}
	for incarnation := range uint64(200) {
		must(t, m.BeginLineage(incarnation+1))
		must(t, m.BeginLineage(incarnation+1))
	}
	all := m.Get().Lineage.Incarnations
	if len(all) != maxLineage || all[0] != 1 || all[1] != 200-maxLineage+2 || all[maxLineage-1] != 200 {
		t.Errorf("%d: %v", len(all), all)
	}
	must(t, m.EndLineage("h", 9, 200))
	if l := m.Get().Lineage; l.Epoch != 9 || l.History != "h" || !slices.Equal(l.Incarnations, []uint64{200}) {
		t.Errorf("%+v", l)
	}
}

// TestADamagedLineageIsNoticed: it has a checksum of its own.
func TestADamagedLineageIsNoticed(t *testing.T) {
	dir := t.TempDir()
	m, err := acquireDir(dir, "example.com", "n1")
	must(t, err)
	must(t, m.EndLineage("h", 9, 12345))
	path := filepath.Join(dir, manifestFile)
	b, err := os.ReadFile(path)
	must(t, err)
	must(t, os.WriteFile(path, []byte(strings.Replace(string(b), "12345", "12346", 1)), 0o600))
	if _, _, err := readManifest(dir); err == nil {
		t.Error("another process is taken for the one that was written")
	}
}
