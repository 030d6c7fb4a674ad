package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// tryOut starts a site for trying out. It returns a function that tells the
// flags of a user at one of its nodes, of which the first is 1.
func tryOut(t *testing.T, nodes int) (at func(node int, user string, args ...string) []string, port int) {
	t.Helper()
	port = freeDevPort(nodes)
	p := start(t, "simpd", "dev", "--nodes", strconv.Itoa(nodes), "--port", strconv.Itoa(port), "--password", testPassword)
	p.await(p.out, "Press Ctrl-C")
	t.Setenv("SIMP_PASSWORD", testPassword)
	return func(node int, user string, args ...string) []string {
		server := net.JoinHostPort("127.0.0.1", strconv.Itoa(port+devStep*(node-1)))
		return append([]string{"--plaintext", "--server", server, "--user", user + "@example.com"}, args...)
	}, port
}

// TestPersonsDay types what a person types, and checks what simp says and how
// it exits.
func TestPersonsDay(t *testing.T) {
	at, _ := tryOut(t, 1)
	newPassword := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(newPassword, []byte("another\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	bob := start(t, "simp", at(1, "bob", "listen", "--state", "busy", "--note", "at work")...)
	bob.await(bob.err, "is listening")
	carol := start(t, "simp", at(1, "carol", "watch", "bob@example.com")...)
	carol.await(carol.out, "busy")
	for _, step := range []struct {
		user string
		args []string
		code int
		said string // a pattern
	}{
		{"alice", []string{"send", "bob@example.com", "hello"}, 0, `^delivered to bob@example\.com\n$`},
		{"alice", []string{"send", "Bob@EXAMPLE.com", "again"}, 0, `^delivered to Bob@example\.com\n$`},
		{"alice", []string{"send", "carol@example.com", "hello"}, 3, `carol@example\.com is not listening \(nothing was kept\)\n$`},
		{"alice", []string{"send", "bob@example.com,carol@example.com,zoe@example.com", "hello"}, 1,
			`^delivered to bob@example\.com\nnot delivered: carol@.*\nnot delivered: there is no user zoe@example\.com\n$`},
		{"alice", []string{"send", "--output", "json", "bob@example.com,carol@example.com", "hello"}, 3,
			`^{"id":"[A-Z0-9]+","status":207,"recipients":\[{"to":"bob@example.com","status":200.*{"to":"carol@example.com","status":480`},
		{"alice", []string{"query", "--fresh", "bob@example.com", "carol@example.com"}, 0, `^bob@example\.com +busy +since \S+ \S+ +at work\ncarol@example\.com +deaf\n$`},
		{"bob", []string{"watchers"}, 0, `^carol@example\.com\n$`},
		{"bob", []string{"contact", "add", "alice@example.com", "Alice", "L."}, 0, `^$`},
		{"bob", []string{"contact"}, 0, `^alice@example\.com  Alice L\.\n$`},
		{"bob", []string{"contact", "remove", "alice@example.com"}, 0, `^$`},
		{"bob", []string{"contact"}, 0, `^$`},
		{"bob", []string{"acl", "set", "alice@example.com", "--message", "deny", "--presence", "deny"}, 0, `^$`},
		{"bob", []string{"acl"}, 0, `^alice@example\.com  message deny  presence deny\n$`},
		{"alice", []string{"send", "bob@example.com", "hello"}, 3, `bob@example\.com is not listening \(nothing was kept\)\n$`},
		{"alice", []string{"query", "bob@example.com"}, 0, `^bob@example\.com  deaf\n$`},
		{"bob", []string{"acl", "remove", "alice@example.com"}, 0, `^$`},
		{"alice", []string{"send", "bob@example.com", "\x1b[2J\u202e"}, 0, `^delivered`},
		{"alice", []string{"passwd", "--new-password-file", newPassword}, 0, `the password of alice@example\.com is changed`},
		{"alice", []string{"query", "bob@example.com"}, 1, `are --user and the password right\?`},
		{"alice", []string{"--password-file", newPassword, "query", "bob@example.com"}, 0, `busy`},
	} {
		code, said := runTo(t, "", "simp", at(1, step.user, step.args...)...)
		if code != step.code || !regexp.MustCompile(step.said).MatchString(said) {
			t.Errorf("%s: simp %q: exit code %d, not %d:\n%s", step.user, step.args, code, step.code, said)
		}
	}
	bob.await(bob.out, `alice@example.com (unsigned): \x1b[2J\u202e`)
	for _, p := range []*process{bob, carol} {
		p.signal(syscall.SIGINT)
		if code := p.exit(); code != 0 {
			t.Errorf("Ctrl-C: exit code %d", code)
		}
	}
}

// TestListenFollowsMove: while the node of a listener and a watcher is drained,
// every message is delivered, each is shown once, and nobody sees a change.
func TestListenFollowsMove(t *testing.T) {
	at, port := tryOut(t, 3)
	bob := start(t, "simp", at(2, "bob", "listen", "--note", "here")...)
	bob.await(bob.err, "is listening")
	carol := start(t, "simp", at(2, "carol", "watch", "bob@example.com")...)
	carol.await(carol.out, "available")

	drained := start(t, "simpctl", "--insecure", "--addr", net.JoinHostPort("127.0.0.1", strconv.Itoa(port+devGRPC)), "node", "drain", "n2")
	sent := 0
	for moved := false; !moved || sent < 10; sent++ {
		code, said := runTo(t, "", "simp", at(1, "alice", "send", "bob@example.com", fmt.Sprintf("number %d.", sent))...)
		if code != 0 {
			t.Errorf("message %d: exit code %d: %s", sent, code, said)
		}
		_, _, waiting := bob.err.find("moved to", 0)
		moved = waiting == nil
	}
	if code := drained.exit(); code != 0 {
		t.Errorf("simpctl node drain: exit code %d", code)
	}
	carol.await(carol.err, "moved to")
	bob.await(bob.out, fmt.Sprintf("number %d.", sent-1))
	for i := range sent {
		if n := strings.Count(bob.out.String(), fmt.Sprintf(": number %d.", i)); n != 1 {
			t.Errorf("message %d was shown %d times", i, n)
		}
	}
	bob.signal(syscall.SIGINT)
	carol.await(carol.out, "deaf")
	if seen := strings.Count(carol.out.String(), "bob@example.com"); seen != 2 {
		t.Errorf("the watcher saw more than available and, in the end, deaf:\n%s", carol.out)
	}
}
