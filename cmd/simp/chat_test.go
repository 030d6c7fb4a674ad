package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// beginChat runs simp chat in line mode; what is written to the returned writer
// is what its user types.
func beginChat(t *testing.T, c *console, args ...string) (typed *io.PipeWriter, wait func() int, interrupt func()) {
	t.Helper()
	in, typed := io.Pipe()
	ctx, interrupt := context.WithCancel(t.Context())
	done := make(chan int, 1)
	go func() { done <- c.run(ctx, in, append([]string{"chat"}, args...)...) }()
	return typed, func() int { return <-done }, interrupt
}

func say(t *testing.T, to io.Writer, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if _, err := io.WriteString(to, line+"\n"); err != nil {
			t.Fatal(err)
		}
	}
}

// At the end of the input the program waits for the outcomes, and exits as simp
// send would for the worst one.
func TestChatExitsAsSendWould(t *testing.T) {
	s := newSite(t)
	for _, c := range []struct {
		to   string
		text string
		code int
		out  string
	}{
		{"bob@example.com", "hi\n", 0, "-- delivered to bob@example.com: hi\n"},
		{"bob", "one\n\ntwo", 0, "-- delivered to bob@example.com: one\n-- delivered to bob@example.com: two\n"},
		{"deaf", "hi\n", 3, "-- not delivered to deaf@example.com (not listening): hi\n"},
		{"silent", "hi\n", 4, "-- in doubt, silent@example.com: hi\n"},
		{"nobody", "hi\n", 1, "-- not delivered to nobody@example.com (no such user): hi\n"},
		{"rude", "hi\n", 1, "-- not delivered to rude@example.com (refused): hi\n"},
		{"full", "hi\n", 1, "-- not delivered to full@example.com (not reading): hi\n"},
		{"far@example.net", "hi\n", 1, "-- not delivered to far@example.net (unreachable): hi\n"},
		{"bob,deaf", "hi\n", 3, "-- delivered to bob@example.com: hi\n-- not delivered to deaf@example.com (not listening): hi\n"},
		{"deaf", "one\n/to silent\ntwo\n", 4, "-- not delivered to deaf@example.com (not listening): one\n-- in doubt, silent@example.com: two\n"},
		{"", "hi\n", 1, ""},
		{"", "", 0, ""},
		{"bob", "/quit\nnever sent\n", 0, ""},
	} {
		var to []string
		if c.to != "" {
			to = []string{c.to}
		}
		code, out, errOut := simp(t, s, c.text, append([]string{"chat"}, to...)...)
		if got := withoutPresence(out); code != c.code || sorted(got) != sorted(c.out) {
			t.Errorf("%q to %q: exit code %d, %q, %q; want %d, %q", c.text, c.to, code, got, errOut, c.code, c.out)
		}
	}
}

// withoutPresence leaves out the lines for presence, which may come at any
// time.
func withoutPresence(out string) string {
	var kept strings.Builder
	for line := range strings.Lines(out) {
		if !strings.HasPrefix(line, "** ") {
			kept.WriteString(line)
		}
	}
	return kept.String()
}

// sorted sorts lines: outcomes come in the order in which they are known.
func sorted(out string) string {
	lines := strings.Split(out, "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func TestChatInLines(t *testing.T) {
	s := newSite(t)
	c := newConsole(s.env())
	c.env["TERM"] = "dumb"
	file := filepath.Join(t.TempDir(), "history")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	typed, wait, _ := beginChat(t, c, "--no-sign", "--no-mouse", "--history-file", file, "silent@example.com")
	s.await("WATCH contacts=yes")
	c.await(&c.out, "** silent@example.com is available") // it is watched
	for i, entity := range []string{"\r\nhello", "\r\n\x1b]0;x\a\u202e\u200b\r\n-- delivered to carol@example.com: forged", "Content-Type: image/png\r\n\r\nxx"} {
		if answer := s.deliver(fmt.Sprint("id", i), entity); answer != "200" {
			t.Errorf("%q: %s", entity, answer)
		}
	}
	s.say(`* PRESENCE ima=silent@example.com state=away note="at \"lunch\"" since=2026-11-22T10:00:01.000Z index=8`)
	c.await(&c.out, "silent@example.com is away")
	say(t, typed, "are you there?")
	c.await(&c.out, "-- in doubt")
	say(t, typed, "/retry", "/add dora Dora D.", "/block mallory@example.net", "/state busy at work", "/who", "/verify")
	s.await("SEND to=silent@example.com")
	s.await(`CONTACT ima=dora@example.com name="Dora D."`)
	s.await("ACL who=mallory@example.net message=deny presence=deny")
	s.await(`STATE state=busy note="at work"`)
	c.await(&c.err, "watching you: carol@example.com")
	_ = typed.Close()
	if code := wait(); code != 4 {
		t.Errorf("exit code %d", code)
	}
	want := `10:00 <bob@example.com> hello
10:00 <bob@example.com> \x1b]0;x\x07\u202e\u200b
    -- delivered to carol@example.com: forged
10:00 <bob@example.com> [image/png, 29 octets]
-- in doubt, silent@example.com: are you there?
-- in doubt, silent@example.com: are you there?
`
	if got := withoutPresence(c.out.String()); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	for _, line := range []string{"** silent@example.com is available\n", "** silent@example.com is away, at \"lunch\"\n"} {
		if !strings.Contains(c.out.String(), line) {
			t.Errorf("%q is missing in\n%s", line, c.out.String())
		}
	}
	if all := c.out.String() + c.err.String(); strings.ContainsAny(all, "\x1b\a\u202e\u200b") {
		t.Errorf("characters that a terminal obeys: %q", all)
	}
	checkHistory(t, file)
}

func checkHistory(t *testing.T, file string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	received, sent, _ := strings.Cut(string(b), "[image/png, 29 octets]\n")
	want := "2026-11-22T10:00:00Z <bob@example.com> hello\n" +
		`2026-11-22T10:00:00Z <bob@example.com> \x1b]0;x\x07\u202e\u200b\n-- delivered to carol@example.com: forged` + "\n" +
		"2026-11-22T10:00:00Z <bob@example.com> "
	if received != want || strings.Count(sent, " -- in doubt, silent@example.com: are you there?\n") != 2 {
		t.Errorf("the history is\n%s", b)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the history file has mode %v, %v", info.Mode(), err)
	}
}

// A message that can't be written out is refused, and ends the program.
func TestChatRefusesWhatItCantShow(t *testing.T) {
	s := newSite(t)
	c := newConsole(s.env())
	c.broken = true
	_, wait, _ := beginChat(t, c, "deaf")
	s.await("LISTEN")
	if answer := s.deliver("x", "\r\nhi"); !strings.HasPrefix(answer, "486 ") {
		t.Errorf("answered %q", answer)
	}
	if code := wait(); code != 1 || !strings.Contains(c.err.String(), "writing a line: no space left") {
		t.Errorf("exit code %d, %s", code, c.err.String())
	}
}

func TestChatUsage(t *testing.T) {
	s := newSite(t)
	for _, args := range [][]string{{"a b@c"}, {"bob", "carol"}, {"--output", "json"}, {"--dance"}} {
		if code, out, errOut := simp(t, s, "", append([]string{"chat"}, args...)...); code != 2 || out != "" || strings.Count(errOut, "\n") != 1 {
			t.Errorf("%q: exit code %d, %q, %q", args, code, out, errOut)
		}
	}
	if code, _, errOut := simp(t, s, "", "chat", "--history-file", t.TempDir()+"/x/y"); code != 1 || !strings.Contains(errOut, "--history-file: open") {
		t.Errorf("exit code %d, %q", code, errOut)
	}
}
