package cluster

import (
	"bytes"
	"io"
	"testing"

	"simpd/protocol/wait"
)

// copyAt is what another node, that has applied one entry more, hands over.
func copyAt(t *testing.T, f *fsm, newest uint64) func(uint64, io.Writer) (uint64, error) {
	t.Helper()
	var b bytes.Buffer
	_, err := f.table.Snapshot().WriteTo(&b)
	must(t, err)
	return func(_ uint64, w io.Writer) (uint64, error) {
		_, err := w.Write(b.Bytes())
		return newest, err
	}
}

// A table that was taken over is ahead of what Raft has handed over: a
// snapshot of it would bear the wrong index, and what is between would be
// applied twice after a restart.
func TestNoSnapshotAheadOfRaft(t *testing.T) {
	other, _ := newFSM(t)
	must(t, applyChange(other, 2, 1, 1, account("alice@example.com")))
	must(t, applyChange(other, 3, 1, 1, account("bob@example.com")))
	sick, _ := newFSM(t)
	must(t, sick.replaceTable(copyAt(t, other, 3)))
	for index := uint64(2); index <= 3; index++ {
		if _, err := sick.Snapshot(); err == nil {
			t.Errorf("a snapshot is taken before entry %d has come", index)
		}
		must(t, applyChange(sick, index, 1, 1, account("of entry "+string(rune('0'+index))+"@example.com")))
	}
	if _, err := sick.Snapshot(); err != nil {
		t.Error(err)
	}
	if sick.table.View().Digest() != other.table.View().Digest() {
		t.Error("an entry was applied that was in the copy already")
	}
}

// After a snapshot of Raft's nothing is left out any more.
func TestRestoreAfterHealing(t *testing.T) {
	other, _ := newFSM(t)
	must(t, applyChange(other, 2, 1, 1, account("alice@example.com")))
	sick, _ := newFSM(t)
	must(t, sick.replaceTable(copyAt(t, other, 9)))
	var b bytes.Buffer
	_, err := other.table.Snapshot().WriteTo(&b)
	must(t, err)
	must(t, sick.Restore(io.NopCloser(&b)))
	must(t, applyChange(sick, 3, 1, 1, account("bob@example.com")))
	if _, ok := sick.table.Account(address(t, "bob@example.com")); !ok {
		t.Error("an entry after the snapshot is left out")
	}
}

// A node that catches up may be asked for two hashes before it has taken the
// first, and is then woken once more than there is something to do.
func TestHashesAskedForAtOnce(t *testing.T) {
	f, _ := newFSM(t)
	d := consistencyChecker{wanted: wait.NewSignal()}
	d.requestHash(1, f.table.View())
	<-d.wanted
	d.requestHash(2, f.table.View())
	if got := d.hashRequested(); got.GetLog() != 2 {
		t.Errorf("the hash after entry %d is taken, not the newest", got.GetLog())
	}
	<-d.wanted
	if got := d.hashRequested(); got != nil {
		t.Errorf("something is hashed that nobody wants: %v", got)
	}
}
