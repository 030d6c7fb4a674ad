package main

import (
	"context"

	"github.com/spf13/cobra"

	"simpd/cmd/internal/cli"
	simpv1 "simpd/proto/simp/v1"
	"simpd/protocol/signature"
)

func (a *app) accountKey() *cobra.Command {
	return cli.CommandGroup("key", "Show and revoke the keys of users' devices",
		"Key shows and revokes the public keys with which users' devices sign messages. Only users themselves can add them. "+
			"A key that is revoked stays in the list, and whoever watches the user is told.",
		&cobra.Command{
			Use: "list IMA", Short: "List the keys of a user's devices", Args: cli.ArgumentCount(1, 1, "one address"),
			RunE: func(c *cobra.Command, args []string) error { return a.listKeys(c.Context(), args[0]) },
		},
		&cobra.Command{
			Use: "revoke IMA ID", Short: "Revoke a key: later messages that it signs are shown as bad",
			Args: cli.ArgumentCount(2, 2, "an address, and the id that account key list shows"),
			RunE: func(c *cobra.Command, args []string) error { return a.revokeKey(c.Context(), args[0], args[1]) },
		})
}

func (a *app) listKeys(ctx context.Context, ima string) error {
	if _, err := parseUser(ima); err != nil {
		return err
	}
	s, err := a.connect()
	if err != nil {
		return err
	}
	resp, err := unaryCall(ctx, s.accounts.ListKeys, &simpv1.ListKeysRequest{Ima: ima})
	if err != nil {
		return err
	}
	if a.printsJSON() {
		return a.printJSON(resp)
	}
	t := &table{head: []string{"ID", "NAME", "FINGERPRINT", "MADE", "REVOKED"}}
	for _, k := range resp.Key {
		t.rows = append(t.rows, plainCells(k.Id, k.Name, signature.Fingerprint(k.Id), formatIfSet(k.Created, "2006-01-02 15:04"), formatRevocation(k)))
	}
	return a.printTable(t)
}

// formatRevocation returns when a key was revoked, and whether by an operator;
// "-" if it is not revoked.
func formatRevocation(k *simpv1.Key) string {
	text := formatIfSet(k.Revoked, "2006-01-02 15:04")
	if k.RevokedByOperator {
		text += " by an operator"
	}
	return text
}

func (a *app) revokeKey(ctx context.Context, ima, id string) error {
	if _, err := parseUser(ima); err != nil {
		return err
	}
	if signature.Fingerprint(id) == "" {
		return cli.UsageErrorf("%q is not the id of a key; account key list shows them", id)
	}
	s, err := a.connect()
	if err != nil {
		return err
	}
	resp, err := unaryCall(ctx, s.accounts.RevokeKey, &simpv1.RevokeKeyRequest{Ima: ima, Id: id})
	if err != nil {
		return err
	}
	return a.printSentence(resp, "the key %s of %s is revoked", id, ima)
}
