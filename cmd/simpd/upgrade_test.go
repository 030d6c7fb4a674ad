package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"simpd/cmd/testkit/site"
)

// TestUpgrade: the nodes of a site go over from the newest release to the
// present version one after another, and back again, while pairs chat and
// watchers watch. Nobody notices, and simpctl upgrade check finds each step safe.
func TestUpgrade(t *testing.T) {
	version, commit := newestRelease(t)
	old := buildRelease(t, version, commit)
	s := newCrowdSite(t)
	for _, n := range s.Nodes {
		n.Bin = old
	}
	if err := s.BeginAll(); err != nil {
		t.Fatal(err)
	}
	c := gather(t, s, *crowdPairs, 2)
	c.chatOn()
	for _, to := range []string{"", old} {
		for _, n := range s.Nodes {
			awaitSafe(t, s)
			stop(t, n)
			n.Bin = to
			if err := n.Begin(); err != nil {
				t.Fatal(err)
			}
			if err := n.Ready(patience); err != nil {
				t.Fatalf("%v\n%s", err, n.Said())
			}
			c.chatOn()
		}
	}
	c.disperse()
}

// awaitSafe waits until simpctl says that the next node may be stopped.
func awaitSafe(t *testing.T, s *site.Site) {
	t.Helper()
	eventually(t, "upgrade check finds it safe", func() bool {
		code, said, err := s.Simpctl(s.Nodes[0], "upgrade", "check")
		return err == nil && code == 0 && strings.Contains(said, "safe: the next node is ")
	})
}

// newestRelease reads docs/releases.txt.
func newestRelease(t *testing.T) (version, commit string) {
	t.Helper()
	b, err := os.ReadFile("../../docs/releases.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if words := strings.Fields(line); len(words) == 2 && !strings.HasPrefix(line, "#") {
			version, commit = words[0], words[1]
		}
	}
	if commit == "" {
		t.Fatal("docs/releases.txt lists no release")
	}
	return version, commit
}

// buildRelease builds the programs of a commit, and returns their folder.
func buildRelease(t *testing.T, version, commit string) string {
	t.Helper()
	source, bin := t.TempDir(), t.TempDir()
	if _, err := site.Output(exec.Command("git", "cat-file", "-e", commit+"^{commit}"), site.Longest); err != nil {
		t.Fatalf("the history does not reach back to release %s: a whole clone is needed (git fetch --unshallow)\n%v", version, err)
	}
	unpack := exec.Command("sh", "-c", fmt.Sprintf("git -C \"$(git rev-parse --show-toplevel)\" archive %s | tar -x -C %s", commit, source))
	if _, err := site.Output(unpack, site.Longest); err != nil {
		t.Fatal(err)
	}
	build := exec.Command("go", "build", "-o", filepath.Join(bin, "simpd"), "./cmd/simpd")
	build.Dir = source
	if _, err := site.Output(build, site.LongestBuild); err != nil {
		t.Fatalf("building release %s: %v", version, err)
	}
	return bin
}
