package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
)

// inspectLog checks the log file before it is used, because a damaged one may
// open as an empty one, or crash the process.
func (d *Storage) inspectLog() error {
	path := filepath.Join(d.Dir, logFile)
	begun := d.Manifest.Get().Dirty
	err := checkBoltFile(path)
	switch {
	case err == nil:
	case !begun && errors.Is(err, fs.ErrNotExist):
		return nil // its first start
	case !begun:
		return os.Remove(path) // its first start was cut short
	case errors.Is(err, fs.ErrNotExist):
		return d.UnusableError(fmt.Errorf("its log %s is gone", logFile))
	default:
		return d.UnusableError(err)
	}
	if err := recoverFaults(func() error { return d.inspectAll(path) }); err != nil {
		return d.UnusableError(err)
	}
	return nil
}

// recoverFaults converts the faults that damaged pages cause in bolt to
// errors, because a pointer in them may lead anywhere.
func recoverFaults(read func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%s: its pages make no sense: %v", logFile, r)
		}
	}()
	return read()
}

func (d *Storage) inspectAll(path string) error {
	store, err := openBolt(path, true)
	if err != nil {
		return err
	}
	return errors.Join(d.inspectEntries(store), store.Close())
}

// inspectEntries reads and counts every entry of the log, and reads Raft's
// term and vote.
func (d *Storage) inspectEntries(store *raftboltdb.BoltStore) error {
	if err := inspectVote(&stableStore{StableStore: store}); err != nil {
		return err
	}
	first, last, err := bounds(store)
	if err != nil {
		return err
	}
	for i := first; i <= last && i > 0; i++ {
		var l raft.Log
		if err := store.GetLog(i, &l); err != nil {
			return fmt.Errorf("%s: entry %d: %w", logFile, i, err)
		}
		if err := verifyChecksum(i, &l); err != nil {
			return fmt.Errorf("%s: %w", logFile, err)
		}
		if id := d.Manifest.Get(); i == id.Index && l.Term != id.Term {
			return fmt.Errorf("%s: entry %d is of term %d, and was of %d", logFile, i, l.Term, id.Term)
		}
		d.Size.add(i, len(l.Data))
	}
	return nil
}

// inspectVote reads what Raft stores beside its log.
func inspectVote(s *stableStore) error {
	for _, key := range []string{"CurrentTerm", "LastVoteTerm", "LastVoteCand"} {
		_, err := s.Get([]byte(key))
		if err != nil && !errors.Is(err, raftboltdb.ErrKeyNotFound) {
			return fmt.Errorf("%s: %w", logFile, err)
		}
	}
	return nil
}

func bounds(s raft.LogStore) (first, last uint64, err error) {
	if first, err = s.FirstIndex(); err != nil {
		return 0, 0, err
	}
	last, err = s.LastIndex()
	return first, last, err
}

// inspectSnapshots checks that the snapshots can be read, that the log
// continues where the newest ends, and that nothing is missing that was
// applied.
func (d *Storage) inspectSnapshots() error {
	newest, err := d.newestSnapshot()
	if err != nil {
		return d.UnusableError(err)
	}
	first, last, err := bounds(d.Logs)
	if err != nil {
		return d.UnusableError(err)
	}
	id := d.Manifest.Get()
	switch {
	case first > newest+1:
		return d.UnusableError(fmt.Errorf("the log begins at entry %d, and no snapshot reaches further than %d", first, newest))
	case id.Index > max(last, newest):
		return d.UnusableError(fmt.Errorf("the log ends at entry %d, and %d were applied", max(last, newest), id.Index))
	}
	d.Size.snapshotAt(newest)
	return nil
}

// newestSnapshot returns the log's index in the newest snapshot, 0 if there is
// none, after reading each as a whole.
func (d *Storage) newestSnapshot() (uint64, error) {
	listed, err := d.Snapshots.List()
	if err != nil {
		return 0, fmt.Errorf("snapshots: %w", err)
	}
	if there, err := countSnapshots(d.Dir); err != nil || there != len(listed) {
		return 0, errors.Join(fmt.Errorf("of %d snapshots %d can be read", there, len(listed)), err)
	}
	var newest uint64
	for _, meta := range listed {
		_, r, err := d.Snapshots.Open(meta.ID)
		if err != nil {
			return 0, fmt.Errorf("snapshot %s: %w", meta.ID, err)
		}
		r.Close()
		newest = max(newest, meta.Index)
	}
	return newest, nil
}

// countSnapshots counts the finished snapshots that the store keeps.
func countSnapshots(dir string) (int, error) {
	entries, err := os.ReadDir(filepath.Join(dir, snapshotDir))
	n := 0
	for _, e := range entries {
		if e.IsDir() && !strings.HasSuffix(e.Name(), ".tmp") {
			n++
		}
	}
	return min(n, snapshotKeep), err
}
