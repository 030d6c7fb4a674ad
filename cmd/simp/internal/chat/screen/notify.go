package screen

import (
	"strings"

	tea "charm.land/bubbletea/v2"

	"simpd/cmd/internal/cli"
	"simpd/cmd/simp/internal/chat"
)

// notify draws the user's attention by the terminal's notifications (OSC 9 and
// OSC 777) and the bell, if the terminal has told that it is not looked at.
func (u *ui) notify(n chat.Notify) tea.Cmd {
	if !u.blurred {
		return nil
	}
	const most = 120 // cells
	title, text := notice(n.Title, most/2), notice(n.Text, most)
	return tea.Raw("\x1b]9;" + title + ": " + text + "\a\x1b]777;notify;" + title + ";" + text + "\a\a")
}

// notice makes a text fit into an OSC sequence: nothing in it can end the
// sequence or begin another, nor separate its fields.
func notice(s string, most int) string {
	const enough = 1 << 10 // octets that are looked at
	s = strings.ToValidUTF8(s[:min(len(s), enough)], "")
	return truncate(strings.ReplaceAll(cli.EscapeText(strings.Join(strings.Fields(s), " ")), ";", ","), most)
}
