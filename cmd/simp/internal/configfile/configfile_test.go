package configfile

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var keys = []string{"user", "server", "plaintext"}

func write(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestRead(t *testing.T) {
	for content, want := range map[string][]Setting{
		"":                  nil,
		"# nothing\n":       nil,
		"user: alice@x.org": {{"user", "alice@x.org", 1}},
		"\ufeffuser: a@x\n": {{"user", "a@x", 1}},
		"user: 'a@x'\n\n# no\nserver: \"127.0.0.1:7467\"\nplaintext: true\n": {{"user", "a@x", 1}, {"server", "127.0.0.1:7467", 4}, {"plaintext", "true", 5}},
		"user:\n": {{"user", "", 1}},
	} {
		if got, err := Read(write(t, content), keys); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %v, %v", content, got, err)
		}
	}
}

func TestReadErrors(t *testing.T) {
	for content, want := range map[string]string{
		"user: a@x\nusr: b@x":         `:2: unknown key "usr"; the keys are user, server, plaintext`,
		"user: a@x\n\nuser: b@x":      ":3: user is set twice: first in line 1",
		"just text":                   ":1: must consist of lines like user: alice@example.com",
		"- a\n- b":                    ":1: must consist of lines like",
		"user: [a, b]":                ":1: user must be one value",
		"user: a@x\nserver: \"x":      ":2: invalid YAML",
		"user: a@x\n  server: x\n y:": "invalid YAML",
	} {
		path := write(t, content)
		if _, err := Read(path, keys); err == nil || !strings.HasPrefix(err.Error(), path+":") || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v; want %s", content, err, want)
		}
	}
	if _, err := Read(filepath.Join(t.TempDir(), "none"), keys); err == nil {
		t.Error("a file that is not there is read")
	}
}

func TestWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "b", "config.yaml")
	settings := []Setting{{Key: "user", Value: `"o'neil #1"@example.com`}, {Key: "server", Value: "[::1]:7467"}, {Key: "plaintext", Value: "true"}}
	if err := Write(path, settings); err != nil {
		t.Fatal(err)
	}
	got, err := Read(path, keys)
	if err != nil || len(got) != 3 {
		t.Fatalf("%v, %v", got, err)
	}
	for i, s := range settings {
		if got[i].Key != s.Key || got[i].Value != s.Value {
			t.Errorf("%v was written as %v", s, got[i])
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if err := Write(path, nil); err == nil {
		t.Error("a file was replaced")
	}
}

func TestFolder(t *testing.T) {
	for _, c := range []struct{ xdg, home, want string }{
		{"/x", "/home/a", "/x/simp"}, {"", "/home/a", "/home/a/.config/simp"}, {"relative", "/home/a", "/home/a/.config/simp"}, {"", "", ""},
	} {
		env := func(name string) string { return map[string]string{"XDG_CONFIG_HOME": c.xdg, "HOME": c.home}[name] }
		if got := Folder(env); got != c.want {
			t.Errorf("%+v: %q", c, got)
		}
	}
}
