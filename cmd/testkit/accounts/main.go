// Accounts tries account sources against a real directory: a site of three
// nodes with TLS, and two OpenLDAP servers (slapd). It names what is missing on
// this machine.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"simpd/cmd/internal/cli"
	"simpd/cmd/testkit/site"
)

func main() {
	bin := flag.String("bin", "bin", "the folder of simpd, simp and simpctl")
	flag.Parse()
	if err := run(*bin); err != nil {
		fmt.Fprintln(cli.NewEscaper(os.Stderr), "accounts-test:", err)
		os.Exit(1)
	}
}

func run(bin string) error {
	programs, err := findSlapd(programFolders())
	if err != nil {
		return err
	}
	if bin, err = filepath.Abs(bin); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "accounts")
	if err != nil {
		return err
	}
	file := filepath.Join(dir, "accounts.yaml")
	s, err := site.New(site.Config{Bin: bin, Dir: dir, Nodes: 3, Password: password, Flags: []string{"--accounts-file", file}})
	defer func() { _ = s.Close() }() // removes dir
	if err != nil {
		return err
	}
	t := &trial{Site: s}
	defer t.stopServers()
	if err := t.begin(programs, file); err != nil {
		return err
	}
	for _, step := range []struct {
		name string
		try  func() error
	}{
		{"users of the directory log in at every node, and nobody else", t.tryLogins},
		{"account source check explains what the servers say", t.tryCheck},
		{"without the first server, the second one is asked", t.tryFailover},
		{"who is removed from the directory is out on all nodes within 60 s", t.tryLeaver},
		{"without a directory nobody's password is wrong, and app passwords work", t.tryOutage},
	} {
		if err := step.try(); err != nil {
			return fmt.Errorf("%s: %w\n%s", step.name, err, t.Said())
		}
		fmt.Println("ok  ", step.name)
	}
	return nil
}
