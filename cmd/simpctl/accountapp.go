package main

import (
	"context"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/timestamppb"

	"simpd/cmd/internal/cli"
	simpv1 "simpd/proto/simp/v1"
)

func (a *app) accountApp() *cobra.Command {
	return cli.CommandGroup("app", "Show and remove users' app passwords",
		"App shows and removes app passwords, the additional passwords that users have for their devices and programs. "+
			"Only users themselves can add them.",
		&cobra.Command{
			Use: "list IMA", Short: "List a user's app passwords", Args: cli.ArgumentCount(1, 1, "one address"),
			RunE: func(c *cobra.Command, args []string) error { return a.listAppPasswords(c.Context(), args[0]) },
		},
		&cobra.Command{
			Use: "remove IMA ID", Short: "Remove an app password, and close its connections", Args: cli.ArgumentCount(2, 2, "an address, and the id that account app list shows"),
			RunE: func(c *cobra.Command, args []string) error {
				return a.removeAppPassword(c.Context(), args[0], args[1])
			},
		})
}

func (a *app) listAppPasswords(ctx context.Context, ima string) error {
	if _, err := parseUser(ima); err != nil {
		return err
	}
	s, err := a.connect()
	if err != nil {
		return err
	}
	resp, err := unaryCall(ctx, s.accounts.ListAppPasswords, &simpv1.ListAppPasswordsRequest{Ima: ima})
	if err != nil {
		return err
	}
	if a.printsJSON() {
		return a.printJSON(resp)
	}
	t := &table{head: []string{"ID", "NAME", "MADE", "USED", "UNTIL"}}
	for _, p := range resp.AppPassword {
		t.rows = append(t.rows, plainCells(strconv.FormatUint(p.Id, 10), p.Name,
			formatIfSet(p.Created, "2006-01-02 15:04"), formatDay(p.Used), formatIfSet(p.Until, "2006-01-02 15:04")))
	}
	return a.printTable(t)
}

// formatIfSet returns a time of this machine's zone; "-" if it is absent.
func formatIfSet(t *timestamppb.Timestamp, layout string) string {
	if t == nil {
		return "-"
	}
	return t.AsTime().Local().Format(layout)
}

// formatDay returns a day, which is one of UTC; "-" if it is absent.
func formatDay(t *timestamppb.Timestamp) string {
	if t == nil {
		return "-"
	}
	return t.AsTime().Format(time.DateOnly)
}

func (a *app) removeAppPassword(ctx context.Context, ima, id string) error {
	if _, err := parseUser(ima); err != nil {
		return err
	}
	number, err := strconv.ParseUint(id, 10, 64)
	if err != nil {
		return cli.UsageErrorf("%q is not the id of an app password; account app list shows them", id)
	}
	s, err := a.connect()
	if err != nil {
		return err
	}
	resp, err := unaryCall(ctx, s.accounts.RemoveAppPassword, &simpv1.RemoveAppPasswordRequest{Ima: ima, Id: number})
	if err != nil {
		return err
	}
	return a.printSentence(resp, "the app password %d of %s is removed", number, ima)
}
