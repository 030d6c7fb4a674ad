package main

import (
	"fmt"

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
	root := cli.RootCommand("simp", "Send instant messages, and see who listens", rootLong)
	a.addFlags(root.PersistentFlags())
	root.PersistentPreRunE = func(c *cobra.Command, _ []string) error { return a.resolveSettings(c) }
	_ = root.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp))
	root.AddCommand(a.chatCommand(), a.sendCommand(), a.listenCommand(), a.watchCommand(), a.queryCommand(), a.watchersCommand(),
		a.contactCommand(), a.aclCommand(), a.passwdCommand(), a.appCommand(), a.joinCommand(), a.loginCommand(), a.logoutCommand(), a.keyCommand(), manual.Command())
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

// exitError is an exit code for which all has been said already.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit code %d", int(e)) }
