package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestBackupAndRestore(t *testing.T) {
	s, file := newSite(t), filepath.Join(t.TempDir(), "site.simp")
	s.ok("one", "account", "add", "alice@example.com", "--password-stdin")
	if got := s.ok("", "backup", file); !strings.Contains(got, "1 account (0 disabled), 0 rules, 0 contacts, 0 invitations, 0 blocks, 0 reports, as of history 8f3a, index 3") {
		t.Errorf("got %q", got)
	}
	if r := s.do("", "backup", file); r.code != 1 || !strings.Contains(r.err, "already exists") {
		t.Errorf("over a file: %+v", r)
	}
	if got := s.ok("", "backup", "inspect", file, "--output", "json"); !strings.Contains(got, `"accounts": "1"`) {
		t.Errorf("got %q", got)
	}
	s.ok("two", "account", "passwd", "alice@example.com", "--password-stdin")
	s.ok("x", "account", "add", "bob@example.com", "--password-stdin")
	if got := s.ok("", "restore", file, "--yes"); !strings.HasPrefix(got, "restored: 1 account, 0 rules, 0 contacts, 0 invitations, 0 blocks, 0 reports; the history is now ") {
		t.Errorf("got %q", got)
	}
	if !s.fits("alice@example.com", "one") || s.fits("bob@example.com", "x") || s.table.History() == "8f3a" {
		t.Error("the site is not as the backup has it")
	}
	damage(t, file)
	if r := s.do("", "restore", file, "--yes"); r.code != 1 || !strings.Contains(r.err, "damaged") {
		t.Errorf("of a damaged file: %+v", r)
	}
}

func TestAnEmptyBackupHasToBeAllowed(t *testing.T) {
	s, file := newSite(t), filepath.Join(t.TempDir(), "site.simp")
	if r := s.do("", "backup", file); r.code != 1 || !strings.Contains(r.err, "no accounts") {
		t.Errorf("got %+v", r)
	}
	s.ok("", "backup", "--allow-empty", file)
	if r := s.do("", "restore", "--yes", file); r.code != 1 || !strings.Contains(r.err, "holds no accounts, and would empty the site; nothing was changed") {
		t.Errorf("got %+v", r)
	}
	s.ok("", "restore", "--yes", "--allow-empty", file)
}

func TestBackupThroughAPipe(t *testing.T) {
	s := newSite(t)
	s.ok("one", "account", "add", "alice@example.com", "--password-stdin")
	whole := s.ok("", "backup", "-")
	if got := s.do(whole, "backup", "inspect", "-"); got.code != 0 || !strings.HasPrefix(got.out, "standard input is sound: 1 account ") {
		t.Errorf("got %+v", got)
	}
	if got := s.do(whole, "restore", "-", "--yes"); got.code != 0 || !strings.HasPrefix(got.out, "restored: 1 account") {
		t.Errorf("got %+v", got)
	}
	if got := simpctlAt(t, &console{terminal: true}, "", "--insecure", "--addr", s.addr, "backup", "-"); got.code != 2 || got.out != "" {
		t.Errorf("to a terminal: %+v", got)
	}
	if _, err := os.Lstat("-"); err == nil {
		t.Error("a file named - was written")
	}
}

func damage(t *testing.T, file string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
}
