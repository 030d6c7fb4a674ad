package main

import (
	"flag"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"simpd/cmd/testkit/site"
)

var crowdPairs = flag.Int("pairs", 3, "how many pairs chat while nodes are restarted")

// startCrowdSite starts three nodes with TLS everywhere at addresses that
// stay the same.
func startCrowdSite(t *testing.T) *site.Site {
	t.Helper()
	s := newCrowdSite(t)
	if err := s.BeginAll(); err != nil {
		t.Fatal(err)
	}
	return s
}

// newCrowdSite is startCrowdSite without the start.
func newCrowdSite(t *testing.T) *site.Site {
	t.Helper()
	program, err := exec.LookPath("simpd")
	if err != nil {
		t.Fatal(err)
	}
	s, err := site.New(site.Config{Bin: filepath.Dir(program), Dir: t.TempDir(), Nodes: 3, Password: testPassword})
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(s.Said())
		}
		_ = s.Close()
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Env = append(s.Env, site.Unlimited)
	return s
}

// TestRollingRestart: the nodes are restarted one after another while pairs
// chat, watchers watch, and simp listens and watches. Nobody notices.
func TestRollingRestart(t *testing.T) {
	s := startCrowdSite(t)
	c := gather(t, s, *crowdPairs, 3)
	t.Setenv("SIMP_PASSWORD", testPassword)
	if err := s.AddUsers(s.Nodes[0], "ear", "eye"); err != nil {
		t.Fatal(err)
	}
	ear := start(t, "simp", append(s.Person(s.Nodes[0], "ear"), "listen")...)
	ear.await(ear.err, "is listening")
	c.work.Go(func() { c.chat(c.chatters[0], c.address("ear")) })
	eye := start(t, "simp", append(s.Person(s.Nodes[1], "eye"), "watch", "ear@"+s.Domain)...)
	eye.await(eye.out, "available")
	for _, n := range s.Nodes {
		c.chatOn()
		restart(t, n)
	}
	c.chatOn()
	c.disperse()
	if said := eye.out.String(); strings.Contains(said, "deaf") || strings.Count(said, "available") != 1 {
		t.Errorf("simp watch saw:\n%s", said)
	}
	if c.moved.Load() < int64(len(c.chatters)) {
		t.Errorf("only %d moves", c.moved.Load())
	}
}

// restart ends a node by SIGTERM, begins it again, and waits until it takes clients.
func restart(t *testing.T, n *site.Node) {
	t.Helper()
	stop(t, n)
	if err := n.Begin(); err != nil {
		t.Fatal(err)
	}
	if err := n.Ready(patience); err != nil {
		t.Fatalf("%v\n%s", err, n.Said())
	}
}

// stop ends a node by SIGTERM.
func stop(t *testing.T, n *site.Node) {
	t.Helper()
	if err := n.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code, err := n.Ended(patience); err != nil || code != 0 {
		t.Fatalf("%s: SIGTERM: exit code %d, %v\n%s", n.ID, code, err, n.Said())
	}
	if said := n.Said(); strings.Contains(said, "not all clients have moved") {
		t.Errorf("%s said goodbye to clients that had not moved:\n%s", n.ID, said)
	}
}
