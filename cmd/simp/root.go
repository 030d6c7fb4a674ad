package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"simpd/cmd/internal/cli"
	"simpd/cmd/manual"
)

const rootLong = `simp sends instant messages and shows who listens, from a terminal or a script.

    simp --user alice@example.com chat bob@example.com
    simp --user alice@example.com send bob@example.com "Lunch?"
    simp --user bob@example.com listen
    simp --user carol@example.com watch bob@example.com

The server is found by the domain of your address (--user), unless --server
names it. The connection is encrypted, and the server's certificate has to be
valid for that domain; --tls-ca names an authority to trust in addition to the
system's. --plaintext connects without TLS, to this machine only.

The password is asked for, or taken from --password-file or SIMP_PASSWORD.
Each of --config, --server, --dns, --user, --tls-ca, --tls, --plaintext,
--password-file and --output may be given as a variable instead: SIMP_SERVER,
SIMP_USER, and so on. All but --config may stand in the configuration file, as
lines like server: chat.example.com:7468 (tls_ca, password_file). A flag comes
before a variable, and a variable before the file. simp chat makes the file when
it is started for the first time.

simp exits with 0 after success, with 2 if the command line is wrong, and with 1
after other failures; send and chat have exit statuses of their own.`

func (a *app) rootCommand() *cobra.Command {
	root := commandGroup("simp", "Send instant messages, and see who listens", rootLong)
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usageErrorf("%s; see %s --help", cli.FlagError(err), c.CommandPath())
	})
	a.addFlags(root.PersistentFlags())
	root.PersistentPreRunE = func(c *cobra.Command, _ []string) error { return a.resolveSettings(c) }
	_ = root.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp))
	root.AddCommand(a.chatCommand(), a.sendCommand(), a.listenCommand(), a.watchCommand(), a.queryCommand(), a.watchersCommand(),
		a.contactCommand(), a.aclCommand(), a.passwdCommand(), a.appCommand(), a.joinCommand(), a.keyCommand(), manual.Command())
	cli.AddVersion(root, func() string { return a.output })
	return root
}

func (a *app) addFlags(f *pflag.FlagSet) {
	f.StringVar(&a.configFile, "config", "", "`FILE` with settings, instead of simp/config.yaml in ~/.config or $XDG_CONFIG_HOME")
	f.StringVar(&a.user, "user", "", "your `ADDRESS`, such as alice@example.com")
	f.StringVar(&a.server, "server", "", "the `HOST:PORT` of the server, if it can't be found from your address")
	f.StringVar(&a.dns, "dns", "", "the `HOST:PORT` of a resolver to find the server by, which may be on this machine or network")
	f.StringVar(&a.tlsCA, "tls-ca", "", "PEM `FILE` of certificates to trust in addition to the system's")
	f.BoolVar(&a.tls, "tls", false, "use TLS from the first octet, as on port 7468, instead of STARTTLS")
	f.BoolVar(&a.plaintext, "plaintext", false, "connect without TLS, to a server on this machine only")
	f.StringVar(&a.passwordFile, "password-file", "", "`FILE` whose first line is the password")
	f.StringVar(&a.output, "output", "text", "how results are printed: text or json")
}

// commandGroup is a command that has commands below it.
func commandGroup(use, short, long string, below ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Long: long, Args: cobra.ArbitraryArgs}
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return usageErrorf("a command is missing; the commands are %s", strings.Join(subcommandNames(c), ", "))
		}
		return unknownBelow(c, args[0])
	}
	c.AddCommand(below...)
	return c
}

func unknownBelow(c *cobra.Command, name string) error {
	c.SuggestionsMinimumDistance = max(1, min(2, len(name)/3)) // a short word resembles many
	if like := c.SuggestionsFor(name); len(like) > 0 {
		return usageErrorf("unknown command %[2]q of %[1]s; did you mean %[3]q?", c.CommandPath(), name, like[0])
	}
	return usageErrorf("unknown command %[2]q of %[1]s; the commands are %[3]s", c.CommandPath(), name, strings.Join(subcommandNames(c), ", "))
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
		case most >= 0 && len(args) > most:
			return usageErrorf("%s: unexpected argument %q; it takes %s", c.CommandPath(), args[most], what)
		}
		return nil
	}
}

// usageError is a command that can't be understood.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

func usageErrorf(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

// exitError is an exit code for which all has been said already.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit code %d", int(e)) }
