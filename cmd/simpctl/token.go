package main

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"simpd/cluster/link/pki"
	"simpd/cmd/internal/cli"
	"simpd/protocol"
)

func (a *app) tokenCommand() *cobra.Command {
	var roles, as []string
	var lifetime time.Duration
	make := &cobra.Command{
		Use: "make NAME", Short: "Make a bearer token for a program", Args: cli.ArgumentCount(1, 1, "the program's name"),
		Long: "Make prints a new token, which the program keeps, and the line for the nodes' --token-file, which holds " +
			"only its hash. The token is shown this once.",
		RunE: func(_ *cobra.Command, args []string) error { return a.makeToken(args[0], roles, as, lifetime) },
	}
	make.Flags().StringArrayVar(&roles, "role", nil, "what it may do: "+strings.Join(pki.AllRoles(), ", ")+"; may be repeated")
	make.Flags().StringArrayVar(&as, "as", nil, "an `IMA` or @domain that it may send as; may be repeated")
	make.Flags().DurationVar(&lifetime, "lifetime", 0, "how long the token is valid, such as 8760h (default: until its line is removed)")
	return cli.CommandGroup("token", "Make bearer tokens", "", make)
}

// checkToken refuses what the nodes would not read.
func checkToken(name string, roles, as []string) error {
	if name == "" || strings.ContainsFunc(name, func(r rune) bool { return r == '#' || unicode.IsSpace(r) || !unicode.IsPrint(r) }) {
		return cli.UsageErrorf("invalid name %q: must be printable, without spaces and #", name)
	}
	for _, r := range roles {
		if !slices.Contains(pki.AllRoles(), r) {
			return cli.UsageErrorf("unknown role %q: must be one of %s", r, strings.Join(pki.AllRoles(), ", "))
		}
	}
	for _, s := range as {
		if p, err := protocol.ParsePattern(s); err != nil || p == (protocol.Pattern{}) || s == "*" {
			return cli.UsageErrorf("invalid --as %q: must be an address or @domain", s)
		}
	}
	return nil
}

func (a *app) makeToken(name string, roles, as []string, lifetime time.Duration) error {
	if len(roles) == 0 {
		return cli.UsageErrorf("give the token at least one role: --role %s", strings.Join(pki.AllRoles(), ", "))
	}
	if lifetime < 0 || lifetime > 0 && lifetime < time.Second {
		return cli.UsageErrorf("invalid --lifetime %v: must be at least a second", lifetime)
	}
	if err := checkToken(name, roles, as); err != nil {
		return err
	}
	token := rand.Text() + rand.Text()
	sum := sha256.Sum256([]byte(token))
	line := name + " sha256:" + hex.EncodeToString(sum[:])
	for _, r := range roles {
		line += " role=" + r
	}
	for _, s := range as {
		line += " as=" + s
	}
	if lifetime > 0 {
		line += " until=" + time.Now().Add(lifetime).UTC().Format(time.RFC3339)
	}
	if a.printsJSON() {
		return a.printStruct(struct {
			Token string `json:"token"`
			Line  string `json:"line"`
		}{token, line})
	}
	_, err := fmt.Fprintf(a.out, "%s\n\nthe line for the nodes' token file:\n%s\n", token, cli.Escape(line))
	return err
}
