package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"simpd/cmd/internal/cli"
	"simpd/protocol"
	"simpd/protocol/client"
)

const joinLong = `Join creates an account with the code of an invitation. It asks for the address
that you want to have, unless you give it, and twice for a password.

    simp join k3fm-7qpd-0x2c-9w1n-5tz8-h4vj-6rys
    simp join k3fm-7qpd-0x2c-9w1n-5tz8-h4vj-6rys dave@example.com

The code may also be the whole link of the invitation.`

func (a *app) joinCommand() *cobra.Command {
	return &cobra.Command{
		Use: "join CODE [IMA]", Short: "Create an account with an invitation", Long: joinLong,
		Args: cli.ArgumentCount(1, 2, "the code of an invitation, and optionally the address that you want"),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 1 {
				a.user = args[1]
			}
			return a.join(c.Context(), invitationCode(args[0]))
		},
	}
}

// invitationCode returns the code in the link of an invitation; s, if it is no link.
func invitationCode(s string) string {
	if _, code, ok := strings.Cut(s, "#join="); ok {
		return code
	}
	return s
}

func (a *app) join(ctx context.Context, code string) error {
	if a.user == "" {
		user, err := a.term.askLine(ctx, "The address that you want, such as dave@example.com: ")
		if errors.Is(err, errNoTerminal) {
			return cli.UsageErrorf("there is no terminal to ask for the address; give it after the code")
		}
		if err != nil {
			return err
		}
		a.user = strings.TrimSpace(user)
	}
	config, err := a.baseConfig()
	if err != nil {
		return err
	}
	if config.Password, err = a.readNewPassword(ctx); err != nil {
		return err
	}
	if err := client.Join(ctx, config, code); err != nil {
		return explainJoin(err)
	}
	if a.printsJSON() {
		return a.printJSON(map[string]string{"ima": config.User.String()})
	}
	a.printNote("%s has an account. Listen for messages with:", config.User)
	return a.printTable([][]string{{cli.Escape(a.commandOf(config.User.String(), "listen"))}})
}

// commandOf returns a command line that reaches the same server as this one.
func (a *app) commandOf(user, command string) string {
	line := "simp"
	if a.server != "" {
		line += " --server " + a.server
	}
	if a.plaintext {
		line += " --plaintext"
	}
	return line + " --user " + user + " " + command
}

// explainJoin says what an error of Join means for the user.
func explainJoin(err error) error {
	var refused *protocol.Error
	switch {
	case errors.Is(err, client.ErrJoinUncertain):
		return fmt.Errorf("%w; if you can't log in, join again", err)
	case errors.Is(err, client.ErrNotSupported):
		return errors.New("the server knows no invitations: it is too old")
	case errors.As(err, &refused) && refused.Status == protocol.StatusUnauthorized:
		return fmt.Errorf("%s (%d)", refused.Text, int(refused.Status)) // it is not about a password
	}
	return err
}

// readNewPassword takes the password of a new account from where the user has
// put it, or asks for it twice.
func (a *app) readNewPassword(ctx context.Context) (string, error) {
	if a.passwordFile == "" && a.env("SIMP_PASSWORD") == "" {
		return a.newPassword(ctx, "")
	}
	return a.readPassword(ctx)
}
