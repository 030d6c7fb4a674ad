package cluster

import (
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	storev1 "simpd/proto/simp/store/v1"
	"simpd/store"
)

// fsm hands the log's entries to the table, and what came of them to who
// waits here. Raft calls it from one goroutine.
type fsm struct {
	table  *store.Table
	counts *Measures
	// applied is told of each entry in order: its term, and the results of
	// its batches.
	applied func(term uint64, results []store.BatchResult)
	// restored is told that a snapshot has replaced the table: what lay
	// between is not told.
	restored func()
	// nodesChanged and serversChanged ring when who is in the table, or in
	// Raft's configuration, may have changed.
	nodesChanged, serversChanged *bell
	// hash is told of each entry that asks for the table's hash.
	hash func(log uint64)
	// log is Raft's index of the newest entry that the table holds.
	log progress

	// whole is held while an entry is applied, and by who wants the table and
	// log to be of one moment.
	whole sync.Mutex
	skip  uint64 // entries up to it are in the table that replaced another
	come  uint64 // the newest entry that Raft has handed over

	mu    sync.Mutex
	index uint64 // of that entry, with its term
	term  uint64

	fatal  func(error)
	broken atomic.Bool // an entry could not be applied: nothing after it may be
}

var _ raft.BatchingFSM = (*fsm)(nil)

// Apply applies one entry.
func (f *fsm) Apply(l *raft.Log) any { return f.ApplyBatch([]*raft.Log{l})[0] }

// ApplyBatch applies entries in order. The responses are nil, or errors.
func (f *fsm) ApplyBatch(logs []*raft.Log) []any {
	responses := make([]any, len(logs))
	for i, l := range logs {
		if err := f.apply(l); err != nil {
			responses[i] = err
		}
	}
	return responses
}

func (f *fsm) apply(l *raft.Log) error {
	f.whole.Lock()
	defer f.whole.Unlock()
	f.come = l.Index
	if l.Index <= f.skip {
		f.serversChanged.ring()
		return nil
	}
	if f.broken.Load() {
		return fmt.Errorf("entry %d of the log comes after one that could not be applied", l.Index)
	}
	if l.Type != raft.LogCommand {
		f.serversChanged.ring()
		f.advance(l, nil)
		return nil
	}
	begun := time.Now()
	results, err := f.command(l)
	f.counts.Apply.Since(begun)
	if err != nil {
		f.broken.Store(true)
		err = fmt.Errorf("entry %d of the log can't be applied: %w", l.Index, err)
		f.fatal(err)
		return err
	}
	f.advance(l, results)
	return nil
}

func (f *fsm) command(l *raft.Log) ([]store.BatchResult, error) {
	e, err := meant(l)
	if err != nil {
		return nil, err
	}
	results, err := f.table.Apply(e)
	if err == nil && aboutNodes(e) {
		f.nodesChanged.ring()
	}
	if err == nil && wantsHash(e) {
		f.hash(l.Index)
	}
	return results, err
}

// meant is what an entry holds, without batches that were meant for another
// term than the one it came to be in.
func meant(l *raft.Log) (*storev1.Entry, error) {
	e, err := store.DecodeEntry(l.Data)
	if err != nil {
		return nil, err
	}
	e.Batch = slices.DeleteFunc(e.Batch, func(b *storev1.Batch) bool { return b.Term != 0 && b.Term != l.Term })
	return e, nil
}

func (f *fsm) advance(l *raft.Log, results []store.BatchResult) {
	f.applied(l.Term, results)
	f.mu.Lock()
	f.index, f.term = l.Index, l.Term
	f.mu.Unlock()
	f.log.reach(l.Index)
}

// newest is Raft's index and term of the newest entry that the table holds; 0
// if a snapshot was all it got.
func (f *fsm) newest() (index, term uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.index, f.term
}

// aboutNodes reports whether an entry may have begun or ended an epoch.
func aboutNodes(e *storev1.Entry) bool {
	for _, b := range e.Batch {
		for _, c := range b.Change {
			switch c.Kind.(type) {
			case *storev1.Change_Bind, *storev1.Change_SetState, *storev1.Change_Release,
				*storev1.Change_SetRule, *storev1.Change_SetContact, *storev1.Change_PutAccount:
			default:
				return true
			}
		}
	}
	return false
}

// wantsHash reports whether an entry asks for the table's hash.
func wantsHash(e *storev1.Entry) bool {
	return slices.ContainsFunc(e.Batch, func(b *storev1.Batch) bool {
		return slices.ContainsFunc(b.Change, func(c *storev1.Change) bool { return c.GetDigest() != nil })
	})
}

// copy returns the table's state, and the newest entry that it holds.
func (f *fsm) copy() (*store.Snapshot, uint64) {
	f.whole.Lock()
	defer f.whole.Unlock()
	return f.table.Snapshot(), f.log.now()
}

// Snapshot takes the table's state of this moment, at once. Raft calls it the
// state after the newest entry that it has handed over.
func (f *fsm) Snapshot() (raft.FSMSnapshot, error) {
	if f.broken.Load() {
		return nil, fmt.Errorf("the table does not hold all of the log")
	}
	f.whole.Lock()
	defer f.whole.Unlock()
	if f.come < f.skip {
		return nil, fmt.Errorf("the table holds entry %d already, and Raft has handed over %d", f.skip, f.come)
	}
	return snapshot{f.table.Snapshot()}, nil
}

// Restore replaces the table by a snapshot.
func (f *fsm) Restore(r io.ReadCloser) error {
	defer r.Close()
	f.whole.Lock()
	defer f.whole.Unlock()
	if err := f.table.Restore(r); err != nil {
		return err
	}
	f.skip = 0 // what comes next is what follows in Raft's log
	f.restored()
	f.nodesChanged.ring()
	f.serversChanged.ring()
	return nil
}

// snapshot writes the table's state while the table goes on.
type snapshot struct{ of *store.Snapshot }

func (s snapshot) Persist(sink raft.SnapshotSink) error {
	if _, err := s.of.WriteTo(sink); err != nil {
		_ = sink.Cancel()
		return fmt.Errorf("writing a snapshot: %w", err)
	}
	return sink.Close()
}

func (snapshot) Release() {}

// snapshotStore is Raft's store of snapshots, and notes how far the newest
// reaches, whether this node took it or was sent it.
type snapshotStore struct {
	raft.SnapshotStore
	size *logSize
}

// Create begins a snapshot that reaches index.
func (s *snapshotStore) Create(version raft.SnapshotVersion, index, term uint64, c raft.Configuration, configIndex uint64, t raft.Transport) (raft.SnapshotSink, error) {
	sink, err := s.SnapshotStore.Create(version, index, term, c, configIndex, t)
	if err != nil {
		return nil, err
	}
	return &snapshotSink{SnapshotSink: sink, done: func() { s.size.snapshotAt(index) }}, nil
}

// snapshotSink writes a snapshot, and calls done once it is complete.
type snapshotSink struct {
	raft.SnapshotSink
	done func()
}

// Close ends the snapshot, which counts from now on.
func (s *snapshotSink) Close() error {
	err := s.SnapshotSink.Close()
	if err == nil {
		s.done()
	}
	return err
}
