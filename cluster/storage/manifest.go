package storage

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

const (
	manifestFile   = "marker.json"
	manifestFormat = 1
)

// Record is the content of the manifest file: which node the data
// belongs to, and how much of it there must be. A log with less has forgotten
// what it promised.
type Record struct {
	Format        int      `json:"format"`
	Site          string   `json:"site"`
	Node          string   `json:"node"`
	Admitted      bool     `json:"admitted"` // may take part in Raft
	Dirty         bool     `json:"begun"`    // the log or a vote has been written
	InitialVoters []string `json:"form,omitempty"`
	ClusterID     string   `json:"founding,omitempty"` // empty: the cluster was formed before there were IDs
	Index         uint64   `json:"index"`              // of the log, applied
	Term          uint64   `json:"term"`               // of that entry
	Sum           string   `json:"sum"`
	// Lineage is lost if a version that does not know it writes the manifest.
	Lineage *Lineage `json:"lineage,omitempty"`
}

// sum returns a checksum of everything else except the lineage, which has its
// own.
func (id Record) sum() string {
	id.Sum, id.Lineage = "", nil
	b, _ := json.Marshal(id) // of strings, numbers and bools: no error
	return fmt.Sprintf("%08x", crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
}

// Manifest identifies a data directory, in memory and in its file.
type Manifest struct {
	dir     string     // empty: in memory only
	writing sync.Mutex // held while it is changed

	mu sync.Mutex
	id Record
}

// readManifest reads the manifest of dir; found is false if there is none.
func readManifest(dir string) (id Record, found bool, err error) {
	b, err := os.ReadFile(filepath.Join(dir, manifestFile))
	if errors.Is(err, fs.ErrNotExist) {
		return Record{}, false, nil
	}
	if err != nil {
		return Record{}, false, err
	}
	if err := json.Unmarshal(b, &id); err != nil {
		return Record{}, true, fmt.Errorf("%s is not readable: %w", manifestFile, err)
	}
	if id.Sum != id.sum() || id.Lineage != nil && id.Lineage.Sum != id.Lineage.sum() {
		return Record{}, true, fmt.Errorf("%s fails its checksum", manifestFile)
	}
	return id, true, nil
}

// Get returns the present content.
func (m *Manifest) Get() Record {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.id
}

// Change changes the manifest and returns when it is on disk.
func (m *Manifest) Change(f func(*Record)) error {
	m.writing.Lock()
	defer m.writing.Unlock()
	id := m.Get()
	f(&id)
	id.Format = manifestFormat
	id.Sum = id.sum()
	if m.dir != "" {
		if err := writeDurably(m.dir, manifestFile, id); err != nil {
			return fmt.Errorf("writing %s: %w", filepath.Join(m.dir, manifestFile), err)
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.id = id
	return nil
}

// MarkDirty records, once and before the first such write counts, that the
// log is no longer empty.
func (m *Manifest) MarkDirty() error {
	if m.Get().Dirty {
		return nil
	}
	return m.Change(func(id *Record) { id.Dirty, id.Admitted = true, true })
}

// writeDurably replaces a file atomically: after a crash it is the old one or
// the new one.
func writeDurably(dir, name string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, name+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails once it has its name
	_, err = f.Write(append(b, '\n'))
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), filepath.Join(dir, name)); err != nil {
		return err
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
