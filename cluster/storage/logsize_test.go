package storage

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/hashicorp/raft"
)

// TestLogSizeAgreesWithAStore has a log grow, lose its beginning and its end,
// and go on after a gap, as Raft may have it, and adds up what the store holds.
func TestLogSizeAgreesWithAStore(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 0))
	inner := raft.NewInmemStore()
	s := &logStore{LogStore: inner, marker: &Manifest{}, size: newLogSize(), fatal: func(err error) { t.Errorf("fatal: %v", err) }}
	var snapshot uint64
	for range 5000 {
		first, last, err := bounds(inner)
		must(t, err)
		switch n := random.IntN(20); {
		case n == 0 && last > first:
			must(t, s.DeleteRange(first, first+random.Uint64N(last-first)))
		case n == 1 && last > max(first, snapshot): // of which nothing is committed
			from := max(first, snapshot) + 1
			must(t, s.DeleteRange(from+random.Uint64N(last-from+1), last))
		case n == 2 && last > 0:
			snapshot = max(snapshot, first+random.Uint64N(last-first+1))
			s.size.snapshotAt(snapshot)
		case n == 3 && last > 0 && random.IntN(10) == 0: // a snapshot from elsewhere
			must(t, s.DeleteRange(first, last))
			snapshot = last + 1 + random.Uint64N(5)
			s.size.snapshotAt(snapshot)
			must(t, s.StoreLog(&raft.Log{Index: snapshot + 1, Data: make([]byte, 10)}))
		default:
			next := max(last, snapshot) + 1
			must(t, s.StoreLogs([]*raft.Log{{Index: next, Data: make([]byte, random.IntN(1000))}, {Index: next + 1}}))
		}
		checkSize(t, s.size, inner, snapshot)
		checkRecent(t, s, inner)
	}
}

// checkSize adds up a store.
func checkSize(t *testing.T, s *LogSize, store raft.LogStore, snapshot uint64) {
	t.Helper()
	first, last, err := bounds(store)
	must(t, err)
	var total, entries, pending uint64
	var sizes []uint64
	for i := first; i <= last && i > 0; i++ {
		var l raft.Log
		must(t, store.GetLog(i, &l))
		size := uint64(len(l.Data) + entryOverhead)
		sizes = append(sizes, size)
		total += size
		if i > snapshot {
			entries++
			pending += size
		}
	}
	gotEntries, gotPending := s.BeyondSnapshot()
	if s.Total() != total || gotEntries != entries || gotPending != pending {
		t.Fatalf("%d octets, %d entries of %d beyond the snapshot; the store has %d, %d and %d",
			s.Total(), gotEntries, gotPending, total, entries, pending)
	}
	var newest, octets uint64
	for _, size := range slices.Backward(sizes) {
		if octets += size; octets > 3000 {
			break
		}
		newest++
	}
	if got := s.Newest(3000, 0); got != newest {
		t.Fatalf("the newest %d entries have 3000 octets, not %d", newest, got)
	}
	if got := s.Newest(1<<40, max(last, 3)-2); got != min(uint64(len(sizes)), 3) {
		t.Fatalf("%d entries from the third last on", got)
	}
}

// checkRecent compares what is read through memory with the store.
func checkRecent(t *testing.T, s *logStore, store raft.LogStore) {
	t.Helper()
	first, last, err := bounds(store)
	must(t, err)
	for i := max(first, last-min(last, 3)); i <= last; i++ {
		var there, got raft.Log
		must(t, store.GetLog(i, &there))
		must(t, s.GetLog(i, &got))
		if got.Index != i || len(got.Data) != len(there.Data) {
			t.Fatalf("entry %d is read as %d with %d octets, not %d", i, got.Index, len(got.Data), len(there.Data))
		}
	}
	var l raft.Log
	if err := s.GetLog(last+1, &l); err == nil {
		t.Fatalf("entry %d is read, after the last", l.Index)
	}
}

// TestRecentLogsAreBoundedInOctets: large entries leave sooner.
func TestRecentLogsAreBoundedInOctets(t *testing.T) {
	var r recentLogs
	for i := range uint64(200) {
		r.add([]*raft.Log{{Index: i + 1, Data: make([]byte, 512<<10)}})
	}
	if r.octets > recentOctets || len(r.logs) != recentOctets/(512<<10) {
		t.Errorf("%d entries with %d octets", len(r.logs), r.octets)
	}
	var l raft.Log
	if !r.get(200, &l) || l.Index != 200 || r.get(184, &l) || r.get(201, &l) {
		t.Error("another part of the log is kept")
	}
	for i := range uint64(200) {
		r.add([]*raft.Log{{Index: 201 + i}})
	}
	if len(r.logs) != recentEntries || r.octets != 0 {
		t.Errorf("%d entries with %d octets", len(r.logs), r.octets)
	}
}
