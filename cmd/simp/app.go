package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"simpd/cmd/internal/cli"
	"simpd/protocol"
	"simpd/protocol/client"
)

const appLong = `App shows, makes and revokes app passwords: additional passwords that the server
makes, one for each of your devices and programs. You may have up to 16 of them.

    simp app add phone
    simp app add "build server" --until 2027-06-30
    simp app list
    simp app remove 1042

When a device is lost or a program no longer needed, remove its app password:
its connections are closed, and your own password stays as it is. A program
that uses an app password can't change passwords.`

func (a *app) appCommand() *cobra.Command {
	var until string
	add := &cobra.Command{
		Use: "add NAME", Short: "Make an app password", Args: cli.ArgumentCount(1, -1, "the name of a device or program"),
		Long: `Add has the server make an app password, and prints it. It is shown nowhere
else. The name is for you, to know later which one it is.`,
		RunE: func(c *cobra.Command, args []string) error {
			return a.addAppPassword(c.Context(), strings.Join(args, " "), until)
		},
	}
	add.Flags().StringVar(&until, "until", "", "the `DATE` (2027-06-30, its end by this machine's clock) or time (2027-06-30T12:00:00Z) at which it ends")
	group := cli.CommandGroup("app", "Show and change your app passwords", appLong, add,
		&cobra.Command{Use: "list", Short: "Show your app passwords", Args: cli.ArgumentCount(0, 0, "no arguments"), RunE: a.runConnected(a.listAppPasswords)},
		&cobra.Command{Use: "remove ID", Short: "Remove an app password, and close its connections", Args: cli.ArgumentCount(1, 1, "the id that simp app list shows"), RunE: a.runConnected(a.removeAppPassword)},
	)
	return orList(group, a.runConnected(a.listAppPasswords))
}

func (a *app) addAppPassword(ctx context.Context, name, until string) error {
	if name == "" || !protocol.ValidNote(name) {
		return cli.UsageErrorf("a name has 1 to %d octets of UTF-8, and no control characters", protocol.MaxNote)
	}
	end, err := parseEnd(until)
	if err != nil {
		return err
	}
	return a.withClient(ctx, func(c *client.Client) error {
		id, password, err := c.AddAppPassword(ctx, name, end)
		if err != nil {
			return err
		}
		if a.printsJSON() {
			return a.printJSON(map[string]string{"id": strconv.FormatUint(id, 10), "name": name, "password": password})
		}
		a.printNote("the app password %d, %q; it is shown only now:", id, name)
		return a.printTable([][]string{{cli.Escape(password)}})
	})
}

// parseEnd parses a day, whose end is meant, or a time; "" is the zero time.
func parseEnd(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if day, err := time.ParseInLocation(time.DateOnly, s, time.Local); err == nil {
		return day.AddDate(0, 0, 1), nil
	}
	end, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return end, cli.UsageErrorf("--until is a date such as 2027-06-30, or a time such as 2027-06-30T12:00:00Z, not %q", s)
	}
	return end, nil
}

func (a *app) listAppPasswords(ctx context.Context, c *client.Client, _ []string) error {
	list, err := c.AppPasswords(ctx)
	if err != nil {
		return err
	}
	var rows [][]string
	for _, p := range list {
		j := map[string]string{"id": strconv.FormatUint(p.ID, 10), "name": p.Name, "created": p.Created.Format(time.RFC3339)}
		used, until := "never used", ""
		if !p.Used.IsZero() {
			j["used"] = p.Used.Format(time.DateOnly)
			used = "used " + j["used"]
		}
		if !p.Until.IsZero() {
			j["until"] = p.Until.Format(time.RFC3339)
			until = "until " + p.Until.Local().Format("2006-01-02 15:04")
		}
		if !a.printsJSON() {
			rows = append(rows, []string{j["id"], cli.EscapeText(p.Name), "made " + p.Created.Local().Format(time.DateOnly), used, until})
		} else if err := a.printJSON(j); err != nil {
			return err
		}
	}
	return a.printTable(rows)
}

func (a *app) removeAppPassword(ctx context.Context, c *client.Client, args []string) error {
	id, err := strconv.ParseUint(args[0], 10, 64)
	if err != nil {
		return cli.UsageErrorf("%q is not the id of an app password; simp app list shows them", args[0])
	}
	if err := c.RemoveAppPassword(ctx, id); err != nil {
		return fmt.Errorf("app password %d: %w", id, err)
	}
	return nil
}
