package main

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// measure measures how soon the contacts are on the screen, how soon a key is,
// and how much memory a conversation of 10,000 messages takes. The bounds are
// those of a machine that does other things too.
func (t *test) measure() error {
	const messages = 10_000
	if err := t.Succeed("", "simp", append(t.Person(t.Nodes[0], "bob"), "contact", "add", "alice@"+domain)...); err != nil {
		return err
	}
	begun := time.Now()
	err := steps(
		func() error { return t.openChat(t.Nodes[1], "bob", 80, 24, nil, "alice") },
		t.sees("bob", "1 alice", "connected; bob@example.com is available"),
	)
	if err != nil {
		return err
	}
	start := time.Since(begun)
	lines := strings.Repeat("this is one of very many messages in this conversation\n", messages-1) + "the last one\n"
	// Signed messages would be limited by how often keys may be asked for.
	if code, said, err := t.Run(lines, "simp", append(t.Person(t.Nodes[0], "alice"), "chat", "--no-sign", "bob")...); err != nil || code != 0 {
		return fmt.Errorf("simp chat exits %d: %.200s, %v", code, said, err)
	}
	if _, err := t.tmux.see("bob", ": the last one"); err != nil {
		return err
	}
	key, err := t.timeKeys()
	if err != nil {
		return err
	}
	memory, err := t.memoryOf("bob")
	if err != nil {
		return err
	}
	fmt.Printf("    start to contacts %d ms; key to screen %d ms (median, of which tmux takes some); %d messages in %.1f MiB\n",
		start.Milliseconds(), key.Milliseconds(), messages, memory)
	if memory > 40 {
		return fmt.Errorf("it takes %.1f MiB", memory)
	}
	return nil
}

// timeKeys returns the median time from a key to its letter on the screen.
func (t *test) timeKeys() (time.Duration, error) {
	var times []time.Duration
	text := ""
	for i := range 21 {
		text += string(rune('a' + i))
		begun := time.Now()
		if err := t.tmux.typed("bob", text[i:]); err != nil {
			return 0, err
		}
		for {
			screen, err := t.tmux.do("capture-pane", "-p", "-t", target("bob"))
			if err != nil {
				return 0, err
			}
			if strings.Contains(screen, "> "+text) {
				break
			}
			if time.Since(begun) > 10*time.Second {
				return 0, fmt.Errorf("a key is not shown:\n%s", screen)
			}
		}
		times = append(times, time.Since(begun))
	}
	slices.Sort(times)
	return times[len(times)/2], nil
}

// memoryOf returns the resident memory of the program in a terminal, in MiB.
func (t *test) memoryOf(name string) (float64, error) {
	shell, err := t.tmux.format(name, "#{pane_pid}")
	if err != nil {
		return 0, err
	}
	children, err := os.ReadFile("/proc/" + shell + "/task/" + shell + "/children")
	if err != nil {
		return 0, err
	}
	for child := range strings.FieldsSeq(string(children)) {
		status, err := os.ReadFile("/proc/" + child + "/status")
		if err != nil {
			return 0, err
		}
		for line := range strings.Lines(string(status)) {
			if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "VmRSS:" {
				kilobytes, err := strconv.ParseFloat(fields[1], 64)
				return kilobytes / 1024, err
			}
		}
	}
	return 0, fmt.Errorf("nothing runs in the terminal of %s", name)
}
