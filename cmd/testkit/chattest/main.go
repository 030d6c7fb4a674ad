// Chattest has people chat in real terminals: it starts a site of three nodes
// and simp chat in tmux, types, pastes, resizes, sends hostile texts and kills a
// node, and checks what is on the screens and in the history files. It exits 0
// only if all of it is as it should be.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"simpd/cmd/internal/cli"
	"simpd/cmd/testkit/site"
)

const (
	domain   = "example.com"
	password = "correct horse battery staple"
)

func main() {
	bin := flag.String("bin", "bin", "the folder of simpd, simp and simpctl")
	flag.Parse()
	if err := run(*bin); err != nil {
		fmt.Fprintln(cli.NewEscaper(os.Stderr), "chat-test:", err)
		os.Exit(1)
	}
	fmt.Println("people have chatted in terminals, and all of it was as it should be")
}

// test is a site, and the terminals of its users.
type test struct {
	*site.Site
	tmux tmux
}

// checks are done in this order; each stands on what was before.
func checks() []check {
	return []check{
		{"two terminals converse", (*test).converse},
		{"terminals are resized", (*test).resize},
		{"a paste of 50 lines is one message", (*test).paste},
		{"a hostile sender changes nothing", (*test).hostile},
		{"line mode, NO_COLOR and a locale without UTF-8", (*test).modes},
		{"a node is killed under a chat", (*test).killNode},
		{"Ctrl-C, twice", (*test).quit},
		{"start and memory", (*test).measure},
	}
}

type check struct {
	name string
	do   func(*test) error
}

func run(bin string) error {
	if _, err := exec.LookPath("tmux"); err != nil {
		return errors.New("it needs a program that is missing here: tmux")
	}
	path, err := filepath.Abs(bin)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "simpd-chat-test-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	s, err := site.New(site.Config{Bin: path, Dir: dir, Nodes: 3, Domain: domain, Password: password, Flags: []string{"--limit", "messages=off"}})
	if err != nil {
		return err
	}
	defer s.Close()
	if err := s.BeginAll(); err != nil {
		return err
	}
	if err := s.AddUsers(s.Nodes[0], "alice", "bob", "carol", "mallory"); err != nil {
		return err
	}
	t := &test{Site: s, tmux: tmux{socket: filepath.Join(dir, "tmux")}}
	defer t.tmux.end()
	for _, c := range checks() {
		begun := time.Now()
		if err := c.do(t); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		fmt.Printf("ok  %-50s %.1f s\n", c.name, time.Since(begun).Seconds())
	}
	return nil
}

// history names the history file of a user's chat.
func (t *test) history(user string) string { return filepath.Join(t.Dir, user+".history") }

// openChat starts simp chat in a terminal of that size, which has the user's
// name.
func (t *test) openChat(n *site.Node, user string, width, height int, variables []string, args ...string) error {
	words := append([]string{"env"}, t.Env...)
	words = append(append(words, variables...), filepath.Join(t.Programs.Bin, "simp"))
	words = append(append(words, t.Person(n, user)...), "chat", "--history-file", t.history(user))
	return t.tmux.open(user, width, height, append(words, args...))
}
