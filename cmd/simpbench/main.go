//go:build linux

// Simpbench measures what simpd costs, as a multiple of what a minimal relay
// costs that does only what has to be done. It starts both itself, each on a
// processor of its own, loads them with clients from another, and reads what
// they used from the kernel's accounts. docs/performance.md tells how to read it.
//
// Each row is a file: what is done to the servers (pairs, oneway, paced …).
// bench.go runs the rows round by round, subject.go and site.go start what is
// measured, result.go, print.go and compare.go keep and show what came out.
// The clients are in package load, the processes in host, the yardstick in relay.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"simpd/cmd/internal/cli"
)

// The exit codes.
const (
	exitFailure = 1
	exitUsage   = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is the whole program but for the process around it.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) (code int) {
	root := newCommand()
	root.SetArgs(args)
	stdout, stderr = cli.NewEscaper(stdout), cli.NewEscaper(stderr)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintf(stderr, "simpbench: %s\n", strings.TrimSpace(err.Error()))
	if _, ok := errors.AsType[cli.Failure](err); ok {
		return exitFailure
	}
	return exitUsage
}

func newCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "simpbench",
		Short: "measure simpd against a minimal relay",
		Long: "Measures simpd against a minimal relay, on this machine, in one run. Every row\n" +
			"starts its own servers on loopback, with fresh directories, and ends them. Times are\n" +
			"processor time from the kernel's accounts; trust the ratios, not the microseconds.",
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return errors.New("a command is missing: simpbench all --short is a first look, simpbench --help tells the rest")
		},
	}
	s := newSettings()
	s.addFlags(root.PersistentFlags())
	root.AddCommand(relayCommand(), allCommand(s), compareCommand())
	for _, c := range rowCommands(s) {
		root.AddCommand(c)
	}
	return root
}
