package cluster

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"simpd/cluster/storage"
)

func TestWipeLeavesNothingOfANode(t *testing.T) {
	c := used(t)
	foreign := filepath.Join(c.DataDir, "notes.txt")
	must(t, os.WriteFile(foreign, nil, 0o600))
	must(t, os.Truncate(filepath.Join(c.DataDir, logFile), 100)) // damaged: that is what it is for
	must(t, storage.Wipe(c.DataDir))
	left, err := os.ReadDir(c.DataDir)
	must(t, err)
	if len(left) != 1 || left[0].Name() != "notes.txt" {
		t.Errorf("left: %v", left)
	}
	awaitUp(t, start(t, c))
}

func TestWipeRefusesWhatIsNotItsOwnOrInUse(t *testing.T) {
	if err := storage.Wipe(t.TempDir()); err == nil || !strings.Contains(err.Error(), "is not a data directory of simpd") {
		t.Errorf("somebody else's directory: %v", err)
	}
	c := used(t)
	start(t, c)
	if err := storage.Wipe(c.DataDir); err == nil || !strings.Contains(err.Error(), "another process uses") {
		t.Errorf("a directory in use: %v", err)
	}
}

// What a killed process left behind is removed by the next start and by Wipe;
// nothing else is.
func TestLeftoversAreRemoved(t *testing.T) {
	for what, remove := range map[string]func(Config){
		"start": func(c Config) { n := start(t, c); awaitUp(t, n); must(t, n.Close()) },
		"wipe":  func(c Config) { must(t, storage.Wipe(c.DataDir)) },
	} {
		t.Run(what, func(t *testing.T) {
			c := used(t)
			must(t, os.MkdirAll(filepath.Join(c.DataDir, snapshotDir, "2-17-1.tmp"), 0o700))
			left := []string{snapshotDir + "/2-17-1.tmp/state.bin", manifestFile + ".123", logFile + ".compact", "simp-restore-45"}
			for _, name := range append(left, "notes.tmp") {
				must(t, os.WriteFile(filepath.Join(c.DataDir, name), []byte("x"), 0o600))
			}
			remove(c)
			for _, name := range left {
				if _, err := os.Lstat(filepath.Join(c.DataDir, name)); !os.IsNotExist(err) {
					t.Errorf("%s: %v", name, err)
				}
			}
			if _, err := os.Lstat(filepath.Join(c.DataDir, "notes.tmp")); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestCompactKeepsTheLog(t *testing.T) {
	c := single(t)
	n := start(t, c)
	awaitUp(t, n)
	for i := range 300 {
		propose(t, n, account(fmt.Sprintf("u%d@example.com", i)))
	}
	last := n.raft.LastIndex()
	must(t, n.raft.Snapshot().Error())
	must(t, n.storage.Logs.DeleteRange(1, last-3)) // as after many more
	must(t, n.Close())
	before, after, err := storage.Compact(c.DataDir)
	must(t, err)
	if after >= before {
		t.Errorf("%d octets before, %d after", before, after)
	}
	got, err := entries(c)
	must(t, err)
	if len(got) != 3 {
		t.Errorf("%d entries are left", len(got))
	}
}

func TestASiteIsRecoveredFromOneNode(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.expect, l.dir = 3, t.TempDir()
		l.start("n1", "n2", "n3")
		l.awaitReady()
		propose(t, l.nodes["n2"], account("alice@example.com"))
		l.eventually("n1 knows alice", func() bool {
			_, ok := l.nodes["n1"].table.Account(address(t, "alice@example.com"))
			return ok
		})
		old, index := l.nodes["n1"].table.History(), l.nodes["n1"].table.Index()
		for _, id := range []string{"n3", "n2", "n1"} {
			l.kill(id)
		}
		r, err := Recover(filepath.Join(l.dir, "n1"), peersFile(t, `[{"id": "n1", "address": "10.0.0.1:7470"}]`))
		must(t, err)
		if r.OldHistory != old || r.History == old || r.Accounts != 1 {
			t.Errorf("%+v after the history %s", r, old)
		}
		must(t, storage.Wipe(filepath.Join(l.dir, "n2")))
		l.start("n1")
		l.awaitReady()
		n := l.nodes["n1"]
		if _, ok := n.table.Account(address(t, "alice@example.com")); !ok || n.table.History() != r.History || n.Epoch() < index+recoveredGap {
			t.Errorf("history %s, epoch %d", n.table.History(), n.Epoch())
		}
		l.start("n2")
		l.awaitReady()
		l.start("n3") // which was not wiped
		l.eventually("n2 votes", func() bool { v, _ := suffrages(n); return v == 2 })
		if err := l.nodes["n3"].Ready(); err == nil {
			t.Error("a node of the old history is ready")
		}
	})
}

func TestRecoverTakesNoOtherNodeAlong(t *testing.T) {
	c := used(t)
	for _, peers := range []string{
		`[{"id": "n1", "address": "10.0.0.1:7470"}, {"id": "n2", "address": "10.0.0.2:7470"}]`,
		`[{"id": "n2", "address": "10.0.0.2:7470"}]`,
		`[{"id": "n1", "address": "10.0.0.1:7470", "non_voter": true}]`,
	} {
		if _, err := Recover(c.DataDir, peersFile(t, peers)); err == nil {
			t.Errorf("%s is taken", peers)
		}
	}
	awaitUp(t, start(t, c))
}

func peersFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "peers.json")
	must(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}
