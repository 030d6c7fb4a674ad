package main

import (
	"strings"
	"testing"
)

func TestWhatIsMissingIsNamed(t *testing.T) {
	if p, err := findSlapd([]string{t.TempDir()}); err == nil || !strings.Contains(err.Error(), "missing: slapd, slapadd") {
		t.Errorf("%+v: %v", p, err)
	}
}
