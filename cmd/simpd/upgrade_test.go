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
// watchers watch. Nobody notices, simpctl upgrade check finds each step safe, and
// keys, which the old release does not know, are refused.
func TestUpgrade(t *testing.T) {
	version, commit := newestRelease(t)
	old := buildRelease(t, version, commit)
	s := newCrowdSite(t)
	makeKeysBy(t, s, old)
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
			if to == "" && n == s.Nodes[0] {
				refuseKeys(t, s, n, "the site is being upgraded; keys can be added once all nodes are upgraded")
			}
			c.chatOn()
		}
	}
	c.disperse()
}

// makeKeysBy makes a site's keys anew by another release's simpctl, so that the
// operator's certificate has no role that its nodes do not know.
func makeKeysBy(t *testing.T, s *site.Site, bin string) {
	t.Helper()
	if err := os.RemoveAll(s.Key("")); err != nil {
		t.Fatal(err)
	}
	args := []string{"tls", "init", "--dir", s.Key(""), "--site", s.Domain}
	for _, n := range s.Nodes {
		args = append(args, "--node", n.ID)
	}
	succeed(t, "", filepath.Join(bin, "simpctl"), args...)
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
	build := exec.Command("go", "build", "-o", bin, "./cmd/simpd", "./cmd/simpctl")
	build.Dir = source
	if _, err := site.Output(build, site.LongestBuild); err != nil {
		t.Fatalf("building release %s: %v", version, err)
	}
	return bin
}
