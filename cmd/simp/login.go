package main

import (
	"cmp"
	"context"
	"errors"

	"github.com/spf13/cobra"

	"simpd/cmd/internal/cli"
	"simpd/cmd/simp/internal/login"
	"simpd/protocol/client"
)

const loginLong = `Login signs you in at the OpenID provider of your site, if it has one: it prints
an address and a code, and you sign in with a browser, on this or another
device. The login is kept in a file that only you can read, in
$XDG_DATA_HOME/simp or ~/.local/share/simp, and renewed as long as the provider
allows. All commands use it then, unless a password is given.

    simp --user alice@example.com login
    simp --user alice@example.com listen
    simp --user alice@example.com logout`

func (a *app) loginCommand() *cobra.Command {
	var clientID, scope string
	c := &cobra.Command{
		Use: "login", Short: "Sign in with a browser", Long: loginLong, Args: cli.ArgumentCount(0, 0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error { return a.login(c.Context(), clientID, scope) },
	}
	c.Flags().StringVar(&clientID, "client-id", "", "the client `ID` of this program at the provider, if the server does not say it")
	c.Flags().StringVar(&scope, "scope", "", "the `WORDS` of the scope, if they are to be others than the server says")
	return c
}

func (a *app) logoutCommand() *cobra.Command {
	return &cobra.Command{
		Use: "logout", Short: "Forget what simp login has kept", Args: cli.ArgumentCount(0, 0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			file, err := a.loginFile()
			if err != nil {
				return err
			}
			was, err := login.Remove(file)
			if err == nil && !was {
				err = errors.New("no login of " + a.user + " is kept here")
			}
			return err
		},
	}
}

func (a *app) login(ctx context.Context, clientID, scope string) error {
	file, err := a.loginFile()
	if err != nil {
		return err
	}
	config, err := a.baseConfig()
	if err != nil {
		return err
	}
	provider, err := client.FindTokenProvider(ctx, config)
	if err != nil {
		return err
	}
	provider.ClientID, provider.Scope = cmp.Or(clientID, provider.ClientID), cmp.Or(scope, provider.Scope)
	if provider.ClientID == "" {
		return cli.UsageErrorf("the server does not say which client ID this program has at the provider; give --client-id")
	}
	kept, err := login.Start(ctx, provider, file, login.NewHTTPClient(), func(address, code string) {
		a.printNote("open %s in a browser, and enter the code %s", address, code)
	})
	if err != nil {
		return err
	}
	config.Token = tokenOf(kept)
	c, err := client.Open(ctx, config) // so that it is known at once whether it works
	if err != nil {
		return err
	}
	hangUp(c)
	a.printNote("%s is logged in", config.User)
	return nil
}

// tokenOf returns the tokens of a login.
func tokenOf(l *login.Login) func(context.Context) (client.Token, error) {
	return func(ctx context.Context) (client.Token, error) {
		value, expiry, err := l.Token(ctx)
		return client.Token{Value: value, Expiry: expiry}, err
	}
}

// loginFile returns where the user's login is kept.
func (a *app) loginFile() (string, error) {
	if a.user == "" {
		return "", cli.UsageErrorf("--user is missing: give your address, such as alice@example.com")
	}
	user, err := parseAddress(a.user)
	if err != nil {
		return "", err
	}
	folder := a.dataFolder("XDG_DATA_HOME", ".local", "share")
	if folder == "" {
		return "", errors.New("there is no folder to keep the login in: set XDG_DATA_HOME or HOME")
	}
	folded, _ := user.PRECISFold()
	return login.File(folder, folded), nil
}

// keptLogin returns what simp login has kept, unless a password is given; nil if
// there is nothing.
func (a *app) keptLogin() (*login.Login, error) {
	if a.passwordFile != "" || a.env("SIMP_PASSWORD") != "" {
		return nil, nil
	}
	file, err := a.loginFile()
	if err != nil {
		return nil, nil // there is no place where it could be
	}
	return login.Open(file, login.NewHTTPClient())
}

// loginConfig returns the configuration of a client that logs in: with what simp
// login has kept, or else with a password.
func (a *app) loginConfig(ctx context.Context) (client.Config, error) {
	config, err := a.baseConfig()
	if err != nil {
		return config, err
	}
	kept, err := a.keptLogin()
	if err == nil && kept != nil {
		config.Token = tokenOf(kept)
		return config, nil
	}
	if err == nil {
		config.Password, err = a.readPassword(ctx)
	}
	return config, err
}
