package main

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"time"
)

// steps does one thing after the other until one fails.
func steps(all ...func() error) error {
	for _, step := range all {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (t *test) says(user, line string) func() error {
	return func() error { return t.tmux.say(user, line) }
}

func (t *test) presses(user string, keys ...string) func() error {
	return func() error { return t.tmux.keys(user, keys...) }
}

func (t *test) sees(user string, texts ...string) func() error {
	return func() error {
		_, err := t.tmux.see(user, texts...)
		return err
	}
}

func (t *test) converse() error {
	return steps(
		func() error { return t.openChat(t.Nodes[0], "alice", 80, 24, nil, "bob") },
		func() error { return t.openChat(t.Nodes[1], "bob", 40, 10, nil, "alice") },
		t.sees("alice", "bob@example.com is available", "connected; alice@example.com is available"),
		t.sees("bob", "alice@example.com is available"),
		t.says("alice", "hello Bob, 日本語 and שלום and 👩‍💻"),
		t.sees("alice", "✓ delivered"), t.sees("bob", ": hello Bob, 日本語"),
		t.says("bob", "/state away at lunch"), t.sees("alice", "bob@example.com is away, at lunch"),
		t.says("alice", "/to carol"), t.says("alice", "are you there?"),
		t.sees("alice", "are you there?", "✗ not listening (/when)"),
		t.says("bob", "one more"), t.sees("alice", "(1)"),
		t.presses("alice", "C-p"), t.sees("alice", "── new ──", ": one more"),
	)
}

func (t *test) resize() error {
	size := func(user string, width, height int) func() error {
		return func() error {
			_, err := t.tmux.do("resize-window", "-t", target(user), "-x", fmt.Sprint(width), "-y", fmt.Sprint(height))
			return err
		}
	}
	cursor := func(want string) func() error {
		return func() error {
			if at, err := t.tmux.format("alice", "#{cursor_x},#{cursor_y}"); err != nil || at != want {
				return fmt.Errorf("the cursor is at %s, not %s (%v)", at, want, err)
			}
			return nil
		}
	}
	return steps(
		func() error { return t.tmux.typed("alice", "界x") },
		size("alice", 40, 10), t.sees("alice", "1 bob away", "> 界x"), cursor("5,9"),
		size("alice", 120, 30), t.sees("alice", "> 界x", "│"), cursor("5,29"),
		t.presses("alice", "C-u"), size("alice", 80, 24), t.sees("alice", ": one more"),
	)
}

func (t *test) paste() error {
	var lines []string
	for i := range 50 {
		lines = append(lines, fmt.Sprint("line ", i+1, "."))
	}
	before, err := t.records("bob")
	if err != nil {
		return err
	}
	err = steps(
		func() error {
			_, err := t.tmux.do("set-buffer", strings.Join(lines, "\n"))
			return err
		},
		func() error {
			_, err := t.tmux.do("paste-buffer", "-p", "-t", target("alice"))
			return err
		},
		t.sees("alice", "line 50."), t.presses("alice", "Enter"),
		t.sees("bob", "line 50."), t.sees("alice", "line 50.  ✓ delivered"),
	)
	if err != nil {
		return err
	}
	records, err := t.records("bob")
	if err != nil {
		return err
	}
	if want := "<alice@example.com> " + strings.Join(lines, `\n`); len(records) != len(before)+1 || !strings.Contains(records[len(before)], want) {
		return fmt.Errorf("it has become %q", records[len(before):])
	}
	return nil
}

// records returns the lines of a history file, without their times.
func (t *test) records(user string) ([]string, error) {
	b, err := os.ReadFile(t.history(user))
	if err != nil {
		return nil, err
	}
	var all []string
	for line := range strings.Lines(string(b)) {
		_, record, _ := strings.Cut(strings.TrimSpace(line), " ")
		all = append(all, record)
	}
	return all, nil
}

func (t *test) hostile() error {
	title, err := t.tmux.format("bob", "#{pane_title}")
	if err != nil {
		return err
	}
	text := "\x1b[2J\x1b]0;owned\a\x1b]9;owned\a\u202egnp.exe\u200b \u009b31m\r\n12:00 alice: forged\r\n" + strings.Repeat("x", 60<<10) + "\r\nend of it"
	if code, said, err := t.Run(text, "simp", append(t.Person(t.Nodes[2], "mallory"), "send", "bob@"+domain, "-")...); err != nil || code != 0 {
		return fmt.Errorf("simp send exits %d: %s, %v", code, said, err)
	}
	err = steps(t.says("bob", "/to mallory"), t.sees("bob", "end of it"), t.presses("bob", strings.Split(strings.Repeat("PPage ", 400)+"PPage", " ")...),
		t.sees("bob", `\x1b[2J\x1b]0;owned\x07`, "      12:00 alice: forged"), t.presses("bob", "End"), t.says("bob", "/to alice"))
	if err != nil {
		return err
	}
	if now, err := t.tmux.format("bob", "#{pane_title}"); err != nil || now != title {
		return fmt.Errorf("the title of the terminal has become %q (%v)", now, err)
	}
	octets, err := t.tmux.octets("bob")
	if err != nil {
		return err
	}
	if bad := regexp.MustCompile("\u202e|\u200b|\u009b|\x1b]0|\x1b]9;owned").FindString(octets); bad != "" {
		return fmt.Errorf("%q has reached the terminal", bad)
	}
	return nil
}

func (t *test) modes() error {
	for _, m := range []struct {
		variable string
		never    string // what must not be among the octets
		see      []string
	}{
		{"TERM=dumb", "\x1b", []string{"-- delivered to alice@example.com: from carol"}},
		{"NO_COLOR=yes", `\x1b\[[0-9;]*[34][0-9][;m]`, []string{"✓ delivered"}},
		{"LC_ALL=C", `[^\x00-\x7f]`, []string{"+ delivered"}},
	} {
		err := steps(
			func() error { return t.openChat(t.Nodes[2], "carol", 80, 24, []string{m.variable}, "alice") },
			t.sees("carol", "alice@example.com is available"), t.says("carol", "from carol"),
			t.sees("carol", m.see...), t.presses("carol", "C-c", "C-c"), t.sees("carol", "EXIT 0"),
		)
		if err != nil {
			return fmt.Errorf("%s: %w", m.variable, err)
		}
		octets, err := t.tmux.octets("carol")
		if err != nil {
			return err
		}
		if bad := regexp.MustCompile(m.never).FindString(octets); bad != "" || octets == "" {
			return fmt.Errorf("%s: %q was written to the terminal", m.variable, bad)
		}
		if err := t.tmux.closeTerminal("carol"); err != nil {
			return err
		}
	}
	code, said, err := t.Run("through a pipe\n", "simp", append(t.Person(t.Nodes[2], "carol"), "chat", "alice")...)
	if err != nil || code != 0 || !strings.Contains(said, "-- delivered to alice@example.com: through a pipe") || strings.Contains(said, "\x1b") {
		return fmt.Errorf("through a pipe: exit code %d, %q, %v", code, said, err)
	}
	return nil
}

// killNode kills bob's node while alice sends, and starts it again. Whatever she
// was told to be delivered, bob has; and he has nothing twice.
func (t *test) killNode() error {
	send := func(from, to int) func() error {
		return func() error {
			for i := from; i < to; i++ {
				if err := t.tmux.say("alice", fmt.Sprintf("count %d.", i)); err != nil {
					return err
				}
			}
			return nil
		}
	}
	err := steps(
		send(0, 20),
		func() error { t.Nodes[1].Kill(); return nil },
		send(20, 60), t.sees("bob", "not connected"), t.sees("alice", "bob@example.com is not listening"),
		func() error { return t.Nodes[1].Begin() },
		t.sees("bob", "connected; bob@example.com is away"), t.sees("alice", "bob@example.com is away"),
		send(60, 80), t.sees("bob", "count 79."), t.sees("alice", "count 79.  ✓ delivered"),
	)
	if err != nil {
		return err
	}
	for limit := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		settled, err := t.compareCounts()
		if err != nil || settled {
			return err
		}
		if time.Now().After(limit) {
			return fmt.Errorf("some of alice's messages have no outcome")
		}
	}
}

// compareCounts compares what alice was told with what bob has. settled: all 80
// messages have an outcome.
func (t *test) compareCounts() (settled bool, err error) {
	sent, err := t.records("alice")
	if err != nil {
		return false, err
	}
	received, err := t.records("bob")
	if err != nil {
		return false, err
	}
	had, outcomes, delivered := map[string]int{}, 0, 0
	for _, r := range received {
		if text, ok := strings.CutPrefix(r, "<alice@example.com> "); ok {
			had[text]++
		}
	}
	for i := range 80 {
		text := fmt.Sprintf("count %d.", i)
		if had[text] > 1 {
			return false, fmt.Errorf("bob has %q %d times", text, had[text])
		}
		for _, r := range sent {
			switch {
			case !strings.HasSuffix(r, ": "+text):
			case strings.HasPrefix(r, "-- delivered") && had[text] == 0:
				return false, fmt.Errorf("alice was told %q, and bob has no such message", r)
			case strings.HasPrefix(r, "-- not delivered") && had[text] > 0:
				return false, fmt.Errorf("alice was told %q, and bob has the message", r)
			case strings.HasPrefix(r, "-- delivered"):
				delivered++
				outcomes++
			default:
				outcomes++
			}
		}
	}
	return outcomes == 80 && delivered >= 20, nil
}

func (t *test) quit() error {
	return steps(
		func() error { return t.tmux.typed("alice", "never sent") },
		t.sees("alice", "> never sent"), t.presses("alice", "C-c"), t.sees("alice", "press Ctrl-C again to quit"),
		t.presses("alice", "C-c"), t.sees("alice", "EXIT "),
		func() error {
			if on, err := t.tmux.format("alice", "#{alternate_on} #{mouse_any_flag} #{cursor_flag}"); err != nil || on != "0 0 1" {
				return fmt.Errorf("the terminal is left as %q (%v)", on, err)
			}
			return t.tmux.closeTerminal("alice")
		},
		t.presses("bob", "C-c", "C-c"), t.sees("bob", "EXIT "),
		func() error { return t.tmux.closeTerminal("bob") },
	)
}
