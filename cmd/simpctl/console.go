package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"simpd/cmd/internal/cli"
	simpv1 "simpd/proto/simp/v1"
)

const consoleLong = `Console prints a link that signs in to the operators' console, once and within a
minute, with the roles of the certificate or the token that it is called with. A
session ends after 30 minutes without use.

    simpctl console
    simpctl console --node n2
    simpctl console --revoke

With --revoke it ends all sessions of consoles on all nodes instead, and makes
links that were not used void. That needs the role cluster:admin.

A node serves a console if console_listen is set.`

func (a *app) consoleCommand() *cobra.Command {
	var node string
	var revoke bool
	c := &cobra.Command{
		Use: "console", Short: "Print a link to the operators' console", Long: consoleLong, Args: cli.ArgumentCount(0, 0, "no argument"),
		RunE: func(c *cobra.Command, _ []string) error {
			if revoke && node != "" {
				return cli.UsageErrorf("--revoke is for all nodes; leave out --node")
			}
			s, err := a.connect()
			if err != nil {
				return err
			}
			if revoke {
				return a.revokeConsole(c.Context(), s)
			}
			return a.printConsoleLink(c.Context(), s, node)
		},
	}
	c.Flags().StringVar(&node, "node", "", "the `ID` of the node whose console to open (default: the node that answers, or else any)")
	c.Flags().BoolVar(&revoke, "revoke", false, "end all sessions of consoles, on all nodes")
	_ = c.RegisterFlagCompletionFunc("node", a.completeNodes)
	return c
}

// printConsoleLink prints the link on a line of its own, for scripts.
func (a *app) printConsoleLink(ctx context.Context, s *site, node string) error {
	resp, err := unaryCall(ctx, s.cluster.CreateConsoleLink, &simpv1.CreateConsoleLinkRequest{Node: node})
	if err != nil {
		return err
	}
	if a.printsJSON() {
		return a.writeError(a.printJSON(resp))
	}
	_, err = fmt.Fprintf(a.out, "%s\n\nOpen it by %s: it signs in once, at %s.\n", cli.Escape(resp.Link),
		resp.Until.AsTime().Local().Format("15:04:05"), cli.Escape(resp.Node))
	return a.writeError(err)
}

func (a *app) revokeConsole(ctx context.Context, s *site) error {
	resp, err := unaryCall(ctx, s.cluster.RevokeConsole, &simpv1.RevokeConsoleRequest{})
	if err != nil {
		return err
	}
	return a.printSentence(resp, "all sessions of consoles have ended")
}
