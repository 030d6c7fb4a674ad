package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"simpd/cmd/internal/cli"
	"simpd/protocol"
)

func (a *app) printsJSON() bool { return a.output == "json" }

// printJSON prints one value on one line. What a terminal would obey is
// written as an escape, which means the same in JSON.
func (a *app) printJSON(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return a.printf("%s", cli.EscapeJSON(b))
}

// printf prints a line for people.
func (a *app) printf(format string, args ...any) error {
	_, err := fmt.Fprintf(a.out, format+"\n", args...)
	return err
}

// printNote tells people, not programs, how it goes.
func (a *app) printNote(format string, args ...any) {
	fmt.Fprintln(a.errOut, cli.Escape(fmt.Sprintf(format, args...)))
}

// emphasize makes a text stand out, on a terminal that wants that (no-color.org).
func (a *app) emphasize(s string) string {
	if a.env("NO_COLOR") != "" || a.env("TERM") == "dumb" || !a.term.isTerminal(a.out) {
		return s
	}
	return "\x1b[1m" + s + "\x1b[0m"
}

// printTable prints rows in columns, all rows of as many cells.
func (a *app) printTable(rows [][]string) error {
	if len(rows) == 0 {
		return nil
	}
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			line.WriteString(cell + strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+2))
		}
		if err := a.printf("%s", strings.TrimRight(line.String(), " ")); err != nil {
			return err
		}
	}
	return nil
}

// presenceJSON is a presence for programs.
type presenceJSON struct {
	IMA   string `json:"ima"`
	State string `json:"state"`
	Since string `json:"since,omitempty"`
	Note  string `json:"note,omitempty"`
	Index uint64 `json:"index,omitempty"`
}

func forPrograms(p protocol.Presence) presenceJSON {
	j := presenceJSON{IMA: p.Address.String(), State: p.State.String(), Note: p.Note, Index: p.Index}
	if !p.Since.IsZero() {
		j.Since = p.Since.UTC().Format(protocol.TimeFormat)
	}
	return j
}

// forPeople is a presence in columns: address, state, since, note.
func (a *app) forPeople(p protocol.Presence) []string {
	since := ""
	if !p.Since.IsZero() {
		since = "since " + p.Since.In(a.zone).Format(time.DateTime)
	}
	return []string{cli.Escape(p.Address.String()), p.State.String(), since, cli.EscapeText(p.Note)}
}
