// Examples builds the examples in docs/examples that are not in Go, checks their
// types, and runs them against a real site of three nodes with TLS. It needs
// what their languages need, and names what is missing.
package main

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"simpd/cmd/internal/cli"
	"simpd/cmd/testkit/site"
)

func main() {
	bin := flag.String("bin", "bin", "the folder of simpd, simp and simpctl")
	root := flag.String("root", ".", "the folder of the repository")
	flag.Parse()
	if err := run(*bin, *root); err != nil {
		fmt.Fprintln(cli.NewEscaper(os.Stderr), "examples-test:", err)
		os.Exit(1)
	}
}

func run(bin, root string) error {
	languages, err := findLanguages()
	if err != nil {
		return err
	}
	if bin, err = filepath.Abs(bin); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "examples")
	if err != nil {
		return err
	}
	s, err := site.New(site.Config{Bin: bin, Dir: dir, Nodes: 3, Password: "secret", Flags: []string{"--token-file", filepath.Join(dir, "tokens")}})
	defer func() { _ = s.Close() }() // removes dir
	if err != nil {
		return err
	}
	t := &trial{Site: s}
	if err := t.begin(); err != nil {
		return err
	}
	for _, l := range languages {
		if err := l.build(root, dir); err != nil {
			return fmt.Errorf("%s: %w", l.name, err)
		}
		fmt.Printf("%s: generated, and its types are right\n", l.name)
		if err := t.try(l); err != nil {
			return fmt.Errorf("%s: %w\n%s", l.name, err, s.Said())
		}
		fmt.Printf("%s: presence is watched on at another node, and a message in doubt is repeated and shown once\n", l.name)
	}
	return nil
}

// trial is a site on which examples are tried.
type trial struct {
	*site.Site
	first *proxy // in front of the first node
}

// begin starts the nodes, and makes users and tokens.
func (t *trial) begin() error {
	lines := ""
	for name, grants := range map[string]string{"desk": "role=presence:read", "pager": "role=message:send as=pager@example.com"} {
		token := rand.Text() + rand.Text()
		lines += fmt.Sprintf("%s sha256:%x %s\n", name, sha256.Sum256([]byte(token)), grants)
		if err := os.WriteFile(t.token(name), []byte(token+"\n"), 0o600); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(t.Dir, "tokens"), []byte(lines), 0o600); err != nil {
		return err
	}
	if err := t.BeginAll(); err != nil {
		return err
	}
	return t.AddUsers(t.Nodes[0], "pager", "bob")
}

// token names the file of a program's token.
func (t *trial) token(name string) string { return filepath.Join(t.Dir, "token-"+name) }

// try runs the examples of a language.
func (t *trial) try(l *language) (err error) {
	if t.first, err = newProxy(t.Nodes[0].GRPC); err != nil {
		return err
	}
	defer t.first.close()
	return errors.Join(t.tryRefusal(l), t.tryWatchAndSend(l))
}

// program returns the command line of an example, with the flags of the site.
func (t *trial) program(l *language, example, token string) []string {
	return append(l.command(t.Dir, example), "--nodes", t.first.address()+","+t.Nodes[1].GRPC, "--ca", t.Key("ca.crt"), "--token-file", t.token(token))
}

// tryRefusal has an example send as somebody whom it may not send as.
func (t *trial) tryRefusal(l *language) error {
	line := append(t.program(l, "send", "pager"), "--sender", "bob@example.com", "--to", "bob@example.com", "hello")
	code, said, err := t.Run("", line[0], line[1:]...)
	if err != nil {
		return err
	}
	if code != 1 || !strings.Contains(said, "PERMISSION_DENIED") || strings.Contains(said, "again") {
		return fmt.Errorf("a refused message: exit code %d, and it says %q", code, said)
	}
	return nil
}
