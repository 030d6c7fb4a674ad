package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestMaintainRefusals: what can't be undone is not done by mistake.
func TestMaintainRefusals(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "n1")
	n := serveInsecure(t, dir)
	peers := write(t, "peers.json", `[{"id":"n1","address":"127.0.0.1:7470"}]`, 0o600)
	for _, tt := range []struct {
		code int
		want string
		args []string
	}{
		{exitUsage, "--data-dir is missing", []string{"wipe", "--yes"}},
		{exitUsage, "confirm with --yes", []string{"wipe", "--data-dir", dir}},
		{exitFailure, "another process uses", []string{"wipe", "--data-dir", dir, "--yes"}},
		{exitFailure, "is not a data directory", []string{"wipe", "--data-dir", t.TempDir(), "--yes"}},
		{exitUsage, "--data-dir is missing", []string{"compact"}},
		{exitFailure, "another process uses", []string{"compact", "--data-dir", dir}},
		{exitUsage, "--peers is missing", []string{"recover", "--data-dir", dir}},
		{exitUsage, "confirm with --yes-i-lost-the-majority", []string{"recover", "--data-dir", dir, "--peers", peers}},
		{exitFailure, "another process uses", []string{"recover", "--data-dir", dir, "--peers", peers, "--yes-i-lost-the-majority"}},
	} {
		code, said := runTo(t, "", "simpd", tt.args...)
		if code != tt.code || !strings.Contains(said, tt.want) || strings.Count(said, "\n") != 1 {
			t.Errorf("%v: exit code %d: %s", tt.args, code, said)
		}
	}
	if status, _ := n.get("/readyz"); status != 200 {
		t.Errorf("/readyz: %d", status)
	}
}

// TestWipeAndCompact: a stopped node's log gets smaller, and is gone after wipe.
func TestWipeAndCompact(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "n1")
	n := serveInsecure(t, dir)
	n.addUsers("alice")
	n.signal(syscall.SIGTERM)
	n.exit()
	succeed(t, "", "simpd", "compact", "--data-dir", dir)
	n = serveInsecure(t, dir)
	if said := n.operate("", "account", "list"); !strings.Contains(said, "alice@example.com") {
		t.Errorf("after compact: %s", said)
	}
	n.signal(syscall.SIGTERM)
	n.exit()
	succeed(t, "", "simpd", "wipe", "--data-dir", dir, "--yes")
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("after wipe: %v, %v", left, err)
	}
}

// TestRecover: with two of three nodes lost for good, the third goes on alone,
// with its accounts and under a new history.
func TestRecover(t *testing.T) {
	dir := t.TempDir()
	nodes, args := startInsecureSite(t, dir)
	nodes[0].addUsers("alice")
	history := nodes[0].await(nodes[0].err, "msg=ready")
	for _, n := range nodes {
		n.signal(syscall.SIGKILL)
		n.exit()
	}
	isPrivate(t, dir)
	address := nodes[2].address("cluster-listen")
	peers := write(t, "peers.json", `[{"id":"n3","address":"`+address+`"}]`, 0o600)
	said := succeed(t, "", "simpd", "recover", "--data-dir", filepath.Join(dir, "n3"), "--peers", peers, "--yes-i-lost-the-majority")
	if !strings.Contains(said, "1 account") {
		t.Error(said)
	}
	n := &testNode{start(t, "simpd", args[2]...), "n3", dir}
	again := n.await(n.err, "msg=ready")
	isPrivate(t, dir)
	if historyIn(again) == historyIn(history) || historyIn(again) == "" {
		t.Errorf("the history is %q, and was %q", historyIn(again), historyIn(history))
	}
	if said := n.operate("", "account", "list"); !strings.Contains(said, "alice@example.com") {
		t.Errorf("account list: %s", said)
	}
}

// isPrivate fails where others may read, or do more with, what is in a data
// directory.
func isPrivate(t *testing.T, dir string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if !d.IsDir() {
			files++
		}
		if mode := info.Mode().Perm(); mode&0o077 != 0 {
			t.Errorf("%s: mode %v", path, mode)
		}
		return nil
	})
	if err != nil || files == 0 {
		t.Errorf("%d files, %v", files, err)
	}
}

func historyIn(line string) string {
	_, rest, _ := strings.Cut(line, "history=")
	name, _, _ := strings.Cut(rest, " ")
	return name
}
