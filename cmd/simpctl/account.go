package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"

	"github.com/spf13/cobra"

	"simpd/cmd/internal/cli"
	simpv1 "simpd/proto/simp/v1"
	"simpd/protocol"
)

func (a *app) accountCommand() *cobra.Command {
	return cli.CommandGroup("account", "Manage users' accounts", "",
		a.accountAdd(), a.accountDelete(), a.accountList(), a.accountPasswd(),
		a.accountDisable(), a.accountEnable(), a.accountImport(), a.accountApp(), a.accountKey(), a.accountSource())
}

func (a *app) accountAdd() *cobra.Command {
	var fromStdin, lookalike bool
	c := &cobra.Command{
		Use: "add IMA", Short: "Make an account", Args: cli.ArgumentCount(1, 1, "one address, such as alice@example.com"),
		Long: "Add makes an account. The password is asked for twice, or read from standard input; " +
			"what goes to the site is a verifier, never the password. A name that looks like that of an existing account " +
			"of the domain (Unicode Technical Standard 39) is refused, unless --allow-lookalike is given.",
		RunE: func(c *cobra.Command, args []string) error {
			s, credential, err := a.newCredential(c.Context(), fromStdin, args[0])
			if err != nil {
				return err
			}
			resp, err := unaryCall(c.Context(), s.accounts.Create, &simpv1.CreateAccountRequest{Ima: args[0], Credential: credential, AllowLookalike: lookalike})
			if err != nil {
				return err
			}
			return a.printSentence(resp, "%s has an account", resp.Account.GetIma())
		},
	}
	passwordFlag(c, &fromStdin)
	lookalikeFlag(c, &lookalike)
	return c
}

func lookalikeFlag(c *cobra.Command, allow *bool) {
	c.Flags().BoolVar(allow, "allow-lookalike", false, "create accounts even if their names look like those of existing ones")
}

func (a *app) accountPasswd() *cobra.Command {
	var fromStdin bool
	c := &cobra.Command{
		Use: "passwd IMA", Short: "Give an account a new password", Args: cli.ArgumentCount(1, 1, "one address"),
		Long: "Passwd gives an account a new password, removes its app passwords, and closes the user's connections.",
		RunE: func(c *cobra.Command, args []string) error {
			s, credential, err := a.newCredential(c.Context(), fromStdin, args[0])
			if err != nil {
				return err
			}
			resp, err := unaryCall(c.Context(), s.accounts.SetPassword, &simpv1.SetPasswordRequest{Ima: args[0], Credential: credential})
			if err != nil {
				return err
			}
			return a.printSentence(resp, "%s has a new password", args[0])
		},
	}
	passwordFlag(c, &fromStdin)
	return c
}

func passwordFlag(c *cobra.Command, fromStdin *bool) {
	c.Flags().BoolVar(fromStdin, "password-stdin", false, "read the password from standard input: its first line")
}

// newCredential checks the address and the way to the site before it asks for
// a password, and makes the verifier of it.
func (a *app) newCredential(ctx context.Context, fromStdin bool, user string) (*site, *simpv1.Credential, error) {
	if _, err := parseUser(user); err != nil {
		return nil, nil, err
	}
	s, err := a.connect()
	if err != nil {
		return nil, nil, err
	}
	password, err := a.newPassword(ctx, fromStdin, user)
	if err != nil {
		return nil, nil, err
	}
	salt := make([]byte, protocol.ScramSaltOctets)
	rand.Read(salt)
	credential, err := scramVerifier(password, salt, protocol.ScramIterations)
	return s, credential, err
}

// scramVerifier hashes a password: it does not leave this program.
func scramVerifier(password string, salt []byte, iterations int) (*simpv1.Credential, error) {
	c, err := protocol.NewCredentials(password, salt, iterations)
	if err != nil {
		return nil, withoutStatus(err)
	}
	return &simpv1.Credential{Kind: &simpv1.Credential_Verifier{Verifier: &simpv1.ScramVerifier{
		Salt: c.Salt, Iterations: uint32(c.Iterations), StoredKey: c.StoredKey, ServerKey: c.ServerKey,
	}}}, nil
}

// parseUser reads a user's address as the site will have it.
func parseUser(s string) (string, error) {
	user, err := protocol.ParseAddress(s)
	if err != nil {
		return "", withoutStatus(err)
	}
	folded, _ := user.PRECISFold()
	return folded.String(), nil
}

// withoutStatus leaves the wire's status out of an error.
func withoutStatus(err error) error {
	if e, ok := err.(*protocol.Error); ok {
		return cli.UsageErrorf("%s", e.Text)
	}
	return err
}

// onAccount is a command that does one thing to one account.
func (a *app) onAccount(use, short, long, done string, do func(context.Context, *site, string) error) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Long: long, Args: cli.ArgumentCount(1, 1, "one address"),
		RunE: func(c *cobra.Command, args []string) error {
			if _, err := parseUser(args[0]); err != nil {
				return err
			}
			s, err := a.connect()
			if err != nil {
				return err
			}
			if err := do(c.Context(), s, args[0]); err != nil || a.printsJSON() {
				return err
			}
			fmt.Fprintln(a.out, cli.Escape(args[0]+done))
			return nil
		},
	}
}

func (a *app) accountDelete() *cobra.Command {
	var yes bool
	c := a.onAccount("delete IMA", "Remove an account, with its rules and contacts",
		"Delete removes an account with its rules and contacts, and closes the user's connections.", " is deleted",
		func(ctx context.Context, s *site, ima string) error {
			if err := a.confirmDestructive(ctx, yes, fmt.Sprintf("%s will be deleted, with its rules and contacts", ima)); err != nil {
				return err
			}
			resp, err := unaryCall(ctx, s.accounts.Delete, &simpv1.DeleteAccountRequest{Ima: ima})
			return a.printResult(resp, err)
		})
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return c
}

func (a *app) accountDisable() *cobra.Command {
	return a.onAccount("disable IMA", "Disable an account",
		"Disable keeps a user out, removes the user's app passwords, and closes the user's connections. The account stays.", " is disabled",
		func(ctx context.Context, s *site, ima string) error {
			resp, err := unaryCall(ctx, s.accounts.Disable, &simpv1.DisableAccountRequest{Ima: ima})
			return a.printResult(resp, err)
		})
}

func (a *app) accountEnable() *cobra.Command {
	return a.onAccount("enable IMA", "Enable a disabled account", "", " is enabled",
		func(ctx context.Context, s *site, ima string) error {
			resp, err := unaryCall(ctx, s.accounts.Enable, &simpv1.EnableAccountRequest{Ima: ima})
			return a.printResult(resp, err)
		})
}

func (a *app) accountList() *cobra.Command {
	var domain string
	c := &cobra.Command{
		Use: "list", Short: "List the accounts", Args: cli.ArgumentCount(0, 0, "no argument"),
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := a.connect()
			if err != nil {
				return err
			}
			return a.listAccounts(c.Context(), s, domain)
		},
	}
	c.Flags().StringVar(&domain, "domain", "", "only accounts of this `DOMAIN`")
	return c
}

func (a *app) listAccounts(ctx context.Context, s *site, domain string) error {
	all := &simpv1.ListAccountsResponse{}
	err := eachPage(func(token string) (string, error) {
		resp, err := unaryCall(ctx, s.accounts.List, &simpv1.ListAccountsRequest{Domain: domain, PageSize: pageSize, PageToken: token})
		if err != nil {
			return "", err
		}
		all.Account, all.Position = append(all.Account, resp.Account...), resp.Position
		return resp.NextPageToken, nil
	})
	if err != nil {
		return err
	}
	if a.printsJSON() {
		return a.printJSON(all)
	}
	t := &table{head: []string{"IMA", "STATE", "MADE", "SOURCE"}}
	for _, account := range all.Account {
		t.rows = append(t.rows, accountRow(account))
	}
	return a.printTable(t)
}

func accountRow(account *simpv1.Account) []cell {
	row := plainCells(account.Ima, "enabled", "-", cmp.Or(account.Source, "table"))
	switch {
	case account.LeftSource:
		row[1] = cell{"left", yellow}
	case account.Disabled:
		row[1] = cell{"disabled", yellow}
	}
	if account.Created.GetSeconds() > 0 {
		row[2].text = account.Created.AsTime().Local().Format("2006-01-02 15:04")
	}
	return row
}

// pageSize is the number of list entries requested at once.
const pageSize = 1000

// eachPage calls list with each page's token until there is no next.
func eachPage(list func(token string) (next string, err error)) error {
	for token := ""; ; {
		next, err := list(token)
		if err != nil || next == "" {
			return err
		}
		token = next
	}
}
