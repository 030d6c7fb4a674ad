package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// The folders of what is written in JavaScript, from the root of the tree.
const (
	browserDir = "cmd/testkit/webtest/browser"
	moduleDir  = "protocol/webchat/test"
)

// checkTools names the programs that the tests need and that are missing.
func checkTools() error {
	var missing []string
	for _, name := range []string{"node", "npm"} {
		if _, err := exec.LookPath(name); err != nil {
			missing = append(missing, name)
		}
	}
	if _, err := findBrowser(); err != nil {
		missing = append(missing, "chromium")
	}
	if len(missing) > 0 {
		return fmt.Errorf("these are missing here: %s; on Debian install nodejs, npm and chromium", strings.Join(missing, ", "))
	}
	return nil
}

// runScripts checks the types of the web chat's modules and runs their tests,
// first those under Node, then those in a browser.
func runScripts(bin string) error {
	browser, err := findBrowser()
	if err != nil {
		return err
	}
	if bin, err = filepath.Abs(bin); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Minute)
	defer cancel()
	for _, step := range [][]string{
		{"npm", "ci", "--no-audit", "--no-fund", "--prefix", browserDir},
		{filepath.Join(browserDir, "node_modules/.bin/tsc"), "-p", moduleDir},
		{filepath.Join(browserDir, "node_modules/.bin/tsc"), "-p", browserDir},
		{"node", "--test", moduleDir},
		{"node", "--test", "--test-concurrency=1", browserDir},
	} {
		c := exec.CommandContext(ctx, step[0], step[1:]...)
		c.Env = append(os.Environ(), "BIN="+bin, "BROWSER="+browser)
		c.Stdout, c.Stderr = os.Stdout, os.Stderr
		if err := c.Run(); err != nil {
			return fmt.Errorf("%s: %w", strings.Join(step, " "), err)
		}
	}
	return nil
}
