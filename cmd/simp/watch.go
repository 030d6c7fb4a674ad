package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"simpd/cmd/internal/cli"
	"simpd/protocol"
	"simpd/protocol/client"
)

func (a *app) watchCommand() *cobra.Command {
	var contacts bool
	c := &cobra.Command{
		Use: "watch IMA…", Short: "Show who listens, now and at every change",
		Long: `Watch shows the presence of the addresses, now and at every change, until it is
interrupted: available, busy, away, or deaf, which is said of whoever does not
listen, does not let you see it, or does not exist.`,
		RunE: func(c *cobra.Command, args []string) error { return a.watchPresence(c.Context(), contacts, args) },
	}
	c.Flags().BoolVar(&contacts, "contacts", false, "watch your contacts")
	return c
}

func (a *app) watchPresence(ctx context.Context, contacts bool, args []string) error {
	addresses, err := parseAddresses(args...)
	if err != nil {
		return err
	}
	if len(addresses) == 0 && !contacts {
		return cli.UsageErrorf("simp watch needs an address, or --contacts")
	}
	e := eyes{app: a, failed: make(chan error, 1)}
	c, err := a.connect(ctx, e.setHandlers)
	if err != nil {
		return err
	}
	defer hangUp(c)
	if err := watchAll(ctx, c, contacts, addresses); err != nil {
		return ignoreInterrupt(ctx, err)
	}
	return e.awaitEnd(ctx, c)
}

func watchAll(ctx context.Context, c *client.Client, contacts bool, addresses []protocol.Address) error {
	if _, err := c.Watch(ctx, addresses...); err != nil {
		return err
	}
	if !contacts {
		return nil
	}
	_, err := c.WatchContacts(ctx)
	return err
}

// eyes shows presence.
type eyes struct {
	*app
	failed chan error
}

func (e *eyes) setHandlers(config *client.Config) {
	config.OnPresence = e.writePresence
	config.OnEvent = e.tellEvent
}

func (e *eyes) writePresence(p protocol.Presence) {
	if err := e.printPresence(p); err != nil {
		select {
		case e.failed <- fmt.Errorf("writing presence: %w", err):
		default:
		}
	}
}

func (e *eyes) awaitEnd(ctx context.Context, c *client.Client) error {
	select {
	case <-ctx.Done():
		return nil
	case err := <-e.failed:
		return err
	case <-c.Done():
		return c.Err()
	}
}

func (a *app) printPresence(p protocol.Presence) error {
	if a.printsJSON() {
		return a.printJSON(forPrograms(p))
	}
	return a.printTable([][]string{a.forPeople(p)})
}

func (a *app) queryCommand() *cobra.Command {
	var fresh bool
	c := &cobra.Command{
		Use: "query IMA…", Short: "Show who listens now", Args: cli.ArgumentCount(1, -1, "an address"),
		RunE: func(c *cobra.Command, args []string) error { return a.queryPresence(c.Context(), fresh, args) },
	}
	c.Flags().BoolVar(&fresh, "fresh", false, "ask the whole site, not the nearest node's copy")
	return c
}

func (a *app) queryPresence(ctx context.Context, fresh bool, args []string) error {
	addresses, err := parseAddresses(args...)
	if err != nil {
		return err
	}
	return a.withClient(ctx, func(c *client.Client) error {
		all, err := c.Query(ctx, fresh, addresses...)
		if err != nil {
			return err
		}
		return a.printPresences(all)
	})
}

func (a *app) printPresences(all []protocol.Presence) error {
	var rows [][]string
	for _, p := range all {
		if !a.printsJSON() {
			rows = append(rows, a.forPeople(p))
		} else if err := a.printJSON(forPrograms(p)); err != nil {
			return err
		}
	}
	return a.printTable(rows)
}

func (a *app) watchersCommand() *cobra.Command {
	return &cobra.Command{
		Use: "watchers", Short: "Show who watches you now", Args: cli.ArgumentCount(0, 0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			return a.withClient(c.Context(), func(cl *client.Client) error { return a.listWatchers(c.Context(), cl) })
		},
	}
}

func (a *app) listWatchers(ctx context.Context, c *client.Client) error {
	by, partial, err := c.Watchers(ctx)
	if err != nil {
		return err
	}
	for _, who := range by {
		if a.printsJSON() {
			err = a.printJSON(map[string]string{"ima": who.String()})
		} else {
			err = a.printf("%s", cli.Escape(who.String()))
		}
		if err != nil {
			return err
		}
	}
	if partial {
		a.printNote("there may be others: a node of the site did not answer")
	}
	return nil
}
