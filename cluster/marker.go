package cluster

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
	markerFile   = "marker.json"
	markerFormat = 1
)

// identity is what the marker file says: whose the data is, and how much of
// it there must be. A log that has less has forgotten what it promised.
type identity struct {
	Format   int      `json:"format"`
	Site     string   `json:"site"`
	Node     string   `json:"node"`
	Admitted bool     `json:"admitted"` // may take part in Raft
	Begun    bool     `json:"begun"`    // the log or a vote has been written
	Form     []string `json:"form,omitempty"`
	Founding string   `json:"founding,omitempty"` // its word; empty: the site was founded before there were any
	Index    uint64   `json:"index"`              // of the log, applied
	Term     uint64   `json:"term"`               // of that entry
	Sum      string   `json:"sum"`
	// Lineage is lost when a version writes the marker that does not know it.
	Lineage *lineage `json:"lineage,omitempty"`
}

// sum is a checksum of everything else in it but the lineage, which has its own.
func (id identity) sum() string {
	id.Sum, id.Lineage = "", nil
	b, _ := json.Marshal(id) // of strings, numbers and bools: no error
	return fmt.Sprintf("%08x", crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
}

// marker is the identity of a data directory, in memory and in its file.
type marker struct {
	dir     string     // empty: in memory only
	writing sync.Mutex // held while it is changed

	mu sync.Mutex
	id identity
}

// readMarker reads the marker of dir; found is false if there is none.
func readMarker(dir string) (id identity, found bool, err error) {
	b, err := os.ReadFile(filepath.Join(dir, markerFile))
	if errors.Is(err, fs.ErrNotExist) {
		return identity{}, false, nil
	}
	if err != nil {
		return identity{}, false, err
	}
	if err := json.Unmarshal(b, &id); err != nil {
		return identity{}, true, fmt.Errorf("%s is not readable: %w", markerFile, err)
	}
	if id.Sum != id.sum() || id.Lineage != nil && id.Lineage.Sum != id.Lineage.sum() {
		return identity{}, true, fmt.Errorf("%s fails its checksum", markerFile)
	}
	return id, true, nil
}

func (m *marker) get() identity {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.id
}

// change changes the marker and returns once it is on the disk.
func (m *marker) change(f func(*identity)) error {
	m.writing.Lock()
	defer m.writing.Unlock()
	id := m.get()
	f(&id)
	id.Format = markerFormat
	id.Sum = id.sum()
	if m.dir != "" {
		if err := writeDurably(m.dir, markerFile, id); err != nil {
			return fmt.Errorf("writing %s: %w", filepath.Join(m.dir, markerFile), err)
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.id = id
	return nil
}

// begin notes, once and before the first such write counts, that the log is
// no longer empty.
func (m *marker) begin() error {
	if m.get().Begun {
		return nil
	}
	return m.change(func(id *identity) { id.Begun, id.Admitted = true, true })
}

// writeDurably replaces a file as a whole: after a crash it is the old one or
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
