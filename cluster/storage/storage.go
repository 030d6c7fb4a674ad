// Package storage keeps a node's data directory: Raft's log, its term and vote,
// the snapshots, and the manifest that says whose data it is and how much of it
// there must be. It checks all of it before Raft sees any, and ends the process
// rather than have Raft act on what a disk has damaged.
package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

const (
	logFile      = "raft.db"
	snapshotDir  = "snapshots"
	lockTimeout  = 1 * time.Second
	snapshotKeep = 2
)

// Storage is a node's persistent state: Raft's log, its vote and snapshots,
// and the manifest that identifies them.
type Storage struct {
	Dir       string // empty: kept in memory
	Manifest  *Manifest
	Logs      raft.LogStore
	Stable    raft.StableStore
	Snapshots raft.SnapshotStore
	Size      *LogSize // of Logs
	bolt      *raftboltdb.BoltStore
}

// Open opens the data directory of a node, or explains in one sentence
// why it can't be used. An empty dir keeps everything in memory.
func Open(dir, site, node string, fatal func(error), logger hclog.Logger) (*Storage, error) {
	if dir == "" {
		return memoryStorage(site, node, fatal), nil
	}
	if err := makePrivate(dir); err != nil {
		return nil, err
	}
	m, err := acquireDir(dir, site, node)
	if err != nil {
		return nil, err
	}
	d := &Storage{Dir: dir, Manifest: m, Size: newLogSize()}
	if err := d.open(fatal, logger); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

func memoryStorage(site, node string, fatal func(error)) *Storage {
	m := &Manifest{id: Record{Site: site, Node: node}}
	store, size := raft.NewInmemStore(), newLogSize()
	return &Storage{
		Manifest:  m,
		Logs:      &logStore{LogStore: store, marker: m, size: size, fatal: fatal},
		Stable:    &stableStore{StableStore: store, marker: m, fatal: fatal},
		Snapshots: &snapshotStore{raft.NewInmemSnapshotStore(), size},
		Size:      size,
	}
}

// acquireDir reads the manifest of a directory, or creates it for this node.
func acquireDir(dir, site, node string) (*Manifest, error) {
	id, found, err := readManifest(dir)
	if err != nil {
		return nil, damagedError(dir, node, err)
	}
	m := &Manifest{dir: dir, id: id}
	switch _, err := os.Stat(filepath.Join(dir, logFile)); {
	case !found && err == nil:
		return nil, damagedError(dir, node, fmt.Errorf("there is a log but no %s", manifestFile))
	case !found:
		return m, m.Change(func(id *Record) { id.Site, id.Node = site, node })
	case id.Format != manifestFormat:
		return nil, unusable("the data directory %s is of a version of simpd that this one does not know: start it with a newer one", dir)
	case id.Site != site:
		return nil, unusable("the data directory %s is of the site %s, not of %s: give this node a directory of its own", dir, id.Site, site)
	case id.Node != node:
		return nil, unusable("the data directory %s is that of node %s, not of %s: start it with --node-id %s, or give %s a directory of its own", dir, id.Node, node, id.Node, node)
	}
	return m, nil
}

// open opens the stores of a directory after inspecting them.
func (d *Storage) open(fatal func(error), logger hclog.Logger) error {
	if err := d.inspectLog(); err != nil {
		return err
	}
	err := recoverFaults(func() (err error) {
		d.bolt, err = openBolt(filepath.Join(d.Dir, logFile), false)
		return err
	})
	if err != nil {
		return d.UnusableError(err)
	}
	if err := removeLeftovers(d.Dir); err != nil { // the log is open: no other process uses the directory
		return err
	}
	d.Stable = &stableStore{StableStore: d.bolt, marker: d.Manifest, fatal: fatal}
	d.Logs = &logStore{LogStore: d.bolt, marker: d.Manifest, size: d.Size, fatal: fatal}
	snaps, err := openSnapshots(d.Dir, logger)
	if err != nil {
		return d.UnusableError(err)
	}
	d.Snapshots = &snapshotStore{snaps, d.Size}
	return d.inspectSnapshots()
}

func openBolt(path string, readOnly bool) (*raftboltdb.BoltStore, error) {
	return raftboltdb.New(raftboltdb.Options{Path: path, BoltOptions: &bbolt.Options{
		NoFreelistSync: true,
		FreelistType:   bbolt.FreelistMapType,
		Timeout:        lockTimeout,
		ReadOnly:       readOnly,
	}})
}

func openSnapshots(dir string, logger hclog.Logger) (raft.SnapshotStore, error) {
	path := filepath.Join(dir, snapshotDir)
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	if err := checkWriteAccess(path); err != nil {
		return nil, err
	}
	return raft.NewFileSnapshotStoreWithLogger(dir, snapshotKeep, logger)
}

// checkWriteAccess creates and removes a file. Raft's library does so too,
// but its error does not wrap the cause.
func checkWriteAccess(dir string) error {
	f, err := os.CreateTemp(dir, "*.tmp")
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// Close closes the files.
func (d *Storage) Close() error {
	if d.bolt == nil {
		return nil
	}
	return d.bolt.Close()
}

// SaveApplied records in the manifest how far the log was applied. From then
// on a log that ends earlier is refused.
func (d *Storage) SaveApplied(index, term uint64) error {
	if id := d.Manifest.Get(); index <= id.Index {
		return nil
	}
	return d.Manifest.Change(func(id *Record) { id.Index, id.Term = index, term })
}

// makePrivate creates the directory, or checks that no other user can access
// it.
func makePrivate(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("the data directory %s can't be made: %w", dir, err)
	}
	if err := checkPrivate(dir); err != nil {
		return err
	}
	for _, name := range []string{manifestFile, logFile, snapshotDir} {
		err := checkPrivate(filepath.Join(dir, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func checkPrivate(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.Mode().Perm()&0o077 == 0 {
		return nil
	}
	return unusable("%s is open to other users of this machine (mode %04o): chmod go= %s", path, info.Mode().Perm(), path)
}

// UnusableError returns why the directory can't be used.
func (d *Storage) UnusableError(err error) error {
	if errors.Is(err, bolterrors.ErrTimeout) {
		return inUse(d.Dir)
	}
	return damagedError(d.Dir, d.Manifest.Get().Node, err)
}

// damagedError is the error for a directory that has lost data, or that can't
// be used because of the state of the machine.
func damagedError(dir, node string, what error) error {
	switch {
	case IsShortage(what):
		return fmt.Errorf("the data directory %s can't be used now: %w", dir, what)
	case errors.Is(what, fs.ErrPermission):
		return unusable("the data directory %s can't be used: %w: all in it must belong to the user that runs simpd", dir, what)
	}
	return unusable("the data directory %s is damaged (%w): put a whole copy of it back, or have the node join as new: "+
		"simpctl node remove %s, simpctl node admit %s, a new certificate, simpd wipe --data-dir %s --yes, and start it", dir, what, node, node, dir)
}

// IsShortage reports whether a call failed because the machine lacks a
// resource, which says nothing about the data or the file that was to be read.
func IsShortage(err error) bool {
	return slices.ContainsFunc([]syscall.Errno{
		syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM,
	}, func(e syscall.Errno) bool { return errors.Is(err, e) })
}
