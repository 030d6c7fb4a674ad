package main

import (
	"cmp"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"simpd/cmd/internal/cli"
	"simpd/cmd/simp/internal/chat/session"
	"simpd/cmd/simp/internal/configfile"
	"simpd/cmd/simp/internal/trust"
	"simpd/protocol"
	"simpd/protocol/client"
)

// chatConfig returns how to connect for a chat. Somebody who has configured
// nothing yet is asked, and what they answer is stored.
func (a *app) chatConfig(ctx context.Context, f chatting) (client.Config, error) {
	if a.user != "" || a.isConfigured {
		return a.loginConfig(ctx)
	}
	config, c, err := a.askWhoTheyAre(ctx)
	if err != nil {
		return config, err
	}
	defer hangUp(c)
	folder := configfile.Folder(a.env)
	if folder == "" {
		return config, nil
	}
	own := config.Password
	settings, err := a.offerAppPassword(ctx, c, &config, folder)
	if config.Password != own && !f.noSign {
		a.addDeviceKey(ctx, c)
	}
	if err == nil {
		err = configfile.Write(a.configFile, settings)
	}
	if err != nil {
		a.printNote("the settings could not be stored: %s", explainError(err))
		return config, nil
	}
	a.printNote("the settings are in %s", a.configFile)
	return config, nil
}

// askWhoTheyAre asks for an address and a password, and connects. A server that
// can't be found by the address is asked for.
func (a *app) askWhoTheyAre(ctx context.Context) (client.Config, *client.Client, error) {
	user, err := a.term.askLine(ctx, "Your address, such as alice@example.com: ")
	if errors.Is(err, errNoTerminal) {
		return a.noteMissingUser(ctx)
	}
	if err != nil {
		return client.Config{}, nil, err
	}
	a.user = strings.TrimSpace(user)
	config, err := a.loginConfig(ctx)
	if err != nil {
		return config, nil, err
	}
	c, err := client.Open(ctx, config)
	if err == nil || a.server != "" || wasRefused(err) || ctx.Err() != nil {
		return config, c, err
	}
	a.printNote("the server of %s can't be reached: %s", config.User.Domain(), explainError(err))
	server, err := a.term.askLine(ctx, "Its HOST:PORT, such as chat.example.com:7468: ")
	if err != nil {
		return config, nil, err
	}
	a.server = strings.TrimSpace(server)
	if !cli.IsHostPort(a.server) {
		return config, nil, cli.UsageErrorf("invalid server %q: must be HOST:PORT, such as chat.example.com:7468", a.server)
	}
	config.Server = a.server
	c, err = client.Open(ctx, config)
	return config, c, err
}

// noteMissingUser returns the error of a command without an address.
func (a *app) noteMissingUser(ctx context.Context) (client.Config, *client.Client, error) {
	config, err := a.loginConfig(ctx)
	return config, nil, err
}

// wasRefused reports whether it was the server that did not let the user in.
func wasRefused(err error) bool {
	var refused *protocol.Error
	return errors.As(err, &refused) || errors.Is(err, client.ErrNoTLS)
}

// offerAppPassword has the server make an app password for this device if the
// user wants that, and stores it. The chat uses it at once.
func (a *app) offerAppPassword(ctx context.Context, c *client.Client, config *client.Config, folder string) ([]configfile.Setting, error) {
	settings := a.currentSettings()
	answer, err := a.term.askLine(ctx, "Store an app password for this device, so that you are not asked again? [Y/n] ")
	if err != nil || strings.HasPrefix(strings.ToLower(strings.TrimSpace(answer)), "n") {
		return settings, err
	}
	id, password, err := c.AddAppPassword(ctx, deviceName(), time.Time{})
	if err != nil {
		a.printNote("the server makes no app password: %s; you will be asked for your password", explainError(err))
		return settings, nil
	}
	path := filepath.Join(folder, "app-password")
	if err := configfile.WriteSecret(path, password); err != nil {
		if bad := c.RemoveAppPassword(ctx, id); bad != nil {
			a.printNote("the app password %d is of no use: simp app remove %[1]d removes it", id)
		}
		return settings, err
	}
	a.printNote("the app password is in %s; simp app list shows it, and simp app remove %d revokes it", path, id)
	config.Password, config.Token = password, nil
	return append(settings, configfile.Setting{Key: "password_file", Value: path}), nil
}

// addDeviceKey puts the key of this device on the user's list, which the session
// of an app password could not do.
func (a *app) addDeviceKey(ctx context.Context, c *client.Client) {
	_, _, err := trust.New(c, a.openKeyring(c)).EnsureDevice(ctx, session.KeyName)
	if err != nil && !errors.Is(err, client.ErrNotSupported) {
		a.printNote("messages are not signed: %s", explainError(err))
	}
}

// deviceName returns the name for the app password of this device.
func deviceName() string {
	host, err := os.Hostname()
	if err != nil || !protocol.ValidNote(host) {
		host = ""
	}
	return "simp on " + cmp.Or(host, "a terminal")
}
