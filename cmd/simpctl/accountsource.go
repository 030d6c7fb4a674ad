package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"simpd/cmd/internal/cli"
	simpv1 "simpd/proto/simp/v1"
)

func (a *app) accountSource() *cobra.Command {
	return cli.CommandGroup("source", "Look into where accounts come from", "",
		&cobra.Command{
			Use: "check IMA", Short: "Explain what each account source says of a user", Args: cli.ArgumentCount(1, 1, "one address"),
			Long: "Check asks the account sources of the user's domain, such as directories, from the node that it asks, and explains " +
				"each step: whether each server answers, which entry is the user's, and whether it may log in. It logs nobody in. " +
				"It exits with 1 if the user can't log in.",
			RunE: func(c *cobra.Command, args []string) error { return a.checkSources(c.Context(), args[0]) },
		})
}

func (a *app) checkSources(ctx context.Context, ima string) error {
	if _, err := parseUser(ima); err != nil {
		return err
	}
	s, err := a.connect()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	resp, err := s.accounts.CheckSources(ctx, &simpv1.CheckSourcesRequest{Ima: ima})
	if err != nil {
		return err
	}
	if a.printsJSON() {
		if err := a.printSentence(resp, ""); err != nil {
			return err
		}
	} else {
		for _, c := range resp.Source {
			printSource(a, c)
		}
	}
	if !resp.Accepted {
		return fmt.Errorf("%s", resp.Summary)
	}
	if !a.printsJSON() {
		fmt.Fprintln(a.out, cli.Escape(resp.Summary))
	}
	return nil
}

// printSource prints the steps of one source.
func printSource(a *app, c *simpv1.SourceCheck) {
	for _, step := range c.Step {
		mark := "ok  "
		if !step.Ok {
			mark = "FAIL"
		}
		fmt.Fprintf(a.out, "%s  %-10s  %s\n", mark, cli.Escape(c.Name), cli.Escape(step.Text))
	}
}
