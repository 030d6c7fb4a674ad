package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// module is the part of go.mod that says where the sources of simpd are.
type module struct {
	Require []struct{ Path, Version string }
	Replace []struct {
		Old, New struct{ Path, Version string }
	}
}

// This module names the sources of simpd by the command that
// docs/programs.md tells every module to use.
func TestModuleIsMadeAsThePageSays(t *testing.T) {
	page, err := os.ReadFile("../../programs.md")
	if err != nil {
		t.Fatal(err)
	}
	command := regexp.MustCompile(`(?m)^\$ go mod edit (.*)$`).FindSubmatch(page)
	if command == nil {
		t.Fatal("the page has no go mod edit")
	}
	made := filepath.Join(t.TempDir(), "go.mod")
	if err := os.WriteFile(made, []byte("module example.com/warehouse\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	goModEdit(t, append(strings.Fields(string(command[1])), made)...)
	said, here := readModule(t, made), readModule(t, "go.mod")
	if len(said.Replace) != 1 || !reflect.DeepEqual(here.Replace, said.Replace) {
		t.Errorf("go.mod replaces %v, and the page says %v", here.Replace, said.Replace)
	}
	for _, r := range here.Require {
		if r.Path == "simpd" && len(said.Require) == 1 && r == said.Require[0] {
			return
		}
	}
	t.Errorf("go.mod requires %v, and the page says %v", here.Require, said.Require)
}

func readModule(t *testing.T, path string) (m module) {
	t.Helper()
	if err := json.Unmarshal(goModEdit(t, "-json", path), &m); err != nil {
		t.Fatal(err)
	}
	return m
}

func goModEdit(t *testing.T, args ...string) []byte {
	t.Helper()
	out, err := exec.Command("go", append([]string{"mod", "edit"}, args...)...).Output()
	if err != nil {
		t.Fatalf("go mod edit %v: %v", args, err)
	}
	return out
}
