package screen

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"simpd/cmd/internal/cli"
	"simpd/cmd/simp/internal/chat"
	"simpd/cmd/simp/internal/entity"
	"simpd/cmd/simp/internal/outcome"
	"simpd/protocol"
)

// indent is where texts begin, behind the time. No text of anybody else's
// begins further to the left, so that none can pass for another message.
const indent = 6

// rendered is an entry as rows of a width.
type rendered struct {
	rows     []string
	width    int
	revision int
	waiting  bool
	selected bool
}

// maxRendered limits the entries that are kept as rows.
const maxRendered = 4096

// entryRows returns the rows of an entry.
func (u *ui) entryRows(e *chat.Entry, width int) []string {
	waiting, selected := e.Kind == chat.Sent && u.model.IsWaiting(e), e == u.selected
	known, ok := u.rendered[e]
	if ok && known.width == width && known.revision == e.Revision && known.waiting == waiting && known.selected == selected {
		return known.rows
	}
	if len(u.rendered) >= maxRendered {
		clear(u.rendered)
	}
	rows := u.renderEntry(e, width, waiting)
	if selected {
		for i, row := range rows {
			rows[i] = styleReverse.of(pad(unstyled(row), width))
		}
	}
	u.rendered[e] = rendered{rows, width, e.Revision, waiting, selected}
	return rows
}

func (u *ui) renderEntry(e *chat.Entry, width int, waiting bool) []string {
	room := max(width-indent, 8)
	if e.Kind == chat.Notice {
		return u.indented("", wrap("* "+u.plain(cli.Escape(e.Text)), room), styleDim)
	}
	name, nameStyle := "me", styleCyan
	if e.Kind == chat.Received {
		name, nameStyle = u.shortName(e.From), styleBold
		if e.Signature != "" { // before the text, which could claim anything
			name += " (" + u.plain(cli.Escape(e.Signature)) + ")"
		}
	}
	lines := entity.SplitLines(e.Text)
	rows := wrap(name+": "+u.plain(lines[0]), room)
	for _, line := range lines[1:] {
		rows = append(rows, wrap(u.plain(line), room)...)
	}
	tail := u.outcomeLines(e, waiting)
	last := len(rows) - 1
	isInline := len(tail) == 1 && cellWidth(rows[last])+2+cellWidth(tail[0].text) <= room
	if rest, ok := strings.CutPrefix(rows[0], name+": "); ok {
		rows[0] = nameStyle.of(name) + ": " + rest
	}
	if isInline {
		rows[last] += "  " + tail[0].style.of(tail[0].text)
		tail = nil
	}
	for _, t := range tail {
		for _, row := range wrap(t.text, room) {
			rows = append(rows, t.style.of(row))
		}
	}
	return u.indented(e.At.In(u.model.Zone()).Format("15:04"), rows, styleNone)
}

// tailLine shows an outcome of a message, behind its text or below it.
type tailLine struct {
	text  string
	style style
}

// indented puts a time before the first row, and spaces before the others.
func (u *ui) indented(first string, rows []string, s style) []string {
	for i, row := range rows {
		begin := strings.Repeat(" ", indent)
		if i == 0 && first != "" {
			begin = styleDim.of(first) + " "
		}
		rows[i] = begin + s.of(row)
	}
	return rows
}

// shortName returns what somebody is called in messages: the name that the user
// has given them, or the local part of their address.
func (u *ui) shortName(a protocol.Address) string {
	const most = 20
	name := u.model.Name(a)
	if name == "" {
		name = a.Local()
		if a.Domain() != u.model.Me().Domain() {
			name = a.String()
		}
	}
	return truncate(u.plain(cli.Escape(name)), most)
}

// outcomeLines tells what became of a message, each outcome by a symbol and a
// word.
func (u *ui) outcomeLines(e *chat.Entry, waiting bool) []tailLine {
	if e.Kind != chat.Sent {
		return nil
	}
	var statuses []protocol.Status
	for _, r := range e.Results {
		if !slices.Contains(statuses, r.Status) {
			statuses = append(statuses, r.Status)
		}
	}
	var lines []tailLine
	for _, s := range statuses {
		symbol, style := u.symbols.of(s, waiting)
		line := tailLine{text: symbol + " " + outcomeWords(s, waiting), style: style}
		if s == protocol.StatusRefused && len(e.Results) == 1 && e.Results[0].Text != "" {
			line.text += ": " + u.plain(cli.Escape(e.Results[0].Text))
		}
		if len(e.Results) > 1 {
			line.text += ": " + u.recipients(e, s)
		}
		lines = append(lines, line)
	}
	return lines
}

// outcomeWords returns the word for an outcome, and what the user can do.
func outcomeWords(s protocol.Status, waiting bool) string {
	switch {
	case s == chat.Sending:
		return "sending"
	case s == protocol.StatusIndeterminate && waiting:
		return "in doubt, sending again"
	case s == protocol.StatusIndeterminate:
		return "in doubt (/retry)"
	case s == protocol.StatusNotListening:
		return outcome.Word(s) + " (/when)"
	}
	return outcome.Word(s)
}

func (u *ui) recipients(e *chat.Entry, s protocol.Status) string {
	var names []string
	for _, r := range e.Results {
		if r.Status == s {
			names = append(names, u.shortName(r.To))
		}
	}
	return strings.Join(names, ", ")
}

// symbols are the signs of a terminal that shows Unicode, or of one that may
// not.
type symbols struct {
	sending, delivered, doubt, failed string
	horizontal, vertical              string
}

var (
	unicodeSymbols = symbols{"…", "✓", "?", "✗", "─", "│"}
	asciiSymbols   = symbols{".", "+", "?", "x", "-", "|"}
)

func (s symbols) of(status protocol.Status, waiting bool) (string, style) {
	switch {
	case status == chat.Sending, status == protocol.StatusIndeterminate && waiting:
		return s.sending, styleDim
	case status == protocol.StatusOK:
		return s.delivered, styleGreen
	case status == protocol.StatusIndeterminate:
		return s.doubt, styleYellow
	}
	return s.failed, styleRed
}

// plain returns an escaped text for the terminal: as it is, or in ASCII where
// the terminal may not show more.
func (u *ui) plain(s string) string {
	if !u.config.ASCII || isASCII(s) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case r < 0x80:
			b.WriteRune(r)
		case r < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
	}
	return b.String()
}

// stateText returns the words for a presence, with its note.
func (u *ui) stateText(p protocol.Presence) string {
	text := outcome.StateWord(p.State)
	if p.Note != "" {
		text += ", " + u.plain(cli.EscapeText(p.Note))
	}
	return cmp.Or(text, "-")
}
