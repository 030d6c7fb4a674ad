package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"simpd/cmd/internal/cli"
	"simpd/protocol"
	"simpd/protocol/client"
)

func (a *app) passwdCommand() *cobra.Command {
	var file string
	c := &cobra.Command{
		Use: "passwd", Short: "Change your password", Args: cli.ArgumentCount(0, 0, "no arguments"),
		Long: `Passwd gives you a new password, which it asks for twice. Your other sessions
are closed, except those that use app passwords.`,
		RunE: func(c *cobra.Command, _ []string) error { return a.changePassword(c.Context(), file) },
	}
	c.Flags().StringVar(&file, "new-password-file", "", "`FILE` whose first line is the new password; - is standard input")
	return c
}

func (a *app) changePassword(ctx context.Context, file string) error {
	return a.withClient(ctx, func(c *client.Client) error {
		password, err := a.newPassword(ctx, file)
		if err != nil {
			return err
		}
		err = c.SetPassword(ctx, password)
		if errors.Is(err, client.ErrLost) {
			return fmt.Errorf("%w; the valid password may be the old one or the new one", err)
		}
		if err != nil {
			return err
		}
		a.printNote("the password of %s is changed", c.User())
		return nil
	})
}

// newPassword reads the new password, or asks for it twice.
func (a *app) newPassword(ctx context.Context, file string) (password string, err error) {
	if file != "" {
		password, err = a.readPasswordFile("--new-password-file", file)
	} else {
		password, err = a.askTwice(ctx)
	}
	if err == nil {
		err = withoutStatus(protocol.CheckPassword(password))
	}
	return password, err
}

func (a *app) askTwice(ctx context.Context) (string, error) {
	first, err := a.askSecret(ctx, fmt.Sprintf("New password for %s: ", a.user))
	if err != nil {
		return "", err
	}
	second, err := a.askSecret(ctx, "The same again: ")
	if err == nil && first != second {
		err = errors.New("the two passwords differ; nothing was changed")
	}
	return first, err
}
