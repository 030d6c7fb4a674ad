package main

import (
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
	root := cli.RootCommand("simpctl", "Inspect and operate a SIMP site", rootLong)
	a.addFlags(root.PersistentFlags())
	root.PersistentPreRunE = func(c *cobra.Command, _ []string) error { return a.resolveSettings(c.Flags()) }
	_ = root.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp))
	root.AddCommand(a.statusCommand(), a.doctorCommand(), a.upgradeCommand(), a.accountCommand(), a.inviteCommand(), a.blockCommand(), a.reportCommand(), a.sessionCommand(), a.nodeCommand(), a.leaderCommand(), a.domainCommand(),
		a.consoleCommand(), a.backupCommand(), a.restoreCommand(), a.tlsCommand(), a.tokenCommand(), manual.Command())
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
	if err := cli.SetFromEnvironment(f, "SIMPCTL_", a.env, "addr", "insecure", "tls-ca", "tls-cert", "tls-key", "token-file", "output"); err != nil {
		return err
	}
	if a.output != "text" && a.output != "json" {
		return cli.UsageErrorf("invalid --output %q: must be text or json", a.output)
	}
	return nil
}

// noColor reports whether colours are unwanted (no-color.org).
func (a *app) noColor() bool {
	return a.env("NO_COLOR") != "" || a.env("TERM") == "dumb" || !a.term.isTerminal(a.out)
}
