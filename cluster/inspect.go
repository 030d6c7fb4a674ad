package cluster

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

// inspectLog looks at the log file before it is used, as a damaged one may
// open as an empty one, or bring the process down.
func (d *disk) inspectLog() error {
	path := filepath.Join(d.dir, logFile)
	begun := d.marker.get().Begun
	err := inspectPages(path)
	switch {
	case err == nil:
	case !begun && errors.Is(err, fs.ErrNotExist):
		return nil // its first start
	case !begun:
		return os.Remove(path) // its first start was cut short
	case errors.Is(err, fs.ErrNotExist):
		return d.refuse(fmt.Errorf("its log %s is gone", logFile))
	default:
		return d.refuse(err)
	}
	if err := guarded(func() error { return d.inspectAll(path) }); err != nil {
		return d.refuse(err)
	}
	return nil
}

// guarded turns what damaged pages make bolt do into an error: a pointer in
// one may lead anywhere.
func guarded(read func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%s: its pages make no sense: %v", logFile, r)
		}
	}()
	return read()
}

func (d *disk) inspectAll(path string) error {
	store, err := openBolt(path, true)
	if err != nil {
		return err
	}
	return errors.Join(d.inspectEntries(store), store.Close())
}

// inspectEntries reads every entry of the log, counts it, and reads Raft's term and vote.
func (d *disk) inspectEntries(store *raftboltdb.BoltStore) error {
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
		if err := unseal(i, &l); err != nil {
			return fmt.Errorf("%s: %w", logFile, err)
		}
		if id := d.marker.get(); i == id.Index && l.Term != id.Term {
			return fmt.Errorf("%s: entry %d is of term %d, and was of %d", logFile, i, l.Term, id.Term)
		}
		d.size.add(i, len(l.Data))
	}
	return nil
}

// inspectVote reads what Raft keeps beside its log.
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

// inspectSnapshots checks that the snapshots can be read, that the log goes on
// where the newest ends, and that nothing is missing that was applied.
func (d *disk) inspectSnapshots() error {
	newest, err := d.newestSnapshot()
	if err != nil {
		return d.refuse(err)
	}
	first, last, err := bounds(d.logs)
	if err != nil {
		return d.refuse(err)
	}
	id := d.marker.get()
	switch {
	case first > newest+1:
		return d.refuse(fmt.Errorf("the log begins at entry %d, and no snapshot reaches further than %d", first, newest))
	case id.Index > max(last, newest):
		return d.refuse(fmt.Errorf("the log ends at entry %d, and %d were applied", max(last, newest), id.Index))
	}
	d.size.snapshotAt(newest)
	return nil
}

// newestSnapshot returns the log's index in the newest snapshot, 0 if there is
// none, after reading each as a whole.
func (d *disk) newestSnapshot() (uint64, error) {
	listed, err := d.snaps.List()
	if err != nil {
		return 0, fmt.Errorf("snapshots: %w", err)
	}
	if there, err := countSnapshots(d.dir); err != nil || there != len(listed) {
		return 0, errors.Join(fmt.Errorf("of %d snapshots %d can be read", there, len(listed)), err)
	}
	var newest uint64
	for _, meta := range listed {
		_, r, err := d.snaps.Open(meta.ID)
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
