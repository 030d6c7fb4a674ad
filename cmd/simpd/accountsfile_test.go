package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"simpd/cluster/accounts"
	"simpd/protocol"
)

// testSource is a source of accounts for tests.
type testSource struct{ host, secret string }

func (testSource) Type() string { return "test" }
func (testSource) Close()       {}

func (testSource) CheckPassword(context.Context, protocol.PasswordLogin) (accounts.Answer, error) {
	return accounts.Answer{}, nil
}

// testTypes is a type of sources with keys of each kind.
func testTypes() []sourceType {
	return []sourceType{{name: "test", begin: func() ([]sourceKey, func(sourceEnv) (accounts.Source, error)) {
		s := testSource{}
		keys := []sourceKey{
			{name: "host", required: true, help: "where it is", set: func(v []string) error {
				if s.host = v[0]; s.host == "bad" {
					return errors.New("it is bad")
				}
				return nil
			}},
			{name: "ports", form: list, set: func(v []string) error { return nil }},
			{name: "secret_file", set: func(v []string) error { s.secret = v[0]; return nil }},
		}
		return keys, func(sourceEnv) (accounts.Source, error) {
			if s.secret == "missing" {
				return nil, keyError{"secret_file", errors.New("there is no such file")}
			}
			return s, nil
		}
	}}}
}

func readAccountsText(t *testing.T, text string) (*accountsFile, []string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "accounts.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f, wrong := readAccountsFile(path, []string{"example.com", "example.net"}, testTypes())
	var all []string
	for _, p := range wrong {
		all = append(all, strings.TrimPrefix(p.Error(), path+":"))
	}
	return f, all
}

func TestAccountsFile(t *testing.T) {
	f, wrong := readAccountsText(t, "sources:\n  corp:\n    type: test\n    host: ldap.example.com\n    ports: [1, 2]\n  spare: {type: test, host: x}\n"+
		"domains:\n  EXAMPLE.com: [corp, table]\n  example.net: table\n")
	if len(wrong) > 0 {
		t.Fatal(wrong)
	}
	set, err := f.newSet(sourceEnv{logger: slog.New(slog.DiscardHandler)}, nil)
	if err != nil || set.Sources["corp"].(testSource).host != "ldap.example.com" {
		t.Errorf("%+v, %v", set, err)
	}
	if got := fmt.Sprint(set.Domains); got != "map[example.com:[corp table] example.net:[table]]" {
		t.Error(got)
	}
	if fmt.Sprint(f.unused) != "[spare]" || f.describe() != "example.com: corp, table; example.net: table" {
		t.Errorf("%v are unused in %s", f.unused, f.describe())
	}
	if f, wrong := readAccountsText(t, "# nothing\n"); len(wrong) > 0 || len(f.domains) > 0 {
		t.Errorf("an empty file: %v", wrong)
	}
}

// Each problem is said at its place, and what was meant.
func TestWrongAccountsFiles(t *testing.T) {
	const corp = "sources:\n  corp: {type: test, host: x}\n"
	for text, want := range map[string]string{
		"source: {}":                                                               `1:1: unknown key "source" (did you mean "sources"?)`,
		"sources: x":                                                               "1:10: must consist of lines like key: value",
		"sources:\n  table: {type: test}":                                          "2:3: table is the name of the site's own accounts: give the source another",
		"sources:\n  Corp: {type: test}":                                           `2:3: invalid name "Corp": must have 1 to 32 small letters, digits, - and _`,
		"sources:\n  corp: {type: tset}":                                           `2:16: unknown type "tset" (did you mean "test"?): must be one of test`,
		"sources:\n  corp: {host: x}":                                              "2:3: corp has no type: must be one of test",
		"sources:\n  corp: {type: test}":                                           "2:3: host is missing in corp: where it is",
		corp + "  corp: {}":                                                        "3:3: corp is set twice: first in line 2",
		corp + "sources: {}":                                                       "3:1: sources is set twice: first in line 1",
		corp + "domains:\n  example.org:":                                          "4:3: example.org is not a domain of this site (did you mean \"example.com\"?)",
		corp + "domains:\n  example.com:":                                          "4:3: example.com has no sources: name at least one, like table",
		corp + "domains:\n  a..b: table":                                           "4:3: invalid domain a..b: ",
		corp + "domains: {example.com: [cop]}":                                     `3:25: there is no source "cop" (did you mean "corp"?)`,
		corp + "domains: {example.com: [corp, corp]}":                              "3:31: corp is named twice for example.com",
		corp + "domains: {example.com: [[corp]]}":                                  "3:25: a source must be one value, not a list",
		"sources:\n  corp: {type: test, hots: x}":                                  `2:22: unknown key "hots" of a source of type test (did you mean "host"?)`,
		"sources:\n  corp: {type: test, host: [x]}":                                "2:28: host must be one value, not a list",
		"sources:\n  corp: {type: test, host: bad}":                                "2:28: host: it is bad",
		"sources:\n  corp:\n    type: test\n    host: x\n    secret_file: missing": "5:5: secret_file: there is no such file",
	} {
		_, wrong := readAccountsText(t, text)
		if len(wrong) != 1 || !strings.HasPrefix(wrong[0], want) {
			t.Errorf("%s:\ngot  %q\nwant %q", text, wrong, want)
		}
	}
}

// A source goes on as it is unless its keys, or the files that they name, have
// changed.
func TestUnchangedSourcesGoOn(t *testing.T) {
	secret := writeFile(t, "secret", "one\n")
	text := func(corp, club string) string {
		return fmt.Sprintf("sources:\n  corp: {type: ldap, servers: ldaps://%s, bind_dn: cn=simpd, bind_password_file: %s, base: dc=example}\n"+
			"  club: {type: callout, url: https://%s}\ndomains: {example.com: [corp, club]}\n", corp, secret, club)
	}
	var before *accountsFile
	for _, step := range []struct{ corp, club, secret, want string }{
		{"a.example", "b.example", "one\n", ""},
		{"a.example", "b.example", "one\n", "club corp"},
		{"a.example", "c.example", "one\n", "corp"},
		{"a.example", "c.example", "two\n", "club"},
		{"d.example", "c.example", "two\n", "club"},
	} {
		if err := os.WriteFile(secret, []byte(step.secret), 0o600); err != nil {
			t.Fatal(err)
		}
		f, wrong := readAccountsFile(writeFile(t, "accounts.yaml", text(step.corp, step.club)), []string{"example.com"}, sourceTypes())
		if len(wrong) > 0 {
			t.Fatal(wrong)
		}
		set, err := f.newSet(sourceEnv{logger: slog.New(slog.DiscardHandler)}, before)
		if err != nil {
			t.Fatal(err)
		}
		var same []string
		for _, name := range slices.Sorted(maps.Keys(set.Sources)) {
			if before != nil && before.made[name].Source == set.Sources[name] {
				same = append(same, name)
			}
		}
		if kept := strings.Join(same, " "); kept != step.want {
			t.Errorf("%+v: %q went on", step, kept)
		}
		before = f
	}
}

// Whatever an accounts file has become, it is read or refused, and each problem
// is on one of its lines.
func TestDamagedAccountsFiles(t *testing.T) {
	whole := "sources:\n  corp: # a remark\n    type: test\n    host: \"x\"\n    ports:\n      - 1\n      - &p 2\n  club: {type: test, host: y, ports: *p}\n" +
		"domains:\n  example.com: [corp, table]\n  'example.net': table\n? x\n: y\n<<: *p\n"
	random := rand.New(rand.NewPCG(3, 4))
	refused := 0
	for range 500 {
		content := damage(random, whole)
		path := filepath.Join(t.TempDir(), "accounts.yaml")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, wrong := readAccountsFile(path, nil, testTypes())
		for _, p := range wrong {
			if lines := len(linesOf(content)); p.at.line > lines {
				t.Fatalf("%v is not on one of the %d lines of %q", p, lines, content)
			}
			_ = p.Excerpt()
		}
		refused += min(len(wrong), 1)
	}
	if refused == 0 {
		t.Error("nothing was refused")
	}
}
