package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"simpd/cmd/internal/cli"
	simpv1 "simpd/proto/simp/v1"
)

// checkTimeout lets several servers of the other site be silent.
const checkTimeout = 90 * time.Second

func (a *app) domainCommand() *cobra.Command {
	var own string
	check := &cobra.Command{
		Use: "check DOMAIN", Short: "Explain whether another domain's site can be reached", Args: cli.ArgumentCount(1, 1, "the other site's domain"),
		Long: "Check tries to reach another domain's site from the node that it asks, step by step: this site's policy, DNS or a route, " +
			"addresses, TLS and its certificate, and whether that site takes this one for what it is. Where a step fails it says what " +
			"to do. It exits with 1 if no connection comes about.",
		RunE: func(c *cobra.Command, args []string) error {
			s, err := a.connect()
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(c.Context(), checkTimeout)
			defer cancel()
			resp, err := s.cluster.CheckDomain(ctx, &simpv1.CheckDomainRequest{Domain: args[0], Own: own})
			if err != nil {
				return err
			}
			return a.explainDomain(args[0], resp)
		},
	}
	check.Flags().StringVar(&own, "own", "", "the domain of this site's own to try it for (default: the first)")
	return cli.CommandGroup("domain", "Look into what keeps another site from being reached", "", check)
}

// explainDomain prints the steps, and what to do.
func (a *app) explainDomain(domain string, resp *simpv1.CheckDomainResponse) error {
	if a.printsJSON() {
		if err := a.printSentence(resp, ""); err != nil {
			return err
		}
	} else {
		for _, c := range resp.Check {
			printCheck(a, c)
		}
	}
	if !resp.Reached {
		return fmt.Errorf("%s can't be reached", domain)
	}
	return nil
}

func printCheck(a *app, c *simpv1.DomainCheck) {
	mark := "ok  "
	if !c.Ok {
		mark = "FAIL"
	}
	fmt.Fprintf(a.out, "%s  %-10s  %s\n", mark, cli.Escape(c.Step), cli.Escape(c.Text))
	if c.Advice != "" {
		fmt.Fprintf(a.out, "      %-10s  → %s\n", "", cli.Escape(c.Advice))
	}
}
