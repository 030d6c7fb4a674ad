package screen

import (
	"slices"
	"strings"

	"simpd/cmd/simp/internal/chat"
)

// anchor is the lowest row that is shown of a conversation that is scrolled up:
// the rows-th of those of an entry.
type anchor struct {
	entry *chat.Entry
	rows  int
}

// conversationRows draws exactly height rows of the open conversation.
func (u *ui) conversationRows(width, height int) []string {
	i, rows := u.bottom(width)
	var blocks [][]string
	for got := 0; i >= 0 && got < height; i-- {
		block := u.block(i, width)
		if rows >= 0 {
			block = block[:min(rows, len(block))]
			rows = -1
		}
		blocks = append(blocks, block)
		got += len(block)
	}
	var all []string
	for _, block := range slices.Backward(blocks) {
		all = append(all, block...)
	}
	all = all[max(0, len(all)-height):]
	return append(make([]string, max(0, height-len(all))), all...)
}

// bottom returns the entry with the lowest row that is shown, and how many of
// its rows are; -1: all.
func (u *ui) bottom(width int) (entry, rows int) {
	entries := u.model.Current().Entries
	if u.anchor != nil {
		for i := len(entries) - 1; i >= 0; i-- {
			if entries[i] == u.anchor.entry {
				return i, min(u.anchor.rows, len(u.block(i, width)))
			}
		}
		u.anchor = nil // it was dropped
	}
	return len(entries) - 1, -1
}

// block returns the rows of an entry, with the separators before it.
func (u *ui) block(i, width int) []string {
	c := u.model.Current()
	e := c.Entries[i]
	var before []string
	if day := u.dayBefore(i); day != "" {
		before = append(before, styleDim.of(u.separator(day, width)))
	}
	if e == c.FirstUnread {
		before = append(before, styleYellow.of(u.separator("new", width)))
	}
	rows := u.entryRows(e, width)
	if before == nil {
		return rows
	}
	return append(before, rows...)
}

// dayBefore returns the day of an entry if the one before it was written on
// another day.
func (u *ui) dayBefore(i int) string {
	const layout = "Monday, 2 January 2006"
	entries := u.model.Current().Entries
	if entries[i].At.IsZero() {
		return ""
	}
	day := entries[i].At.In(u.model.Zone()).Format(layout)
	for i--; i >= 0; i-- {
		if !entries[i].At.IsZero() {
			if entries[i].At.In(u.model.Zone()).Format(layout) == day {
				return ""
			}
			break
		}
	}
	return day
}

func (u *ui) separator(text string, width int) string {
	line := strings.Repeat(u.symbols.horizontal, 2) + " " + text + " "
	return truncate(line+strings.Repeat(u.symbols.horizontal, max(0, width-cellWidth(line))), width)
}

// scroll moves the conversation by so many rows; up is negative.
func (u *ui) scroll(by int) {
	entries := u.model.Current().Entries
	if len(entries) == 0 {
		return
	}
	width, height := u.conversationWidth(), u.conversationHeight()
	i, rows := u.bottom(width)
	if rows < 0 {
		rows = len(u.block(i, width))
	}
	rows += by
	for ; rows <= 0 && i > 0; i-- {
		rows += len(u.block(i-1, width))
	}
	for ; i < len(entries) && rows > len(u.block(i, width)); i++ {
		rows -= len(u.block(i, width))
	}
	if i == len(entries) || i == len(entries)-1 && rows >= len(u.block(i, width)) {
		u.toNewest()
		return
	}
	u.anchor = &anchor{entries[i], max(rows, 1)}
	u.fill(width, height)
}

// fill scrolls down as far as the oldest rows would leave rows empty.
func (u *ui) fill(width, height int) {
	entries := u.model.Current().Entries
	rows := 0
	for i, e := range entries {
		n := len(u.block(i, width))
		switch {
		case rows+n >= height && e == u.anchor.entry:
			u.anchor.rows = max(u.anchor.rows, height-rows)
			return
		case rows+n >= height:
			if u.isBefore(u.anchor.entry, i) {
				u.anchor = &anchor{e, height - rows}
			}
			return
		}
		rows += n
	}
	u.toNewest() // all of it fits
}

// isBefore reports whether an entry is one of the first n.
func (u *ui) isBefore(e *chat.Entry, n int) bool {
	return slices.Contains(u.model.Current().Entries[:n], e)
}

func (u *ui) toNewest() { u.anchor, u.newBelow = nil, false }

// conversationHeight returns how many rows of the conversation are shown.
func (u *ui) conversationHeight() int {
	input, _, _ := u.inputRows()
	height := u.height - len(input) - 2
	if !u.isWide() && height > 1 {
		height--
	}
	return max(height, 1)
}
