package cluster

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"simpd/cluster/storage"
	storev1 "simpd/proto/simp/store/v1"
)

// largeChanges are the contacts of one user, some 500 octets each, which
// replace those of the round before.
func largeChanges(owner string, n, round int) []*storev1.Change {
	changes := make([]*storev1.Change, n)
	name := fmt.Sprintf("%d %s", round, strings.Repeat("x", 230))
	for i := range changes {
		changes[i] = contact(owner, fmt.Sprintf("u%d.%s@example.com", i, strings.Repeat("y", 50)), name)
	}
	return changes
}

// TestTheLogIsBoundedInOctets: however much is written, the log and its file
// stay within their bounds, also after another start.
func TestTheLogIsBoundedInOctets(t *testing.T) {
	c := single(t)
	c.bounds = logBounds{entries: trailingEntries, trailing: 2 << 20, held: 8 << 20, pending: 2 << 20}
	n := start(t, c)
	awaitUp(t, n)
	propose(t, n, account("alice@example.com"))
	const entry = 64 << 10 // more than any here takes
	limit := c.bounds.trailing + c.bounds.pending + entry
	path := filepath.Join(c.DataDir, logFile)
	var written, file uint64
	for round := 0; written < 24<<20; round++ {
		before := n.storage.Size.Total()
		propose(t, n, largeChanges("alice@example.com", 96, round)...)
		if after := n.storage.Size.Total(); after > before {
			written += after - before
		}
		awaitSnapshot(t, n, c.bounds.pending)
		if size := n.storage.Size.Total(); size > limit {
			t.Fatalf("after %d octets the log has %d, more than %d", written, size, limit)
		}
		info, err := os.Stat(path)
		must(t, err)
		file = uint64(info.Size())
	}
	if bound := 2*limit + 16<<20; file > bound { // bolt grows by 16 MiB, and its pages are not full
		t.Errorf("after %d octets the file has %d, more than %d", written, file, bound)
	}
	t.Logf("%d octets written: the log has %d, its file %d", written, n.storage.Size.Total(), file)
	must(t, n.Close())
	d, err := storage.Open(c.DataDir, c.Site, c.NodeID, c.Fatal, newRaftLogger(c.Logger))
	must(t, err)
	defer d.Close()
	entries, octets := n.storage.Size.BeyondSnapshot()
	if again, more := d.Size.BeyondSnapshot(); d.Size.Total() != n.storage.Size.Total() || again != entries || more != octets {
		t.Errorf("opened again it counts %d octets, %d beyond the snapshot; they were %d and %d", d.Size.Total(), more, n.storage.Size.Total(), octets)
	}
}

// awaitSnapshot waits until no more than so many octets are beyond the newest
// snapshot, and the log is shortened.
func awaitSnapshot(t *testing.T, n *Node, octets uint64) {
	t.Helper()
	ctx := within(t)
	for {
		_, pending := n.storage.Size.BeyondSnapshot()
		if pending <= octets && n.storage.Size.Total() <= n.bounds.trailing+octets {
			return
		}
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("%d octets are beyond the newest snapshot, and %d in the log", pending, n.storage.Size.Total())
		}
	}
}

// slowConn is a connection that takes an octet each microsecond.
type slowConn struct{ net.Conn }

func (c slowConn) Write(b []byte) (n int, err error) {
	for piece := range slices.Chunk(b, 16<<10) {
		<-time.After(time.Duration(len(piece)) * time.Microsecond)
		m, err := c.Conn.Write(piece)
		if n += m; err != nil {
			return n, err
		}
	}
	return n, nil
}

// TestANodeThatLagsTakesOneSnapshot: one that was away for longer than the log
// reaches back is sent one snapshot, however slowly, and catches up from the log
// while others write.
func TestANodeThatLagsTakesOneSnapshot(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.expect = 3
		l.setup = func(c *Config) {
			c.bounds = logBounds{entries: trailingEntries, trailing: 256 << 10, held: 2 << 20, pending: 256 << 10}
			dial := c.Link.Dial
			c.Link.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
				conn, err := dial(ctx, addr)
				if err == nil && strings.HasPrefix(addr, l.host("n3")+":") {
					conn = slowConn{conn}
				}
				return conn, err
			}
		}
		l.start("n1", "n2", "n3")
		l.awaitReady()
		if l.leader() == l.nodes["n3"] {
			_, err := l.nodes["n3"].TransferLeadership(l.within(20*time.Second), "n1")
			must(t, err)
		}
		leader, behind := l.leader(), l.nodes["n3"]
		l.network.Isolate(l.host("n3"))
		for i := range 16 { // a snapshot of 4 MiB
			owner := fmt.Sprintf("u%d@example.com", i)
			propose(t, leader, append([]*storev1.Change{account(owner)}, largeChanges(owner, 800, 0)...)...)
		}
		<-time.After(time.Minute) // what was sent before is given up
		lag := leader.raft.LastIndex()
		if first, err := leader.storage.Logs.FirstIndex(); err != nil || first <= behind.raft.LastIndex()+1 {
			t.Fatalf("the log still has what n3 lacks: it begins at %d, %v", first, err)
		}
		stop, before := writeSteadily(l, leader), leader.Stats().SnapshotsSent
		l.network.Rejoin(l.host("n3"))
		l.eventually("n3 has the snapshot", func() bool { return behind.fsm.progress.Value() >= lag })
		l.eventually("n3 keeps up", func() bool {
			return behind.Ready() == nil && behind.fsm.progress.Value()+10 >= leader.fsm.progress.Value()
		})
		l.eventually("the log is short again", func() bool {
			return leader.storage.Size.Total() <= leader.bounds.trailing+leader.bounds.pending
		})
		written := stop()
		if written < 2*leader.bounds.trailing {
			t.Errorf("only %d octets were written meanwhile", written)
		}
		if sent := leader.Stats().SnapshotsSent - before; sent > 1 {
			t.Errorf("%d snapshots were sent", sent)
		}
	})
}

// writeSteadily writes 40 KiB each 200 ms; stop returns how much that was.
func writeSteadily(l *lab, n *Node) (stop func() (octets uint64)) {
	ended, done := make(chan struct{}), make(chan uint64)
	go func() {
		for round := uint64(1); ; round++ {
			propose(l.t, n, largeChanges("u0@example.com", 100, int(round))...)
			select {
			case <-time.After(200 * time.Millisecond):
			case <-ended:
				done <- round * 40 << 10
				return
			}
		}
	}()
	return func() uint64 {
		close(ended)
		return <-done
	}
}
