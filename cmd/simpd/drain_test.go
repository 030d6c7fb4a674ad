package main

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"simpd/cmd/testkit/site"
)

// TestDrainAndUndo: what simpctl says is done is done: a drained node is
// draining for all the site, and one that takes clients again is ready.
func TestDrainAndUndo(t *testing.T) {
	s := startCrowdSite(t)
	c := gather(t, s, 2, 1)
	for range 3 {
		operate(t, s, "n2 is drained; it may be stopped", "node", "drain", "n2")
		for _, n := range s.Nodes {
			if code, said, err := s.Simpctl(n, "status"); err != nil || code != 0 || !strings.Contains(said, "draining") {
				t.Errorf("status at %s: %d %v\n%s", n.ID, code, err, said)
			}
		}
		if status, said := readyz(t, s.Nodes[1]); status != http.StatusServiceUnavailable || !strings.Contains(said, "draining") {
			t.Errorf("/readyz: %d %s", status, said)
		}
		if code, said, err := s.Run("", "simp", append(s.Person(s.Nodes[1], "chat0"), "query", "chat1@"+s.Domain)...); err != nil || code != 1 || !strings.Contains(said, "draining") {
			t.Errorf("a new client is not sent elsewhere: %d %v %s", code, err, said)
		}
		c.chatOn()
		operate(t, s, "n2 takes clients again", "node", "drain", "n2", "--undo")
		if status, said := readyz(t, s.Nodes[1]); status != http.StatusOK {
			t.Errorf("/readyz: %d %s", status, said)
		}
	}
	c.disperse()
}

func operate(t *testing.T, s *site.Site, want string, args ...string) {
	t.Helper()
	code, said, err := s.Simpctl(s.Nodes[0], args...)
	if err != nil || code != 0 || !strings.Contains(said, want) {
		t.Fatalf("simpctl %q: exit code %d, %v: %s", args, code, err, said)
	}
}

// readyz asks a node whether it takes clients.
func readyz(t *testing.T, n *site.Node) (status int, said string) {
	t.Helper()
	c := http.Client{Timeout: patience}
	answer, err := c.Get("http://" + n.HTTP + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(b)
}
