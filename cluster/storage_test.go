package cluster

import (
	"encoding/binary"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/raft"
	"go.etcd.io/bbolt"

	"simpd/cluster/storage"
	"simpd/store"
)

// used is a configuration whose directory holds a site of one.
func used(t *testing.T) Config {
	t.Helper()
	c := single(t)
	n := start(t, c)
	awaitUp(t, n)
	propose(t, n, account("alice@example.com"), contact("alice@example.com", "bob@example.com", "Bob"))
	if err := n.raft.Snapshot().Error(); err != nil {
		t.Fatal(err)
	}
	propose(t, n, contact("alice@example.com", "carol@example.com", "Carol"))
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	c.Table, c.Receiver = store.New(store.Config{}), newReceiver()
	return c
}

// refused opens a directory and checks that one sentence says why not.
func refused(t *testing.T, c Config, parts ...string) {
	t.Helper()
	n, err := Open(c)
	if err == nil {
		n.Close()
		t.Fatal("the directory is taken")
	}
	for _, part := range append(parts, c.DataDir) {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the sentence does not say %q: %v", part, err)
		}
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("more than one line: %q", err)
	}
}

// Files of a data directory.
const (
	logFile      = "raft.db"
	manifestFile = "marker.json"
	snapshotDir  = "snapshots"
)

const repair = "simpctl node remove n1, simpctl node admit n1, a new certificate, simpd wipe --data-dir"

func TestADamagedDirectoryIsRefused(t *testing.T) {
	flip := func(t *testing.T, path string, at int64) {
		t.Helper()
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		b[at] ^= 0x10
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	log := func(dir string) string { return filepath.Join(dir, logFile) }
	page := int64(os.Getpagesize())
	whole := used(t)
	for _, c := range []struct {
		name   string
		damage func(t *testing.T, dir string)
		says   []string
	}{
		{"the log is gone", func(t *testing.T, dir string) { must(t, os.Remove(log(dir))) }, []string{"its log raft.db is gone", repair}},
		{"the log is empty", func(t *testing.T, dir string) { must(t, os.Truncate(log(dir), 0)) }, []string{"first meta page: the file is cut off", repair}},
		{"the log is short", func(t *testing.T, dir string) { must(t, os.Truncate(log(dir), 3*page)) }, []string{"raft.db is cut off", repair}},
		{"the first meta page is bad", func(t *testing.T, dir string) { flip(t, log(dir), 16+48) }, []string{"first meta page: it fails its checksum"}},
		{"the second meta page is bad", func(t *testing.T, dir string) { flip(t, log(dir), page+16+48) }, []string{"second meta page: it fails its checksum"}},
		{"an entry is bad", func(t *testing.T, dir string) { flip(t, log(dir), find(t, log(dir), "carol@example.com")) }, []string{"fails its checksum"}},
		{"an entry is gone", func(t *testing.T, dir string) { removeEntry(t, log(dir)) }, []string{"comes after entry"}},
		{"the newest entries are gone", func(t *testing.T, dir string) { removeTail(t, log(dir)) }, []string{"the log ends at entry", "were applied"}},
		{"the marker is bad", func(t *testing.T, dir string) { flip(t, filepath.Join(dir, manifestFile), 30) }, []string{manifestFile}},
		{"the marker is gone", func(t *testing.T, dir string) { must(t, os.Remove(filepath.Join(dir, manifestFile))) }, []string{"there is a log but no marker.json"}},
		{"a snapshot is bad", func(t *testing.T, dir string) { flip(t, glob(t, dir, "snapshots/*/state.bin"), 20) }, []string{"snapshot", "CRC mismatch"}},
		{"a snapshot can't be read", func(t *testing.T, dir string) { must(t, os.Remove(glob(t, dir, "snapshots/*/meta.json"))) }, []string{"of 1 snapshots 0 can be read"}},
		{"the directory is open", func(t *testing.T, dir string) { must(t, os.Chmod(dir, 0o755)) }, []string{"is open to other users of this machine (mode 0755): chmod go= "}},
		{"the log is open", func(t *testing.T, dir string) { must(t, os.Chmod(log(dir), 0o644)) }, []string{"raft.db is open to other users of this machine (mode 0644): chmod go= "}},
	} {
		t.Run(c.name, func(t *testing.T) {
			config := whole
			config.DataDir = copyOf(t, whole.DataDir)
			c.damage(t, config.DataDir)
			refused(t, config, c.says...)
		})
	}
}

func TestADirectoryOfAnotherIsRefused(t *testing.T) {
	c := used(t)
	other := c
	other.NodeID = "n2"
	refused(t, other, "is that of node n1, not of n2: start it with --node-id n1")
	other = c
	other.Site = "example.org"
	refused(t, other, "is of the site example.com, not of example.org")
	start(t, c)
}

func TestADirectoryInUseIsRefused(t *testing.T) {
	c := used(t)
	start(t, c)
	refused(t, c, "another process uses the data directory")
}

func TestAFirstStartThatWasCutShortIsRepeated(t *testing.T) {
	c := single(t)
	d, err := storage.Open(c.DataDir, c.Site, c.NodeID, c.Fatal, newRaftLogger(c.Logger))
	must(t, err)
	must(t, d.Close())
	must(t, os.Truncate(filepath.Join(c.DataDir, logFile), 5000))
	awaitUp(t, start(t, c))
}

func TestFilesAreForTheirOwnerOnly(t *testing.T) {
	c := used(t)
	for _, name := range []string{"", manifestFile, logFile, snapshotDir} {
		info, err := os.Stat(filepath.Join(c.DataDir, name))
		must(t, err)
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%q has mode %v", name, info.Mode())
		}
	}
}

// copyOf copies a data directory.
func copyOf(t *testing.T, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "data")
	must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		target := to + strings.TrimPrefix(path, dir)
		if d.IsDir() {
			return os.Mkdir(target, 0o700)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(target, b, 0o600)
	}))
	return to
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func glob(t *testing.T, dir, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(found) == 0 {
		t.Fatalf("%s: %v %v", pattern, found, err)
	}
	return found[0]
}

// find is where a text ends in a file, the last time it occurs.
func find(t *testing.T, path, text string) int64 {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, err)
	at := strings.LastIndex(string(b), text)
	if at < 0 {
		t.Fatalf("%s does not hold %q", path, text)
	}
	return int64(at + 2)
}

func removeEntry(t *testing.T, path string) {
	t.Helper()
	editLog(t, path, func(b *bbolt.Bucket) error {
		c := b.Cursor()
		c.First()
		k, _ := c.Next()
		return b.Delete(k)
	})
}

func removeTail(t *testing.T, path string) {
	t.Helper()
	editLog(t, path, func(b *bbolt.Bucket) error {
		last, _ := b.Cursor().Last()
		for i := range uint64(2) {
			if err := b.Delete(binary.BigEndian.AppendUint64(nil, binary.BigEndian.Uint64(last)-i)); err != nil {
				return err
			}
		}
		return nil
	})
}

func editLog(t *testing.T, path string, edit func(*bbolt.Bucket) error) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, nil)
	must(t, err)
	defer db.Close()
	must(t, db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket([]byte("logs"))
		if b == nil {
			return fmt.Errorf("no logs")
		}
		return edit(b)
	}))
}

// Whatever bit is wrong, a node refuses its log or has all of it.
func TestAnyFlippedBitIsFoundOrHarmless(t *testing.T) {
	c := used(t)
	path := filepath.Join(c.DataDir, logFile)
	whole, err := os.ReadFile(path)
	must(t, err)
	want, err := entries(c)
	must(t, err)
	random := rand.New(rand.NewPCG(1, 2))
	found := 0
	for range 400 {
		bad := slices.Clone(whole)
		bit := random.IntN(8 * len(bad))
		bad[bit/8] ^= 1 << (bit % 8)
		must(t, os.Remove(path)) // bolt may have left a lock on it
		must(t, os.WriteFile(path, bad, 0o600))
		got, err := entries(c)
		if err != nil {
			found++
		} else if !slices.Equal(got, want) {
			t.Errorf("with bit %d wrong %d entries are read, not %d", bit, len(got), len(want))
		}
	}
	if found == 0 {
		t.Error("no flipped bit was found")
	}
	t.Logf("%d of 400 were found; the others hit nothing in use", found)
}

// entries opens a directory and reads its log.
func entries(c Config) (all []string, err error) {
	d, err := storage.Open(c.DataDir, c.Site, c.NodeID, func(error) {}, newRaftLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		return nil, err
	}
	defer d.Close()
	first, err := d.Logs.FirstIndex()
	if err != nil {
		return nil, err
	}
	last, err := d.Logs.LastIndex()
	if err != nil {
		return nil, err
	}
	for i := first; i <= last; i++ {
		var l raft.Log
		if err := d.Logs.GetLog(i, &l); err != nil {
			return nil, err
		}
		all = append(all, fmt.Sprint(l.Index, l.Term, l.Type, string(l.Data)))
	}
	return all, nil
}
