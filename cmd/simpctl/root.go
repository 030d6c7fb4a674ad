package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"simpd/cmd/internal/cli"
	"simpd/cmd/manual"
)

const rootLong = `simpctl inspects and operates a SIMP site, over gRPC, through any of its nodes.

To a node on this machine that runs with --insecure:

    simpctl --insecure status

To any other, with a certificate that "simpctl tls init" has made, or a token:

    simpctl --addr n1.example.com:7469 --tls-ca ca.crt \
        --tls-cert service-operator.crt --tls-key service-operator.key status
    simpctl --addr n1.example.com:7469 --tls-ca ca.crt --token-file operator.token status

Each of the flags that say how to reach the site may be given as a variable
instead: SIMPCTL_ADDR, SIMPCTL_INSECURE, SIMPCTL_TLS_CA, and so on.

With --output json a result is one object, for scripts: the message of
package simp.v1 that answered, with all of its fields by the names in the
.proto files. As Protocol Buffers have it in JSON, numbers of 64 bits, which are
positions and counts, are strings of digits, times are RFC 3339, and an enum is
the name of its value. Later versions may add fields; none is renamed or goes.

It exits with 0, with 2 if the command can't be understood, and with 1 for any
other failure; one line on standard error says why.`

func (a *app) rootCommand() *cobra.Command {
	root := commandGroup("simpctl", "Inspect and operate a SIMP site", rootLong)
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usageErrorf("%s; see %s --help", cli.FlagError(err), c.CommandPath())
	})
	a.addFlags(root.PersistentFlags())
	root.PersistentPreRunE = func(c *cobra.Command, _ []string) error { return a.resolveSettings(c.Flags()) }
	_ = root.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp))
	root.AddCommand(a.statusCommand(), a.doctorCommand(), a.upgradeCommand(), a.accountCommand(), a.inviteCommand(), a.sessionCommand(), a.nodeCommand(), a.leaderCommand(), a.domainCommand(),
		a.backupCommand(), a.restoreCommand(), a.tlsCommand(), a.tokenCommand(), manual.Command())
	cli.AddVersion(root, func() string { return a.output })
	return root
}

func (a *app) addFlags(f *pflag.FlagSet) {
	f.StringVar(&a.addr, "addr", "127.0.0.1:7469", "the `HOST:PORT` of a node's listener for programs")
	f.BoolVar(&a.insecure, "insecure", false, "connect without TLS, to a node on this machine only")
	f.StringVar(&a.ca, "tls-ca", "", "PEM `FILE` of the site's certificate authority")
	f.StringVar(&a.cert, "tls-cert", "", "PEM `FILE` of this operator's certificate")
	f.StringVar(&a.key, "tls-key", "", "PEM `FILE` of its key")
	f.StringVar(&a.tokenFile, "token-file", "", "`FILE` with a bearer token, instead of a certificate")
	f.StringVar(&a.output, "output", "text", "how results are printed: text or json")
}

// resolveSettings takes from the environment what no flag has said, and checks it all.
func (a *app) resolveSettings(f *pflag.FlagSet) error {
	for _, name := range []string{"addr", "insecure", "tls-ca", "tls-cert", "tls-key", "token-file", "output"} {
		variable := "SIMPCTL_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
		value := a.env(variable)
		if value == "" || f.Changed(name) {
			continue
		}
		if flag := f.Lookup(name); flag.Value.Set(value) != nil {
			return usageErrorf("%s", cli.VariableError(variable, value, flag))
		}
	}
	if a.output != "text" && a.output != "json" {
		return usageErrorf("invalid --output %q: must be text or json", a.output)
	}
	return nil
}

// commandGroup is a command that only has commands below it.
func commandGroup(use, short, long string, below ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Long: long, Args: cobra.ArbitraryArgs}
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return usageErrorf("a command is missing; the commands are %s", strings.Join(subcommandNames(c), ", "))
		}
		c.SuggestionsMinimumDistance = max(1, min(2, len(args[0])/3)) // a short word resembles many
		if like := c.SuggestionsFor(args[0]); len(like) > 0 {
			return usageErrorf("unknown command %[2]q of %[1]s; did you mean %[3]q?", c.CommandPath(), args[0], like[0])
		}
		return usageErrorf("unknown command %[2]q of %[1]s; the commands are %[3]s", c.CommandPath(), args[0], strings.Join(subcommandNames(c), ", "))
	}
	c.AddCommand(below...)
	return c
}

func subcommandNames(c *cobra.Command) (list []string) {
	for _, below := range c.Commands() {
		if below.IsAvailableCommand() {
			list = append(list, below.Name())
		}
	}
	return list
}

// argumentCount checks how many arguments there are, and names what is wanted.
func argumentCount(least, most int, what string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return usageErrorf("%s requires %s", c.CommandPath(), what)
		case len(args) > most:
			return usageErrorf("%s: unexpected argument %q; it takes %s", c.CommandPath(), args[most], what)
		}
		return nil
	}
}

// usageError is a command that can't be understood.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

func usageErrorf(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

// noColor reports whether colours are unwanted (no-color.org).
func (a *app) noColor() bool {
	return a.env("NO_COLOR") != "" || a.env("TERM") == "dumb" || !a.term.isTerminal(a.out)
}
