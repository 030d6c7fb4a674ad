package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// printBanner says what there is now, and what to type next.
func (s *devSite) printBanner(w io.Writer, took time.Duration) {
	o := s.options
	kept := "keeps nothing"
	if o.dataDir != "" {
		kept = "keeps its data in " + o.dataDir
	}
	fmt.Fprintf(w, "A site of %s is ready after %.1f s. It is for trying out: loopback only, no TLS; it %s.\n\n", pluralize(o.nodes, "node"), took.Seconds(), kept)
	fmt.Fprintf(w, "  node  SIMP             gRPC             health and metrics      WebSocket\n")
	for _, n := range s.nodes {
		c := n.conf
		fmt.Fprintf(w, "  %-5s %-16s %-16s http://%-16s ws://%s/simp\n", c.nodeID, c.simp, c.grpc, c.http, c.ws)
	}
	fmt.Fprintf(w, "\n  users     %s\n  password  %s\n\n", strings.Join(devUsers(), " "), o.password)
	fmt.Fprintf(w, "In a browser, with another page or a private window for each further user:\n\n")
	for _, n := range s.nodes {
		fmt.Fprintf(w, "  http://%s/\n", n.conf.ws)
	}
	fmt.Fprintln(w)
	s.printCommands(w)
	fmt.Fprintf(w, "\nPress Ctrl-C to end it.\n")
}

// printCommands prints commands that work as they stand, each on another node.
func (s *devSite) printCommands(w io.Writer) {
	first, second, third := s.nodes[0].conf, s.nodes[1%len(s.nodes)].conf, s.nodes[2%len(s.nodes)].conf
	users := devUsers()
	simp := func(c *config, user string) string {
		return fmt.Sprintf("%s --plaintext --server %s --user %s", siblingCommand("simp"), c.simp, user)
	}
	fmt.Fprintf(w, "Or in two other terminals, which chat with each other and with the browser:\n\n")
	fmt.Fprintf(w, "  export SIMP_PASSWORD=%s        # in each\n", s.options.password)
	fmt.Fprintf(w, "  %s chat %s\n", simp(second, users[1]), users[0])
	fmt.Fprintf(w, "  %s chat %s\n\n", simp(first, users[0]), users[1])
	fmt.Fprintf(w, "For scripts there are:\n\n")
	fmt.Fprintf(w, "  %s listen\n", simp(second, users[1]))
	fmt.Fprintf(w, "  %s watch %s\n", simp(third, users[2]), users[1])
	fmt.Fprintf(w, "  %s send %s \"hello\"\n\n", simp(first, users[0]), users[1])
	fmt.Fprintf(w, "The whole site at a glance:\n\n")
	fmt.Fprintf(w, "  %s --insecure --addr %s status\n\n", siblingCommand("simpctl"), first.grpc)
	fmt.Fprintf(w, "A link to the operators' console, in the browser:\n\n")
	fmt.Fprintf(w, "  %s --insecure --addr %s console\n", siblingCommand("simpctl"), first.grpc)
}

// siblingCommand returns the command that runs a program in this one's directory.
func siblingCommand(name string) string {
	self, err := os.Executable()
	if err != nil {
		return name
	}
	path := filepath.Join(filepath.Dir(self), name)
	if _, err := os.Stat(path); err != nil {
		return name
	}
	if here, err := os.Getwd(); err == nil {
		if short, err := filepath.Rel(here, path); err == nil && !strings.HasPrefix(short, "..") {
			return short
		}
	}
	return path
}

func pluralize(n int, thing string) string {
	if n == 1 {
		return fmt.Sprintf("1 %s", thing)
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
