// Simpd is the server of SIMP: a node of a site that takes messages from its
// users to whoever listens, and tells the truth about each.
//
// This package reads what it is told (options, load, validate), puts the
// site's packages together (node.go, the only place where they all meet), and
// starts and stops them. It decides nothing about messages.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"simpd/cluster/storage"
	"simpd/cmd/internal/cli"
	"simpd/cmd/manual"
)

// The exit statuses that service managers and scripts rely on. A Go program that
// crashes exits with 2, so none of these is 2: a crash is worth a new start, the
// last two are not (sysexits.h).
const (
	exitFailure = 1
	exitUsage   = 64 // EX_USAGE: the command line is wrong
	exitConfig  = 78 // EX_CONFIG: the configuration, or a file that it names, is wrong
)

func main() {
	keepPrivate()
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run is the whole program but for the process around it.
func run(args []string, stdout, stderr io.Writer) (code int) {
	root := newCommand()
	root.SetArgs(args)
	stdout, stderr = cli.NewEscaper(stdout), cli.NewEscaper(stderr)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.Execute()
	if err == nil {
		return 0
	}
	if text := err.Error(); text != "" {
		fmt.Fprintf(stderr, "simpd: %s\n", strings.Join(strings.Fields(text), " "))
	}
	return exitStatus(err)
}

// exitStatus returns what the process exits with after an error.
func exitStatus(err error) int {
	if wrong, ok := errors.AsType[problems](err); ok {
		return wrong.exitStatus()
	}
	if _, ok := errors.AsType[misconfiguration](err); ok {
		return exitConfig
	}
	if _, ok := errors.AsType[storage.DataError](err); ok {
		return exitConfig
	}
	if _, ok := errors.AsType[cli.Failure](err); ok {
		return exitFailure
	}
	return exitUsage
}

// misconfiguration is an error of a file that the configuration names.
type misconfiguration struct{ error }

func (m misconfiguration) Unwrap() error { return m.error }

// misconfigured marks err, if it is one, as a misconfiguration; but as a failure
// if the machine lacked what reading a file takes: then a new start may help.
func misconfigured(err error) error {
	switch {
	case err == nil:
		return nil
	case storage.IsShortage(err):
		return cli.Failed(err)
	}
	return misconfiguration{err}
}

func newCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "simpd",
		Short:         "the server of SIMP, the simple instant messaging and presence protocol",
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return errors.New("a command is missing: use simpd dev to try out a site, or simpd --help to see all commands")
		},
	}
	root.CompletionOptions.DisableDefaultCmd = false
	root.SetFlagErrorFunc(explainFlag)
	root.AddCommand(serveCommand(), devCommand(), checkConfigCommand(), wipeCommand(), compactCommand(), recoverCommand(), manual.Command())
	cli.AddVersion(root, nil)
	return root
}

// explainFlag adds to a flag error what was probably meant.
func explainFlag(c *cobra.Command, err error) error {
	written, unknown := strings.CutPrefix(err.Error(), "unknown flag: --")
	if !unknown {
		return err
	}
	var names []string
	c.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	return fmt.Errorf("unknown flag --%s%s", written, didYouMean(written, names))
}
