package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"simpd/cmd/internal/cli"
	"simpd/cmd/simp/internal/configfile"
)

// settingNames are the flags that may be variables, and lines of the
// configuration file, as well.
var settingNames = []string{"user", "server", "dns", "tls-ca", "tls", "plaintext", "password-file", "output"}

// resolveSettings takes from the environment what no flag has said, and from
// the configuration file what neither has said, and checks it all.
func (a *app) resolveSettings(c *cobra.Command) error {
	f := c.Flags()
	names := append([]string{"config"}, settingNames...)
	if err := cli.SetFromEnvironment(f, "SIMP_", a.env, names...); err != nil {
		return err
	}
	given := make(map[string]bool)
	for _, name := range names {
		given[name] = f.Changed(name)
	}
	if err := a.readConfigFile(c, given); err != nil {
		return err
	}
	switch {
	case a.output != "text" && a.output != "json":
		return cli.UsageErrorf("invalid --output %q: must be text or json", a.output)
	case a.plaintext && (a.tls || a.tlsCA != ""):
		return cli.UsageErrorf("--plaintext can't be combined with --tls or --tls-ca")
	case a.plaintext && a.server == "":
		return cli.UsageErrorf("--plaintext requires --server, on this machine")
	}
	return nil
}

// readConfigFile applies the configuration file, if there is one. given are the
// settings that a flag or a variable has.
func (a *app) readConfigFile(c *cobra.Command, given map[string]bool) error {
	if a.configFile == "" {
		folder := configfile.Folder(a.env)
		if folder == "" {
			return nil
		}
		a.configFile = filepath.Join(folder, "config.yaml")
		if !configfile.IsThere(a.configFile) {
			return nil
		}
	}
	a.isConfigured = true
	var keys []string
	for _, name := range settingNames {
		keys = append(keys, strings.ReplaceAll(name, "-", "_"))
	}
	settings, err := configfile.Read(a.configFile, keys)
	if err != nil {
		return cli.UsageErrorf("%v", err)
	}
	isOther := a.isOtherUser(settings) || c.CommandPath() == "simp join" // which makes another user
	for _, s := range settings {
		name := strings.ReplaceAll(s.Key, "_", "-")
		if s.Value == "" || given[name] || isOther && name != "output" || !a.appliesTo(c, name, given) {
			continue
		}
		if err := a.applySetting(c.Flags(), name, s); err != nil {
			return err
		}
	}
	return nil
}

// isOtherUser reports whether the user has named another address than the
// configuration file, whose server and password are not that one's.
func (a *app) isOtherUser(settings []configfile.Setting) bool {
	i := slices.IndexFunc(settings, func(s configfile.Setting) bool { return s.Key == "user" })
	return a.user != "" && (i < 0 || !strings.EqualFold(settings[i].Value, a.user))
}

// appliesTo reports whether a setting of the file applies to a command, with
// what flags and variables say.
func (a *app) appliesTo(c *cobra.Command, name string, given map[string]bool) bool {
	switch name {
	case "tls", "tls-ca", "plaintext": // these go together
		return !given["tls"] && !given["tls-ca"] && !given["plaintext"]
	case "password-file":
		return a.env("SIMP_PASSWORD") == "" && !needsOwnPassword(c)
	}
	return true
}

// needsOwnPassword reports whether a command may change what no session of an
// app password can change: passwords and keys.
func needsOwnPassword(c *cobra.Command) bool {
	for _, path := range []string{"simp passwd", "simp app", "simp key"} {
		if c.CommandPath() == path || strings.HasPrefix(c.CommandPath(), path+" ") {
			return true
		}
	}
	return false
}

func (a *app) applySetting(f *pflag.FlagSet, name string, s configfile.Setting) error {
	value := s.Value
	if name == "tls-ca" || name == "password-file" {
		if !filepath.IsAbs(value) {
			value = filepath.Join(filepath.Dir(a.configFile), value)
		}
	}
	if flag := f.Lookup(name); flag.Value.Set(value) != nil {
		return cli.UsageErrorf("%s:%d: %s", a.configFile, s.Line, cli.VariableError(s.Key, value, flag))
	}
	if name == "output" && value != "text" && value != "json" {
		return cli.UsageErrorf("%s:%d: invalid output %q: must be text or json", a.configFile, s.Line, value)
	}
	a.keptPassword = a.keptPassword || name == "password-file"
	return nil
}

// currentSettings returns what a configuration file has to say to connect as
// this run does.
func (a *app) currentSettings() []configfile.Setting {
	settings := []configfile.Setting{{Key: "user", Value: a.user}}
	for key, value := range map[string]string{"server": a.server, "dns": a.dns, "tls_ca": absolute(a.tlsCA)} {
		if value != "" {
			settings = append(settings, configfile.Setting{Key: key, Value: value})
		}
	}
	for key, value := range map[string]bool{"tls": a.tls, "plaintext": a.plaintext} {
		if value {
			settings = append(settings, configfile.Setting{Key: key, Value: fmt.Sprint(value)})
		}
	}
	slices.SortStableFunc(settings[1:], func(x, y configfile.Setting) int { return strings.Compare(x.Key, y.Key) })
	return settings
}

// absolute makes a path one that is right from everywhere.
func absolute(path string) string {
	if path == "" {
		return ""
	}
	if full, err := filepath.Abs(path); err == nil {
		return full
	}
	return path
}
