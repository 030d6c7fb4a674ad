package main

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"simpd/cmd/internal/cli"
	"simpd/protocol"
	"simpd/protocol/client"
)

// runConnected makes a command's function of one that needs a connection.
func (a *app) runConnected(do func(ctx context.Context, c *client.Client, args []string) error) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, args []string) error {
		return a.withClient(c.Context(), func(cl *client.Client) error { return do(c.Context(), cl, args) })
	}
}

func (a *app) contactCommand() *cobra.Command {
	add := &cobra.Command{
		Use: "add IMA [NAME]", Short: "Add a contact, or rename it", Args: cli.ArgumentCount(1, -1, "an address and optionally a name"),
		Long: "Add puts an address on your contact list, or gives it a new name. Flags come before the address.",
		RunE: a.runConnected(a.addContact),
	}
	add.Flags().SetInterspersed(false) // a name may look like a flag
	contact := cli.CommandGroup("contact", "Show and change your contact list", "Contact shows and changes the list that the site keeps for you. Contacts of a group come\nfrom the directory of your organization, and can't be removed.", add,
		&cobra.Command{Use: "list", Short: "Show your contacts", Args: cli.ArgumentCount(0, 0, "no arguments"), RunE: a.runConnected(a.listContacts)},
		&cobra.Command{Use: "remove IMA", Short: "Remove a contact", Args: cli.ArgumentCount(1, 1, "an address"), RunE: a.runConnected(a.removeContact)},
	)
	return orList(contact, a.runConnected(a.listContacts))
}

// orList has a group list what there is when nothing else is said.
func orList(c *cobra.Command, list func(*cobra.Command, []string) error) *cobra.Command {
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(args) > 0 {
			return cli.UnknownCommand(c, args[0])
		}
		return list(c, args)
	}
	return c
}

func (a *app) listContacts(ctx context.Context, c *client.Client, _ []string) error {
	contacts, err := c.Contacts(ctx)
	if err != nil {
		return err
	}
	var rows [][]string
	grouped := slices.ContainsFunc(contacts, func(c protocol.Contact) bool { return c.Group != "" })
	for _, contact := range contacts {
		if !a.printsJSON() {
			rows = append(rows, contactRow(contact, grouped))
		} else if err := a.printJSON(contactJSON(contact)); err != nil {
			return err
		}
	}
	return a.printTable(rows)
}

// contactRow returns a contact as people see it, with its group where others have
// one.
func contactRow(c protocol.Contact, grouped bool) []string {
	row := []string{cli.Escape(c.Address.String()), cli.EscapeText(c.Name)}
	switch {
	case c.Group != "":
		row = append(row, "group "+cli.EscapeText(c.Group))
	case grouped:
		row = append(row, "")
	}
	return row
}

// contactJSON returns a contact as scripts see it.
func contactJSON(c protocol.Contact) map[string]string {
	all := map[string]string{"ima": c.Address.String(), "name": c.Name}
	if c.Group != "" {
		all["group"] = c.Group
	}
	return all
}

func (a *app) addContact(ctx context.Context, c *client.Client, args []string) error {
	address, err := parseAddress(args[0])
	if err != nil {
		return err
	}
	name := strings.Join(args[1:], " ")
	if !protocol.ValidNote(name) {
		return cli.UsageErrorf("invalid name: must be at most %d octets of UTF-8, without control characters", protocol.MaxNote)
	}
	return c.SetContact(ctx, protocol.Contact{Address: address, Name: name})
}

func (a *app) removeContact(ctx context.Context, c *client.Client, args []string) error {
	address, err := parseAddress(args[0])
	if err != nil {
		return err
	}
	return c.RemoveContact(ctx, address)
}

const aclLong = `Acl shows and changes who may send to you and see whether you listen.

    simp acl set "*" --presence deny
    simp acl set @example.org --message allow --presence allow
    simp acl set mallory@example.net --message deny
    simp acl remove mallory@example.net

A pattern is an address, @domain (its users, not its subdomains') or * (all).
The most specific rule about messages or about presence decides; if there is
none, the site's policy does. Whoever may not send to you or see you is told
that you do not listen.`

func (a *app) aclCommand() *cobra.Command {
	var message, presence string
	set := &cobra.Command{
		Use: "set PATTERN", Short: "Set a rule", Args: cli.ArgumentCount(1, 1, "a pattern"),
		RunE: func(c *cobra.Command, args []string) error { return a.setRule(c, args[0], message, presence) },
	}
	set.Flags().StringVar(&message, "message", "", "whether they may send to you: allow or deny")
	set.Flags().StringVar(&presence, "presence", "", "whether they may see if you listen: allow or deny")
	for _, name := range []string{"message", "presence"} {
		_ = set.RegisterFlagCompletionFunc(name, cobra.FixedCompletions([]string{"allow", "deny"}, cobra.ShellCompDirectiveNoFileComp))
	}
	acl := cli.CommandGroup("acl", "Show and change who may send to you and see you", aclLong, set,
		&cobra.Command{Use: "list", Short: "Show your rules", Args: cli.ArgumentCount(0, 0, "no arguments"), RunE: a.runConnected(a.listRules)},
		&cobra.Command{Use: "remove PATTERN", Short: "Remove a rule", Args: cli.ArgumentCount(1, 1, "a pattern"), RunE: a.runConnected(a.removeRule)},
	)
	return orList(acl, a.runConnected(a.listRules))
}

func (a *app) listRules(ctx context.Context, c *client.Client, _ []string) error {
	rules, err := c.Rules(ctx)
	if err != nil {
		return err
	}
	var rows [][]string
	for _, r := range rules {
		row := []string{cli.Escape(r.Who.String()), "message " + permissionText(r.Message), "presence " + permissionText(r.Presence)}
		j := map[string]string{"who": r.Who.String(), "message": r.Message.String(), "presence": r.Presence.String()}
		if !a.printsJSON() {
			rows = append(rows, row)
		} else if err := a.printJSON(j); err != nil {
			return err
		}
	}
	return a.printTable(rows)
}

func permissionText(p protocol.Permission) string { return cmp.Or(p.String(), "-") }

func (a *app) setRule(c *cobra.Command, pattern, message, presence string) error {
	who, err := parsePattern(pattern)
	if err != nil {
		return err
	}
	rule := protocol.Rule{Who: who}
	var ok1, ok2 bool
	rule.Message, ok1 = protocol.ParsePermission(message)
	rule.Presence, ok2 = protocol.ParsePermission(presence)
	switch {
	case !ok1 && message != "", !ok2 && presence != "":
		return cli.UsageErrorf("--message and --presence must be allow or deny")
	case rule.IsEmpty():
		return cli.UsageErrorf("give --message, --presence or both")
	}
	return a.withClient(c.Context(), func(cl *client.Client) error { return cl.SetRule(c.Context(), rule) })
}

func (a *app) removeRule(ctx context.Context, c *client.Client, args []string) error {
	who, err := parsePattern(args[0])
	if err != nil {
		return err
	}
	return c.SetRule(ctx, protocol.Rule{Who: who})
}

func parsePattern(s string) (protocol.Pattern, error) {
	p, err := protocol.ParsePattern(s)
	var bad *protocol.Error
	if errors.As(err, &bad) {
		return p, cli.UsageErrorf("%s", bad.Text)
	}
	return p, err
}
