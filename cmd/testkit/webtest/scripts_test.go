package main

import (
	"strings"
	"testing"
)

// TestMissingToolsAreNamed: where nothing is installed, all that is missing is
// named at once.
func TestMissingToolsAreNamed(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	err := checkTools()
	if err == nil || !strings.Contains(err.Error(), "node, npm, chromium;") {
		t.Errorf("checkTools() = %v", err)
	}
}
