package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"simpd/protocol/transcript"
)

// TestConversations holds the conversations that protocol/server and
// protocol/SIMP.md show, as they stand, with a site of three nodes and TLS
// everywhere: each with each node, and then each connection at another node.
func TestConversations(t *testing.T) {
	h := newHall(t)
	for name, text := range conversations(t) {
		t.Run(name, func(t *testing.T) {
			for i, n := range h.nodes {
				t.Run(n.id, func(t *testing.T) { h.hold(t, text, func(string) int { return i }) })
			}
			t.Run("spread", func(t *testing.T) { h.hold(t, text, spread(len(h.nodes))) })
		})
	}
}

// conversations returns all that fit a server with TLS, by their names.
func conversations(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	files, err := filepath.Glob("../../protocol/server/testdata/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		all[strings.TrimSuffix(filepath.Base(file), ".txt")] = textOf(t, file)
	}
	for i, block := range transcript.Blocks(textOf(t, "../../protocol/SIMP.md")) {
		all[fmt.Sprintf("SIMP.md-%d", i+1)] = block
	}
	if len(all) < 12 {
		t.Fatalf("only %d conversations were found", len(all))
	}
	return all
}

func textOf(t *testing.T, name string) string {
	t.Helper()
	octets, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(octets)
}

// spread gives each new name the next of so many nodes.
func spread(nodes int) func(name string) int {
	where := map[string]int{}
	return func(name string) int {
		if _, ok := where[name]; !ok {
			where[name] = len(where) % nodes
		}
		return where[name]
	}
}

// hall is a site where conversations are held one after the other.
type hall struct {
	nodes     []*testNode
	keys      string
	witnesses []*talk // one at each node
}

func newHall(t *testing.T) *hall {
	t.Helper()
	h := &hall{keys: makeKeys(t, "n1", "n2", "n3")}
	h.nodes = startSite(t, t.TempDir(), h.keys, "n1", "n2", "n3")
	h.nodes[0].addSecureUsers(h.keys, "witness")
	for _, n := range h.nodes {
		eventually(t, "the witness is known at "+n.id, func() bool {
			conn, err := n.dialSecure(h.keys)
			if err != nil {
				return false
			}
			w, err := startTalk(conn, "witness@example.com", testPassword, nil, nil)
			if err != nil {
				return false
			}
			t.Cleanup(w.close)
			h.witnesses = append(h.witnesses, w)
			return true
		})
	}
	return h
}

// hold holds a conversation whose users have never said anything before; where
// tells the node that a connection is made to.
func (h *hall) hold(t *testing.T, text string, where func(name string) int) {
	t.Helper()
	h.renewUsers(t)
	transcript.Stage{
		Dial: func(name string) (net.Conn, error) { return h.nodes[where(name)].dialSecure(h.keys) },
		// A node may lag by the time of one log replication (section 7). It
		// knows what was answered at another once it was asked for what is fresh.
		Turn: func(name string) error {
			_, err := h.witnesses[where(name)].ask("QUERY fresh=yes ima=witness@example.com", nil)
			return err
		},
		Patience: patience,
	}.Play(t, text)
}

// renewUsers makes the accounts of those who speak anew, with nothing of what
// they had.
func (h *hall) renewUsers(t *testing.T) {
	t.Helper()
	var file strings.Builder
	for _, u := range transcript.Users() {
		eventually(t, "there is no "+u, func() bool {
			code, said := runTo(t, "", "simpctl", h.nodes[0].operator(h.keys, "account", "delete", u+"@example.com", "--yes")...)
			return code == 0 || strings.Contains(said, "no account")
		})
		fmt.Fprintf(&file, "%s@example.com,%s\n", u, transcript.Password)
	}
	eventually(t, "the accounts are made", func() bool {
		code, _ := runTo(t, file.String(), "simpctl", h.nodes[0].operator(h.keys, "account", "import", "-")...)
		return code == 0
	})
}
