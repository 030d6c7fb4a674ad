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
	"simpd/protocol/wait"
	"simpd/store"
)

// fsm applies the log's entries to the table, and passes the results to those
// who wait. Raft calls it from one goroutine.
type fsm struct {
	table   *store.Table
	metrics *Metrics
	// onApplied is called for each entry in order with its term and the results
	// of its batches.
	onApplied func(term uint64, results []store.BatchResult)
	// onRestored is called when a snapshot has replaced the table; what lay
	// between is not reported.
	onRestored func()
	// nodesChanged and serversChanged are notified when the nodes in the table,
	// or Raft's configuration, may have changed.
	nodesChanged, serversChanged *wait.Broadcast
	// onHashRequest is called for each entry that requests the table's hash.
	onHashRequest func(log uint64)
	// progress is Raft's index of the newest entry in the table.
	progress wait.Watermark

	// applyMu is held while an entry is applied, and by those who need the table
	// and progress at one moment.
	applyMu      sync.Mutex
	skipThrough  uint64 // entries up to it are already in the table, which was copied
	lastReceived uint64 // the newest entry that Raft has passed

	mu    sync.Mutex
	index uint64 // of the newest entry applied, with its term
	term  uint64

	fatal  func(error)
	broken atomic.Bool // an entry could not be applied, so none after it may be
}

var _ raft.BatchingFSM = (*fsm)(nil)

// Apply applies one entry.
func (f *fsm) Apply(l *raft.Log) any { return f.ApplyBatch([]*raft.Log{l})[0] }

// ApplyBatch applies entries in order. The responses are nil or errors.
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
	f.applyMu.Lock()
	defer f.applyMu.Unlock()
	f.lastReceived = l.Index
	if l.Index <= f.skipThrough {
		f.serversChanged.Notify()
		return nil
	}
	if f.broken.Load() {
		return fmt.Errorf("entry %d of the log comes after one that could not be applied", l.Index)
	}
	if l.Type != raft.LogCommand {
		f.serversChanged.Notify()
		f.advance(l, nil)
		return nil
	}
	begun := time.Now()
	results, err := f.applyCommand(l)
	f.metrics.Apply.ObserveSince(begun)
	if err != nil {
		f.broken.Store(true)
		err = fmt.Errorf("entry %d of the log can't be applied: %w", l.Index, err)
		f.fatal(err)
		return err
	}
	f.advance(l, results)
	return nil
}

func (f *fsm) applyCommand(l *raft.Log) ([]store.BatchResult, error) {
	e, err := decodeForTerm(l)
	if err != nil {
		return nil, err
	}
	results, err := f.table.Apply(e)
	if err == nil && mayChangeNodes(e) {
		f.nodesChanged.Notify()
	}
	if err == nil && requestsHash(e) {
		f.onHashRequest(l.Index)
	}
	return results, err
}

// decodeForTerm decodes an entry without the batches that were meant for
// another term than the entry's.
func decodeForTerm(l *raft.Log) (*storev1.Entry, error) {
	e, err := store.DecodeEntry(l.Data)
	if err != nil {
		return nil, err
	}
	e.Batch = slices.DeleteFunc(e.Batch, func(b *storev1.Batch) bool { return b.Term != 0 && b.Term != l.Term })
	return e, nil
}

func (f *fsm) advance(l *raft.Log, results []store.BatchResult) {
	f.onApplied(l.Term, results)
	f.mu.Lock()
	f.index, f.term = l.Index, l.Term
	f.mu.Unlock()
	f.progress.Advance(l.Index)
}

// newestApplied returns Raft's index and term of the newest entry in the
// table; 0 if it received only a snapshot.
func (f *fsm) newestApplied() (index, term uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.index, f.term
}

// mayChangeNodes reports whether an entry may have started or ended an epoch.
func mayChangeNodes(e *storev1.Entry) bool {
	for _, b := range e.Batch {
		for _, c := range b.Change {
			switch c.Kind.(type) {
			case *storev1.Change_Bind, *storev1.Change_SetState, *storev1.Change_Release,
				*storev1.Change_SetRule, *storev1.Change_SetContact, *storev1.Change_PutAccount,
				*storev1.Change_AddAppPassword, *storev1.Change_RemoveAppPassword, *storev1.Change_MarkAppPasswordUsed,
				*storev1.Change_AddKey, *storev1.Change_RevokeKey,
				*storev1.Change_AddInvitation, *storev1.Change_UseInvitation, *storev1.Change_RemoveInvitation,
				*storev1.Change_PutSealedValue, *storev1.Change_RemoveSealedValue,
				*storev1.Change_UseConsoleToken, *storev1.Change_RevokeConsole:
			default:
				return true
			}
		}
	}
	return false
}

// requestsHash reports whether an entry requests the table's hash.
func requestsHash(e *storev1.Entry) bool {
	return slices.ContainsFunc(e.Batch, func(b *storev1.Batch) bool {
		return slices.ContainsFunc(b.Change, func(c *storev1.Change) bool { return c.GetDigest() != nil })
	})
}

// snapshotWithIndex returns the table's state, and the newest entry in it.
func (f *fsm) snapshotWithIndex() (*store.Snapshot, uint64) {
	f.applyMu.Lock()
	defer f.applyMu.Unlock()
	return f.table.Snapshot(), f.progress.Value()
}

// Snapshot captures the table's state in constant time. Raft takes it for the
// state after the newest entry that it has passed.
func (f *fsm) Snapshot() (raft.FSMSnapshot, error) {
	if f.broken.Load() {
		return nil, fmt.Errorf("the table does not hold all of the log")
	}
	f.applyMu.Lock()
	defer f.applyMu.Unlock()
	if f.lastReceived < f.skipThrough {
		return nil, fmt.Errorf("the table holds entry %d already, and Raft has handed over %d", f.skipThrough, f.lastReceived)
	}
	return snapshot{f.table.Snapshot()}, nil
}

// Restore replaces the table by a snapshot.
func (f *fsm) Restore(r io.ReadCloser) error {
	defer r.Close()
	f.applyMu.Lock()
	defer f.applyMu.Unlock()
	if err := f.table.Restore(r); err != nil {
		return err
	}
	f.skipThrough = 0 // what comes next is what follows in Raft's log
	f.onRestored()
	f.nodesChanged.Notify()
	f.serversChanged.Notify()
	return nil
}

// snapshot writes the table's state while the table changes.
type snapshot struct{ of *store.Snapshot }

func (s snapshot) Persist(sink raft.SnapshotSink) error {
	if _, err := s.of.WriteTo(sink); err != nil {
		_ = sink.Cancel()
		return fmt.Errorf("writing a snapshot: %w", err)
	}
	return sink.Close()
}

func (snapshot) Release() {}
