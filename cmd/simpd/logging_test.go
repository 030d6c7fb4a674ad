package main

import (
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
)

// What is logged, or told about a configuration, shows nothing that a terminal
// obeys or that cannot be seen.
func TestNothingFromOutsideReachesTheTerminal(t *testing.T) {
	const hostile = "\x1b[31m\u009b\u00ad\u200b\u202e\u2028\ufeff\U000e0041\nlevel=ERROR"
	isHarmless := func(said string) bool {
		return !strings.ContainsAny(said, "\x1b\u009b\u00ad\u200b\u202e\u2028\ufeff\U000e0041") && strings.Count(said, "\n") == 1
	}
	for _, format := range []string{"text", "json"} {
		var out strings.Builder
		newLogger(&out, format, slog.LevelInfo).Error(hostile, "error", errors.New(hostile), "user", hostile)
		if !isHarmless(out.String()) {
			t.Errorf("as %s: %q", format, out.String())
		}
		var line struct{ User string }
		if format == "json" && (json.Unmarshal([]byte(out.String()), &line) != nil || line.User != hostile) {
			t.Errorf("in JSON %q is read as %q", out.String(), line.User)
		}
	}
	var out, errOut strings.Builder
	if code := run([]string{"serve", "--" + hostile}, &out, &errOut); code != exitUsage || !isHarmless(errOut.String()) {
		t.Errorf("%d %q", code, errOut.String())
	}
}

// The mark below a line stands below its character, whatever is before it.
func TestExcerptMarksItsPlace(t *testing.T) {
	p := problem{at: source{file: "f", line: 3, col: 7, text: "\ta\u202eb:\u200bx\x1b"}}
	want := "     3 |  a\\u202eb:\\u200bx\\x1b\n       |" + strings.Repeat(" ", 1+len(" a\\u202eb:\\u200b")) + "^\n"
	if got := p.Excerpt(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
