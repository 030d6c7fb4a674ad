package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// configured returns a console whose user has a configuration file.
func configured(t *testing.T, content string) (c *console, file string) {
	t.Helper()
	folder := t.TempDir()
	file = filepath.Join(folder, "simp", "config.yaml")
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	writeFile(t, file, content, 0o600)
	return newConsole(map[string]string{"XDG_CONFIG_HOME": folder, "XDG_DATA_HOME": folder}), file
}

func writeFile(t *testing.T, path, content string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
}

func TestConfigurationFile(t *testing.T) {
	s := newSite(t)
	c, file := configured(t, "user: alice@example.com\nserver: "+s.addr+"\nplaintext: true\npassword_file: secret\n")
	secret := filepath.Join(filepath.Dir(file), "secret")
	writeFile(t, secret, "app-secret\n", 0o600)
	query := func(args ...string) (int, string) {
		c.out.Reset()
		c.err.Reset()
		return c.run(t.Context(), strings.NewReader(""), args...), c.out.String() + c.err.String()
	}
	if code, said := query("query", "bob@example.com"); code != 0 || !strings.HasPrefix(said, "bob@example.com") {
		t.Errorf("exit code %d, %s", code, said)
	}
	c.env["SIMP_PASSWORD"] = "wrong" // a variable comes before the file
	if code, said := query("query", "bob@example.com"); code != 1 || !strings.Contains(said, "401") {
		t.Errorf("exit code %d, %s", code, said)
	}
	delete(c.env, "SIMP_PASSWORD")
	if code, said := query("--server", "127.0.0.1:1", "query", "bob@example.com"); code != 1 || !strings.Contains(said, "127.0.0.1:1") { // and a flag
		t.Errorf("exit code %d, %s", code, said)
	}
	// The server and the password are one user's; and a password is not changed
	// with an app password.
	for _, args := range [][]string{{"--user", "bob@example.com", "--plaintext", "--server", s.addr, "query", "x@example.com"}, {"passwd"}, {"app", "list"}} {
		if code, said := query(args...); code != 2 || !strings.Contains(said, "no terminal to ask for the password") {
			t.Errorf("%q: exit code %d, %s", args, code, said)
		}
	}
	if err := os.Chmod(secret, 0o644); err != nil {
		t.Fatal(err)
	}
	if code, said := query("query", "bob@example.com"); code != 1 || !strings.Contains(said, "password_file in "+file) {
		t.Errorf("exit code %d, %s", code, said)
	}
}

// What is wrong with the file is told by file and line.
func TestConfigurationFileThatIsWrong(t *testing.T) {
	for content, want := range map[string]string{
		"user: alice@example.com\nsever: x\n": `:2: unknown key "sever"; the keys are user, server, dns, tls_ca, tls, plaintext, password_file, output`,
		"\nplaintext: perhaps\n":              `:2: invalid plaintext="perhaps": must be true or false`,
		"output: xml\n":                       `:1: invalid output "xml": must be text or json`,
		"user: [\n":                           ":1: invalid YAML",
	} {
		c, file := configured(t, content)
		if code := c.run(t.Context(), strings.NewReader(""), "query", "bob@example.com"); code != 2 || !strings.HasPrefix(c.err.String(), "simp: "+file+want) || strings.Count(c.err.String(), "\n") != 1 {
			t.Errorf("%q: exit code %d, %s", content, code, c.err.String())
		}
	}
	c := newConsole(nil)
	if code := c.run(t.Context(), strings.NewReader(""), "--config", "/nowhere/simp.yaml", "query", "bob@example.com"); code != 2 || !strings.Contains(c.err.String(), "/nowhere/simp.yaml") {
		t.Errorf("exit code %d, %s", code, c.err.String())
	}
}

// Somebody who has configured nothing is asked, and then never again.
func TestFirstRun(t *testing.T) {
	s := newSite(t)
	folder := t.TempDir()
	env := map[string]string{"XDG_CONFIG_HOME": folder, "XDG_CACHE_HOME": s.data}
	c := newConsole(env, "alice@example.com", "secret", "")
	flags := []string{"--plaintext", "--server", s.addr}
	if code := c.run(t.Context(), strings.NewReader("hi\n"), append(flags, "chat", "bob")...); code != 0 || withoutPresence(c.out.String()) != "-- delivered to bob@example.com: hi\n" {
		t.Fatalf("exit code %d, %s%s", code, c.out.String(), c.err.String())
	}
	if !strings.Contains(c.err.String(), "simp app remove 7 revokes it") {
		t.Errorf("it says %s", c.err.String())
	}
	for name, want := range map[string]string{
		"app-password": "app-secret\n",
		"config.yaml": "# Settings of simp; flags and SIMP_... variables come first.\nuser: alice@example.com\nplaintext: true\nserver: " + s.addr +
			"\npassword_file: " + filepath.Join(folder, "simp", "app-password") + "\n",
	} {
		path := filepath.Join(folder, "simp", name)
		got, err := os.ReadFile(path)
		if err != nil || string(got) != want {
			t.Errorf("%s is %q, %v", name, got, err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, %v", name, info.Mode(), err)
		}
	}
	c = newConsole(env) // nobody is asked, and no flag is needed
	if code := c.run(t.Context(), strings.NewReader("again\n"), "chat", "bob"); code != 0 || !strings.Contains(c.out.String(), "delivered") {
		t.Errorf("exit code %d, %s%s", code, c.out.String(), c.err.String())
	}
}

func TestFirstRunWithoutAppPassword(t *testing.T) {
	s := newSite(t)
	folder := t.TempDir()
	c := newConsole(map[string]string{"XDG_CONFIG_HOME": folder, "XDG_DATA_HOME": t.TempDir()}, "alice@example.com", "secret", "n")
	if code := c.run(t.Context(), strings.NewReader(""), "--plaintext", "--server", s.addr, "chat"); code != 0 {
		t.Fatalf("exit code %d, %s", code, c.err.String())
	}
	got, err := os.ReadFile(filepath.Join(folder, "simp", "config.yaml"))
	if err != nil || strings.Contains(string(got), "password") {
		t.Errorf("%s, %v", got, err)
	}
	for _, answers := range [][]string{{"alice"}, {"alice@example.com", "wrong"}} { // nothing is stored of what fails
		folder := t.TempDir()
		c := newConsole(map[string]string{"XDG_CONFIG_HOME": folder, "XDG_DATA_HOME": t.TempDir()}, answers...)
		if code := c.run(t.Context(), strings.NewReader(""), "--plaintext", "--server", s.addr, "chat"); code == 0 || strings.Contains(c.err.String(), "stored") {
			t.Errorf("exit code %d, %s", code, c.err.String())
		}
		if entries, err := os.ReadDir(folder); err != nil || len(entries) != 0 {
			t.Errorf("%v, %v", entries, err)
		}
	}
	c = newConsole(nil)
	if code := c.run(t.Context(), strings.NewReader(""), "chat"); code != 2 || !strings.Contains(c.err.String(), "--user is missing") {
		t.Errorf("exit code %d, %s", code, c.err.String())
	}
}

// A server that can't be found by the address is asked for.
func TestFirstRunWithoutServer(t *testing.T) {
	s := newSite(t)
	folder := t.TempDir()
	c := newConsole(map[string]string{"XDG_CONFIG_HOME": folder, "SIMP_DNS": "127.0.0.1:1", "XDG_DATA_HOME": t.TempDir()}, "alice@example.invalid", "secret", s.addr)
	code := c.run(t.Context(), strings.NewReader(""), "chat")
	if code != 1 || !strings.Contains(c.err.String(), "the server of example.invalid can't be reached") || !strings.Contains(c.err.String(), "nothing was sent in clear") {
		t.Errorf("exit code %d, %s", code, c.err.String())
	}
}
