package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"simpd/cmd/testkit/site"
)

// tmux is a terminal multiplexer of this test's own; its windows are the
// terminals of people.
type tmux struct{ socket string }

// do runs a command of tmux and returns what it prints.
func (x tmux) do(args ...string) (string, error) {
	out, err := exec.Command("tmux", append([]string{"-S", x.socket, "-f", "/dev/null", "-u"}, args...)...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("tmux %s: %w: %s", args[0], err, out)
	}
	return string(out), nil
}

func (x tmux) end() { _, _ = x.do("kill-server") }

// open runs a command in a new terminal, which stays open when it ends. All
// octets that it writes are kept too.
func (x tmux) open(name string, width, height int, words []string) error {
	var line strings.Builder
	for _, w := range words {
		line.WriteString("'" + strings.ReplaceAll(w, "'", `'\''`) + "' ")
	}
	// The command waits until its output is being kept.
	ready := x.socket + "." + name + ".go"
	command := fmt.Sprintf("while ! test -e %s; do sleep 0.02; done; %s; echo EXIT $?; sleep 1000", ready, line.String())
	if _, err := x.do("new-session", "-d", "-s", name, "-x", fmt.Sprint(width), "-y", fmt.Sprint(height), command); err != nil {
		return err
	}
	if _, err := x.do("pipe-pane", "-t", target(name), "cat > "+x.octetFile(name)); err != nil {
		return err
	}
	return os.WriteFile(ready, nil, 0o600)
}

func target(name string) string { return "=" + name + ":" }

func (x tmux) octetFile(name string) string { return x.socket + "." + name + ".octets" }

// octets returns what was written to a terminal.
func (x tmux) octets(name string) (string, error) {
	b, err := os.ReadFile(x.octetFile(name))
	return string(b), err
}

func (x tmux) closeTerminal(name string) error {
	_, err := x.do("kill-session", "-t", "="+name)
	return err
}

// typed types a text; keys presses keys by their names.
func (x tmux) typed(name, text string) error {
	_, err := x.do("send-keys", "-t", target(name), "-l", text)
	return err
}

func (x tmux) keys(name string, keys ...string) error {
	_, err := x.do(append([]string{"send-keys", "-t", target(name)}, keys...)...)
	return err
}

// say types a line and sends it.
func (x tmux) say(name, line string) error {
	if err := x.typed(name, line); err != nil {
		return err
	}
	return x.keys(name, "Enter")
}

// see waits until a screen shows all of some texts, and returns it.
func (x tmux) see(name string, texts ...string) (string, error) {
	limit := time.Now().Add(site.Patience)
	for {
		screen, err := x.do("capture-pane", "-p", "-t", target(name))
		if err != nil {
			return "", err
		}
		missing := ""
		for _, text := range texts {
			if !strings.Contains(screen, text) {
				missing = text
			}
		}
		if missing == "" {
			return screen, nil
		}
		if time.Now().After(limit) {
			return "", fmt.Errorf("the screen of %s does not show %q:\n%s", name, missing, screen)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// format returns what tmux knows of a terminal.
func (x tmux) format(name, format string) (string, error) {
	out, err := x.do("display-message", "-p", "-t", target(name), format)
	return strings.TrimSpace(out), err
}
