// Demo shows a site of SIMP at work, with the real programs and TLS
// everywhere, and checks each thing that it tells. It exits 0 only if all of
// it was really so.
//
//	go run ./cmd/testkit/demo -bin bin          one site of three nodes
//	go run ./cmd/testkit/demo -bin bin -sites   two sites, whose users meet
package main

import (
	"flag"
	"fmt"
	"os"
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
	bin := flag.String("bin", "bin", "the folder of the programs")
	two := flag.Bool("sites", false, "show two sites, and how their users meet")
	flag.Parse()
	show := run
	if *two {
		show = runSites
	}
	if err := show(*bin); err != nil {
		fmt.Fprintf(cli.NewEscaper(os.Stderr), "\nThis was not so: %v\n", err)
		os.Exit(1)
	}
}

// chapters are told in this order; each stands on what was before.
func chapters() []chapter {
	return []chapter{
		{"Three nodes become one site", formSite},
		{"Nobody listens", nobodyListens},
		{"Bob listens on one node, Alice sends from another, Carol watches from the third", listenAndWatch},
		{"People chat, in a terminal and in a browser", chat},
		{"A client that stays silent, and one that refuses", silentAndRefusing},
		{"The node that holds Bob is killed", killListener},
		{"The leader is killed too", killLeader},
		{"A node goes in good order", stopInOrder},
	}
}

type chapter struct {
	title string
	tell  func(*story) error
}

// story holds what the chapters of the demo share.
type story struct {
	*site.Site
	bob, carol *site.Program // simp listen and simp watch
	heard      int           // lines of bob's that were looked at
	seen       int           // of carol's
}

func run(bin string) error {
	path, err := filepath.Abs(bin)
	if err != nil {
		return err
	}
	begun := time.Now()
	dir, err := os.MkdirTemp("", "simpd-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	s, err := site.New(site.Config{Bin: path, Dir: dir, Nodes: 3, Domain: domain, Password: password, Web: true})
	if err != nil {
		return err
	}
	defer s.Close()
	st := &story{Site: s}
	for i, c := range chapters() {
		printf("\n%d. %s\n\n", i+1, c.title)
		if err := c.tell(st); err != nil {
			return err
		}
	}
	printf("\nAll of this was so, in %.1f s.\n", time.Since(begun).Seconds())
	return nil
}

// say tells what was just seen to be so.
func say(format string, args ...any) { printf("   "+format+"\n", args...) }

func printf(format string, args ...any) { fmt.Fprintf(cli.NewEscaper(os.Stdout), format, args...) }
