package main

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"simpd/cmd/internal/cli"
	"simpd/cmd/simp/internal/keyring"
	"simpd/cmd/simp/internal/trust"
	"simpd/protocol"
	"simpd/protocol/client"
	"simpd/protocol/signature"
)

const keyLong = `Key manages the keys with which your devices sign messages, and shows those of
others. A signature proves that a message was written on a device of its
sender. It does not hide the message from servers, and it lets others prove
what you wrote.

    simp key add laptop              make a key for this device
    simp key list                    show the keys of your devices
    simp key show                    show this device's key and its fingerprint
    simp key show bob@example.com    show bob's keys and their fingerprints
    simp key verify bob@example.com k3v8-0q2m-w7za-91td-6xpe
    simp key revoke KEY              when a device is lost

Others are shown that a key is new, unless an older device of yours vouches for
it: run simp key code on the new device, and simp key vouch CODE on the old one,
in place of simp key add.

The private key stays on this device, in a file that only you can read, below
$XDG_DATA_HOME/simp or ~/.local/share/simp.`

func (a *app) keyCommand() *cobra.Command {
	vouch := &cobra.Command{
		Use: "vouch CODE [NAME]", Short: "Add the key of a new device, and vouch for it", Args: cli.ArgumentCount(1, -1, "the code that simp key code shows on the new device"),
		RunE: func(c *cobra.Command, args []string) error {
			return a.vouchForKey(c.Context(), args[0], strings.Join(args[1:], " "))
		},
	}
	group := cli.CommandGroup("key", "Show and change the keys that sign your messages", keyLong,
		&cobra.Command{
			Use: "add [NAME]", Short: "Make a key for this device, and add it to your list", Args: cli.ArgumentCount(0, -1, "a name for the device"),
			RunE: func(c *cobra.Command, args []string) error { return a.addKey(c.Context(), strings.Join(args, " ")) },
		},
		&cobra.Command{Use: "list", Short: "Show the keys of your devices", Args: cli.ArgumentCount(0, 0, "no arguments"), RunE: a.runConnected(a.listKeys)},
		&cobra.Command{
			Use: "show [IMA]", Short: "Show fingerprints: this device's, or another user's", Args: cli.ArgumentCount(0, 1, "an address, or nothing"),
			RunE: func(c *cobra.Command, args []string) error { return a.showKeys(c.Context(), args) },
		},
		&cobra.Command{
			Use: "verify IMA FINGERPRINT", Short: "Mark a user's key as verified, after you compared its fingerprint", Args: cli.ArgumentCount(2, 2, "an address, and the fingerprint that the other user reads to you"),
			RunE: func(c *cobra.Command, args []string) error { return a.verifyKey(c.Context(), args[0], args[1]) },
		},
		&cobra.Command{
			Use: "forget IMA", Short: "Forget the keys of a user whose account was created again", Args: cli.ArgumentCount(1, 1, "an address"),
			RunE: func(c *cobra.Command, args []string) error { return a.forgetKeys(c.Context(), args[0]) },
		},
		&cobra.Command{
			Use: "revoke KEY", Short: "Revoke a key of yours", Args: cli.ArgumentCount(1, 1, "the key that simp key list shows"),
			RunE: a.runConnected(a.revokeKey),
		},
		&cobra.Command{Use: "code", Short: "Show the code of this new device, for simp key vouch on an old one", Args: cli.ArgumentCount(0, 0, "no arguments"), RunE: func(c *cobra.Command, _ []string) error {
			return a.withKeyring(c.Context(), func(_ *client.Client, ring *keyring.Keyring) error { return a.printKeyCode(ring) })
		}},
		vouch,
	)
	return orList(group, a.runConnected(a.listKeys))
}

// openKeyring returns the keyring of the user who is connected. Sites without
// TLS are for trying out, and many of them have the same users: each has
// keyrings of its own, in a folder of things that may be deleted.
func (a *app) openKeyring(c *client.Client) *keyring.Keyring {
	user, _ := c.User().PRECISFold()
	if !a.plaintext {
		return keyring.Open(a.dataFolder("XDG_DATA_HOME", ".local", "share"), user)
	}
	base := a.dataFolder("XDG_CACHE_HOME", ".cache")
	if base != "" {
		base = filepath.Join(base, "simp", url.PathEscape(c.History()))
	}
	return keyring.Open(base, user)
}

// dataFolder returns a folder for programs' files (XDG Base Directory
// Specification); "" if nothing tells.
func (a *app) dataFolder(variable string, below ...string) string {
	if base := a.env(variable); filepath.IsAbs(base) {
		return base
	}
	if home := cmp.Or(a.env("HOME"), a.env("USERPROFILE")); home != "" {
		return filepath.Join(append([]string{home}, below...)...)
	}
	return ""
}

// withKeyring connects, and calls do with the keyring.
func (a *app) withKeyring(ctx context.Context, do func(c *client.Client, ring *keyring.Keyring) error) error {
	return a.withClient(ctx, func(c *client.Client) error { return do(c, a.openKeyring(c)) })
}

func (a *app) addKey(ctx context.Context, name string) error {
	if !protocol.ValidNote(name) {
		return cli.UsageErrorf("a name has at most %d octets of UTF-8, and no control characters", protocol.MaxNote)
	}
	return a.withKeyring(ctx, func(c *client.Client, ring *keyring.Keyring) error {
		key, _, err := ring.EnsureDevice()
		if err != nil {
			return err
		}
		public := key.Public().(ed25519.PublicKey)
		list, err := c.Keys(ctx)
		if err != nil {
			return err
		}
		id := signature.KeyID(public)
		switch k, known := list.Key(id); {
		case known && k.RevokedAs != 0:
			return fmt.Errorf("the key of this device was revoked; remove %s to begin anew", ring.DevicePath())
		case known:
			return a.printSentence(map[string]string{"kid": id}, "the key of this device is in your list already: %s", signature.Fingerprint(id))
		}
		if err := trust.New(c, ring).AddKey(ctx, public, name, nil); err != nil {
			return err
		}
		if countLive(list) > 0 {
			a.printNote("others will see this key as new, because no older device of yours has vouched for it")
		}
		return a.printSentence(map[string]string{"kid": id}, "added the key of this device: %s", signature.Fingerprint(id))
	})
}

func countLive(list *signature.KeyList) (n int) {
	for _, k := range list.Keys() {
		if k.RevokedAs == 0 {
			n++
		}
	}
	return n
}

// printSentence prints a result: as JSON, or as a sentence.
func (a *app) printSentence(result any, format string, args ...any) error {
	if a.printsJSON() {
		return a.printJSON(result)
	}
	return a.printf("%s", cli.Escape(fmt.Sprintf(format, args...)))
}

// keyJSON is a key for programs.
type keyJSON struct {
	ID          string `json:"kid"`
	Name        string `json:"name,omitempty"`
	Fingerprint string `json:"fingerprint"`
	Created     string `json:"created"`
	VouchedBy   string `json:"vouched_by,omitempty"`
	Revoked     string `json:"revoked,omitempty"`
	ByOperator  bool   `json:"revoked_by_operator,omitempty"`
	ThisDevice  bool   `json:"this_device,omitempty"`
	Verified    bool   `json:"verified,omitempty"`
}

func (a *app) listKeys(ctx context.Context, c *client.Client, _ []string) error {
	list, err := c.Keys(ctx)
	if err != nil {
		return err
	}
	if len(list.Keys()) == 0 {
		a.printNote("you have no keys; simp key add makes one for this device")
	}
	ring, own := a.openKeyring(c), ""
	if key, err := ring.Device(); err == nil {
		own = signature.KeyID(key.Public().(ed25519.PublicKey))
	} else if !errors.Is(err, keyring.ErrNoDevice) {
		a.printNote("the key of this device can't be read: %v", err)
	}
	return a.printKeys(list, func(k *keyJSON) { k.ThisDevice = k.ID == own })
}

// printKeys prints a list of keys. mark adds details to each.
func (a *app) printKeys(list *signature.KeyList, mark func(*keyJSON)) error {
	for _, k := range list.Keys() {
		j := keyJSON{
			ID: k.ID, Name: k.Name, Fingerprint: signature.Fingerprint(k.ID), Created: k.Created.UTC().Format(protocol.TimeFormat), VouchedBy: k.By,
			ByOperator: k.RevokedBy == signature.ByOperator,
		}
		if k.RevokedAs != 0 {
			j.Revoked = k.Revoked.UTC().Format(protocol.TimeFormat)
		}
		mark(&j)
		if a.printsJSON() {
			if err := a.printJSON(j); err != nil {
				return err
			}
			continue
		}
		if err := a.printf("%s  %s  %s", j.Fingerprint, k.ID, cli.Escape(j.describe())); err != nil {
			return err
		}
	}
	return nil
}

// describe returns the details of a key in words.
func (j *keyJSON) describe() string {
	parts := []string{j.Name}
	if j.Name == "" {
		parts[0] = "(no name)"
	}
	if j.ThisDevice {
		parts = append(parts, "this device")
	}
	if j.Verified {
		parts = append(parts, "verified")
	}
	switch {
	case j.ByOperator:
		parts = append(parts, "revoked by an operator")
	case j.Revoked != "":
		parts = append(parts, "revoked")
	case j.VouchedBy != "":
		parts = append(parts, "an older device vouches for it")
	}
	return strings.Join(parts, ", ")
}

func (a *app) showKeys(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return a.withKeyring(ctx, func(_ *client.Client, ring *keyring.Keyring) error { return a.showOwnKey(ring) })
	}
	user, err := parseAddress(args[0])
	if err != nil {
		return err
	}
	return a.withKeyring(ctx, func(c *client.Client, ring *keyring.Keyring) error {
		list, err := c.KeysOf(ctx, user)
		if err != nil {
			return err
		}
		known, err := ring.Contact(trust.Name(user))
		if err != nil {
			return err
		}
		if len(list.Keys()) == 0 {
			a.printNote("%s has no keys, or takes no messages from you", user)
		}
		return a.printKeys(list, func(k *keyJSON) { k.Verified = known.IsVerified(k.ID) })
	})
}

func (a *app) showOwnKey(ring *keyring.Keyring) error {
	key, err := ring.Device()
	if err != nil {
		return err
	}
	id := signature.KeyID(key.Public().(ed25519.PublicKey))
	return a.printSentence(keyJSON{ID: id, Fingerprint: signature.Fingerprint(id), ThisDevice: true}, "%s  %s", signature.Fingerprint(id), id)
}

func (a *app) verifyKey(ctx context.Context, ima, fingerprint string) error {
	user, err := parseAddress(ima)
	if err != nil {
		return err
	}
	return a.withKeyring(ctx, func(c *client.Client, ring *keyring.Keyring) error {
		if err := trust.New(c, ring).MarkVerified(ctx, user, fingerprint); err != nil {
			return err
		}
		return a.printSentence(map[string]string{"fingerprint": fingerprint}, "the key %s of %s is verified", fingerprint, user)
	})
}

func (a *app) forgetKeys(ctx context.Context, ima string) error {
	user, err := parseAddress(ima)
	if err != nil {
		return err
	}
	return a.withKeyring(ctx, func(_ *client.Client, ring *keyring.Keyring) error {
		if err := ring.Forget(trust.Name(user)); err != nil {
			return err
		}
		return a.printSentence(map[string]string{"ima": user.String()}, "forgot the keys of %s", user)
	})
}

func (a *app) revokeKey(ctx context.Context, c *client.Client, args []string) error {
	list, err := c.Keys(ctx)
	if err != nil {
		return err
	}
	for _, k := range list.Keys() {
		if k.ID == args[0] || signature.Fingerprint(k.ID) == strings.ToLower(args[0]) {
			if _, err := c.RevokeKey(ctx, k.ID); err != nil {
				return err
			}
			return a.printSentence(map[string]string{"kid": k.ID}, "the key %s is revoked", signature.Fingerprint(k.ID))
		}
	}
	return fmt.Errorf("you have no key %s; simp key list shows your keys", args[0])
}

// codePrefix begins a code, which could look like a flag otherwise.
const codePrefix = "key:"

// printKeyCode prints the public key of this device, for an older device.
func (a *app) printKeyCode(ring *keyring.Keyring) error {
	key, _, err := ring.EnsureDevice()
	if err != nil {
		return err
	}
	code := codePrefix + base64.RawURLEncoding.EncodeToString(key.Public().(ed25519.PublicKey))
	return a.printSentence(map[string]string{"code": code}, "%s", code)
}

func (a *app) vouchForKey(ctx context.Context, code, name string) error {
	public, err := base64.RawURLEncoding.Strict().DecodeString(strings.TrimPrefix(code, codePrefix))
	if err != nil || signature.CheckKey(public) != nil {
		return cli.UsageErrorf("invalid code %q: must be what simp key code shows on the new device", code)
	}
	if !protocol.ValidNote(name) {
		return cli.UsageErrorf("a name has at most %d octets of UTF-8, and no control characters", protocol.MaxNote)
	}
	return a.withKeyring(ctx, func(c *client.Client, ring *keyring.Keyring) error {
		own, err := ring.Device()
		if err != nil {
			return err
		}
		if err := trust.New(c, ring).AddKey(ctx, public, name, own); err != nil {
			return err
		}
		id := signature.KeyID(public)
		return a.printSentence(map[string]string{"kid": id}, "added the key %s, for which this device vouches", signature.Fingerprint(id))
	})
}
