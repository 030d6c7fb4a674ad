package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	testName = regexp.MustCompile("`(Test[A-Z][A-Za-z0-9]*)`")
	testFunc = regexp.MustCompile(`(?m)^func (Test\w+)\(`)
)

// TestPageNamesTests checks that every test that docs/faults.md names exists.
func TestPageNamesTests(t *testing.T) {
	const root = "../../.."
	page, err := os.ReadFile(root + "/docs/faults.md")
	if err != nil {
		t.Fatal(err)
	}
	exists := map[string]bool{}
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		source, err := os.ReadFile(path)
		for _, match := range testFunc.FindAllSubmatch(source, -1) {
			exists[string(match[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	named := testName.FindAllSubmatch(page, -1)
	if len(named) == 0 {
		t.Fatal("docs/faults.md names no test")
	}
	for _, match := range named {
		if name := string(match[1]); !exists[name] {
			t.Errorf("docs/faults.md names %s, which does not exist", name)
		}
	}
}
