// Accounts tries account sources on real sites with TLS: OpenLDAP servers
// (slapd), an Active Directory (Samba), and an OpenID provider (npm's
// oidc-provider). It names what is missing on this machine.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"simpd/cmd/internal/cli"
	"simpd/cmd/testkit/site"
)

// suite is what is tried against one kind of server.
type suite struct {
	name string
	try  func(bin string) error
}

func suites(outage time.Duration) []suite {
	return []suite{
		{"openldap", func(bin string) error { return tryOpenLDAP(bin, outage) }},
		{"samba", tryActiveDirectory},
		{"oidc", tryOIDCProvider},
	}
}

func main() {
	bin := flag.String("bin", "bin", "the folder of simpd, simp and simpctl")
	only := flag.String("only", "", "openldap, samba or oidc; empty: all")
	outage := flag.Duration("outage", 5*time.Minute, "for how long the directory is stopped under load")
	flag.Parse()
	if err := run(*bin, *only, *outage); err != nil {
		fmt.Fprintln(cli.NewEscaper(os.Stderr), "accounts-test:", err)
		os.Exit(1)
	}
}

// run runs all suites, or one, and returns all that has failed.
func run(bin, only string, outage time.Duration) error {
	bin, err := filepath.Abs(bin)
	if err != nil {
		return err
	}
	var all []error
	for _, s := range suites(outage) {
		if only != "" && only != s.name {
			continue
		}
		if err := s.try(bin); err != nil {
			all = append(all, fmt.Errorf("%s: %w", s.name, err))
		}
	}
	return errors.Join(all...)
}

// newTrial prepares a site of nodes with an accounts file, which does not run
// yet. The caller closes it.
func newTrial(bin string, nodes int) (t *trial, file string, err error) {
	dir, err := os.MkdirTemp("", "accounts")
	if err != nil {
		return nil, "", err
	}
	file = filepath.Join(dir, "accounts.yaml")
	s, err := site.New(site.Config{Bin: bin, Dir: dir, Nodes: nodes, Password: password, Flags: []string{"--accounts-file", file}})
	if err != nil {
		_ = s.Close()
		return nil, "", err
	}
	return &trial{Site: s}, file, nil
}

// step is one thing that is tried, in words that are printed.
type step struct {
	name string
	try  func() error
}

// try tries steps one after the other.
func (t *trial) try(steps []step) error {
	for _, s := range steps {
		began := time.Now()
		if err := s.try(); err != nil {
			return fmt.Errorf("%s: %w\n%s", s.name, err, t.Said())
		}
		fmt.Printf("ok   %s (%v)\n", s.name, time.Since(began).Round(time.Second/10))
	}
	return nil
}

// tryOpenLDAP tries users of two OpenLDAP servers on a site of three nodes.
func tryOpenLDAP(bin string, outage time.Duration) error {
	programs, err := findSlapd(programFolders())
	if err != nil {
		return err
	}
	t, file, err := newTrial(bin, 3)
	if err != nil {
		return err
	}
	defer func() { _ = t.Close() }() // removes its folder
	defer t.stopServers()
	if err := t.begin(programs, file); err != nil {
		return err
	}
	return t.try([]step{
		{"users of the directory log in at every node, and nobody else", t.tryLogins},
		{"account source check explains what the servers say", t.tryCheck},
		{"members of a group are contacts of one another on all nodes, and follow it", t.tryGroups},
		{"without the first server, the second one is asked within 3 s", t.tryFailover},
		{"who is removed from the directory is out on all nodes within 60 s", t.tryLeaver},
		{"without a directory nobody's password is wrong, and app passwords work", t.tryOutage},
		{fmt.Sprintf("stopped for %v under load: no password is wrong, and no session ends", outage), func() error { return t.tryLongOutage(outage) }},
	})
}
