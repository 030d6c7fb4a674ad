package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"simpd/cmd/testkit/site"
)

// sameKeys makes a second site with the names and the keys of s, whose nodes
// join those of s as well as one another.
func sameKeys(t *testing.T, s *site.Site) *site.Site {
	t.Helper()
	second := newCrowdSite(t)
	if err := os.RemoveAll(second.Key("")); err != nil {
		t.Fatal(err)
	}
	copyFolder(t, s.Key(""), second.Key(""))
	for _, n := range s.Nodes {
		second.Flags = append(second.Flags, "--join", n.Gossip)
	}
	return second
}

func copyFolder(t *testing.T, from, to string) {
	t.Helper()
	if _, err := site.Output(exec.Command("cp", "-a", from, to), patience); err != nil {
		t.Fatal(err)
	}
}

// TestCopiesOfNodes: processes that run on copies of a site's data, one or all,
// end and say why, and nobody notices them.
func TestCopiesOfNodes(t *testing.T) {
	s := startCrowdSite(t)
	c := gather(t, s, *crowdPairs, 3)
	c.chatOn()
	for _, copies := range [][]int{{1}, {0}, {0, 1, 2}} {
		second := sameKeys(t, s)
		for _, i := range copies {
			copyFolder(t, s.Nodes[i].Dir, second.Nodes[i].Dir)
			if err := second.Nodes[i].Begin(); err != nil {
				t.Fatal(err)
			}
		}
		for _, i := range copies {
			n := second.Nodes[i]
			if code, err := n.Ended(patience); err != nil || code != 1 || !strings.Contains(n.Said(), "this data directory is a copy of that one's") {
				t.Errorf("a copy of %s: exit code %d, %v\n%s", n.ID, code, err, n.Said())
			}
		}
		c.chatOn()
	}
	c.disperse()
	for _, n := range s.Nodes {
		if said := n.Said(); strings.Count(said, `msg="this node is up"`) != 1 {
			t.Errorf("%s had to come up anew:\n%s", n.ID, said)
		}
	}
}

// TestASecondSiteOfTheSameName: a second site with the names and the keys of the
// first one, whose nodes join it by mistake, stops no node of it, also while they
// are restarted; and none of its own is stopped.
func TestASecondSiteOfTheSameName(t *testing.T) {
	s := startCrowdSite(t)
	second := sameKeys(t, s)
	joins := second.Flags
	second.Flags = nil
	if err := second.BeginAll(); err != nil {
		t.Fatal(err)
	}
	c := gather(t, s, *crowdPairs, 3)
	second.Flags = joins
	for i, n := range second.Nodes {
		restart(t, n)
		c.chatOn()
		restart(t, s.Nodes[i])
	}
	c.chatOn()
	c.disperse()
	for _, n := range append(s.Nodes, second.Nodes...) {
		if err := n.Ready(patience); err != nil {
			t.Errorf("%v\n%s", err, n.Said())
		}
	}
}
