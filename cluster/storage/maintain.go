package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/hashicorp/go-hclog"
	"go.etcd.io/bbolt"
)

// Wipe removes a node's data from its directory; the node must not run.
// Before a site accepts a node with the same ID again, the old one must be
// removed from the site.
func Wipe(dir string) error {
	if err := checkOurs(dir); err != nil {
		return err
	}
	unlock, err := lock(dir)
	if err != nil {
		return err
	}
	defer unlock()
	if err := removeLeftovers(dir); err != nil {
		return err
	}
	// The marker goes last: until then what is left is refused.
	for _, name := range []string{snapshotDir, logFile, manifestFile} {
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("wiping %s: %w", dir, err)
		}
	}
	return syncDir(dir)
}

// leftovers are patterns of files that a process leaves in its data directory
// if it is killed while it writes: a snapshot, the manifest, a compacted log,
// a backup being restored. Nothing reads them.
var leftovers = []string{snapshotDir + "/*.tmp", manifestFile + ".*", logFile + ".compact", "simp-restore-*"}

// removeLeftovers removes them from a data directory that no process uses.
func removeLeftovers(dir string) error {
	for _, pattern := range leftovers {
		found, err := fs.Glob(os.DirFS(dir), pattern)
		if err != nil {
			return err
		}
		for _, name := range found {
			if err := os.RemoveAll(filepath.Join(dir, filepath.FromSlash(name))); err != nil {
				return fmt.Errorf("removing what an earlier process left: %w", err)
			}
		}
	}
	return nil
}

// checkOurs refuses a directory that no node has used.
func checkOurs(dir string) error {
	for _, name := range []string{manifestFile, logFile} {
		_, err := os.Stat(filepath.Join(dir, name))
		if err == nil {
			return nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return fmt.Errorf("%s is not a data directory of simpd: it has neither %s nor %s", dir, manifestFile, logFile)
}

// lock takes the lock that a running node holds on its log, whatever the
// state of the log.
func lock(dir string) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(dir, logFile), os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return func() {}, nil
	}
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, inUse(dir)
	}
	return func() { f.Close() }, nil
}

func inUse(dir string) error {
	return fmt.Errorf("another process uses the data directory %s: stop it, or give this node a directory of its own", dir)
}

// Compact rewrites the log file of a node that does not run, since the file
// never shrinks by itself. It returns the size before and after, in octets.
func Compact(dir string) (before, after int64, err error) {
	d, err := OpenStopped(dir)
	if err != nil {
		return 0, 0, err
	}
	if err := d.Close(); err != nil {
		return 0, 0, err
	}
	path := filepath.Join(dir, logFile)
	fresh := path + ".compact"
	if err := compactTo(fresh, path); err != nil {
		return 0, 0, errors.Join(fmt.Errorf("compacting %s: %w", path, err), os.Remove(fresh))
	}
	if before, after, err = sizes(path, fresh); err != nil {
		return 0, 0, err
	}
	if err := os.Rename(fresh, path); err != nil {
		return 0, 0, err
	}
	return before, after, syncDir(dir)
}

func compactTo(to, from string) error {
	src, err := bbolt.Open(from, 0o600, &bbolt.Options{ReadOnly: true, Timeout: lockTimeout})
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := bbolt.Open(to, 0o600, &bbolt.Options{NoFreelistSync: true, FreelistType: bbolt.FreelistMapType})
	if err != nil {
		return err
	}
	const octetsATransaction = 1 << 20
	return errors.Join(bbolt.Compact(dst, src, octetsATransaction), dst.Sync(), dst.Close())
}

func sizes(a, b string) (int64, int64, error) {
	one, err := os.Stat(a)
	if err != nil {
		return 0, 0, err
	}
	other, err := os.Stat(b)
	if err != nil {
		return 0, 0, err
	}
	return one.Size(), other.Size(), nil
}

// OpenStopped opens the directory of a node that does not run.
func OpenStopped(dir string) (*Storage, error) {
	if err := checkOurs(dir); err != nil {
		return nil, err
	}
	id, _, err := readManifest(dir)
	if err != nil {
		return nil, damagedError(dir, "ID", err)
	}
	return Open(dir, id.Site, id.Node, func(error) {}, hclog.NewNullLogger())
}
