// Consoletest checks the operators' console in a real browser, Chromium without a
// window, on a site of three real nodes: the types of its modules, every page
// and action, a node that is killed beneath a page, accessibility, and that
// nothing violates the policy of the page. With -images it writes the pictures
// of the handbook anew. It exits 0 only if all that holds.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"simpd/cmd/internal/cli"
)

// The folders of what is written in JavaScript, from the root of the tree. The
// tools are those of the web chat's tests.
const (
	toolsDir = "cmd/testkit/webtest/browser"
	testDir  = "cmd/testkit/consoletest/browser"
	imageDir = "docs/operators/images"
)

func main() {
	bin := flag.String("bin", "bin", "the folder of simpd, simp and simpctl")
	images := flag.Bool("images", false, "write the pictures of the handbook")
	flag.Parse()
	if err := run(*bin, *images); err != nil {
		fmt.Fprintln(cli.NewEscaper(os.Stderr), "console-test:", err)
		os.Exit(1)
	}
	fmt.Println("the console works in a browser")
}

// run runs each step until one fails.
func run(bin string, images bool) error {
	browser, err := findTools()
	if err != nil {
		return err
	}
	if bin, err = filepath.Abs(bin); err != nil {
		return err
	}
	env := append(os.Environ(), "BIN="+bin, "BROWSER="+browser)
	if images {
		env = append(env, "IMAGES="+imageDir)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
	defer cancel()
	for _, step := range [][]string{
		{"npm", "ci", "--no-audit", "--no-fund", "--prefix", toolsDir},
		{filepath.Join(toolsDir, "node_modules/.bin/tsc"), "-p", testDir},
		{"node", "--test", "--test-concurrency=1", testDir},
	} {
		c := exec.CommandContext(ctx, step[0], step[1:]...)
		c.Env, c.Stdout, c.Stderr = env, os.Stdout, os.Stderr
		if err := c.Run(); err != nil {
			return fmt.Errorf("%s: %w", strings.Join(step, " "), err)
		}
	}
	return nil
}

// findTools returns the browser, or names the programs that are missing.
func findTools() (browser string, err error) {
	var missing []string
	for _, name := range []string{"node", "npm"} {
		if _, err := exec.LookPath(name); err != nil {
			missing = append(missing, name)
		}
	}
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil && browser == "" {
			browser = path
		}
	}
	if browser == "" {
		missing = append(missing, "chromium")
	}
	if len(missing) > 0 {
		return "", errors.New("these are missing here: " + strings.Join(missing, ", ") + "; on Debian install nodejs, npm and chromium")
	}
	return browser, nil
}
