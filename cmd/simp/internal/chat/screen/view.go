package screen

import (
	"fmt"
	"slices"
	"strings"

	tea "charm.land/bubbletea/v2"

	"simpd/cmd/internal/cli"
	"simpd/cmd/simp/internal/chat"
	"simpd/cmd/simp/internal/outcome"
	"simpd/protocol"
)

// wide is the width from which contacts have a column of their own.
const wide = 64

// View draws the whole screen.
func (u *ui) View() tea.View {
	v := tea.View{AltScreen: true, ReportFocus: true}
	if u.config.Mouse {
		v.MouseMode = tea.MouseModeCellMotion
	}
	if u.width < 1 || u.height < 1 {
		return v
	}
	input, row, column := u.inputRows()
	rows := append(u.upperRows(u.height-len(input)-1), u.statusRow())
	v.Cursor = tea.NewCursor(min(promptWidth+column, u.width-1), len(rows)+row)
	v.Content = strings.Join(append(rows, input...), "\n")
	return v
}

// upperRows draws what is above the status: the header, the roster and the
// conversation.
func (u *ui) upperRows(height int) []string {
	if height < 1 {
		return nil
	}
	rows := []string{u.headerRow()}
	if !u.isWide() && height > 2 {
		rows = append(rows, u.rosterStrip())
	}
	room := height - len(rows)
	width := u.conversationWidth()
	talk := u.conversationRows(width, room)
	if !u.isWide() {
		return append(rows, talk...)
	}
	roster := u.rosterColumn(u.rosterWidth(), room)
	for i := range room {
		rows = append(rows, roster[i]+styleDim.of(u.symbols.vertical)+talk[i])
	}
	return rows
}

func (u *ui) isWide() bool { return u.width >= wide }

func (u *ui) rosterWidth() int { return min(max(u.width*3/8, 26), 34) }

func (u *ui) conversationWidth() int {
	if u.isWide() {
		return u.width - u.rosterWidth() - 1
	}
	return u.width
}

// headerRow names the open conversation.
func (u *ui) headerRow() string {
	c := u.model.Current()
	title := "simp chat: /to IMA opens a conversation, /help lists the commands"
	if len(c.To) > 0 {
		title = u.plain(c.Title())
	}
	if len(c.To) == 1 {
		title += " is " + u.stateText(u.model.Presence(c.To[0]))
	}
	return styleReverse.of(pad(truncate(" "+title, u.width), u.width))
}

// rosterItem describes a conversation in words, in at most width cells.
func (u *ui) rosterItem(i int, c *chat.Conversation, width int) string {
	number := " "
	if i < 9 {
		number = fmt.Sprint(i + 1)
	}
	end := u.rosterState(c)
	if c.Unread > 0 {
		end += fmt.Sprintf(" (%d)", c.Unread)
	}
	name := truncate(u.rosterName(c), max(width-len(number)-len(end)-2, 3))
	if width == 0 { // as short as it can be
		return fmt.Sprintf("%s %s %s", number, truncate(u.rosterName(c), 14), end)
	}
	return truncate(fmt.Sprintf("%s %s %s", number, pad(name, width-len(number)-len(end)-2), end), width)
}

func (u *ui) rosterState(c *chat.Conversation) string {
	if len(c.To) > 1 {
		return fmt.Sprintf("%d people", len(c.To))
	}
	return outcome.StateWord(u.model.Presence(c.To[0]).State)
}

func (u *ui) rosterName(c *chat.Conversation) string {
	var names []string
	for _, a := range c.To {
		names = append(names, u.shortName(a))
	}
	return strings.Join(names, ",")
}

// rosterColumn draws the roster with one row for each conversation.
func (u *ui) rosterColumn(width, height int) []string {
	roster := u.model.Roster()
	at := slices.Index(roster, u.model.Current())
	u.rosterTop = min(max(0, at-height+1), max(0, len(roster)-height))
	rows := make([]string, height)
	for i := range height {
		n := u.rosterTop + i
		if n >= len(roster) {
			rows[i] = strings.Repeat(" ", width)
			continue
		}
		rows[i] = u.rosterStyle(roster[n]).of(pad(u.rosterItem(n, roster[n], width), width))
	}
	return rows
}

func (u *ui) rosterStyle(c *chat.Conversation) style {
	switch {
	case c == u.model.Current():
		return styleReverse
	case c.Unread > 0:
		return styleBold
	}
	return styleNone
}

// rosterStrip draws as much of the roster as a row holds, with the open
// conversation.
func (u *ui) rosterStrip() string {
	roster := u.model.Roster()
	at := max(0, slices.Index(roster, u.model.Current()))
	var items []string
	for i, c := range roster {
		items = append(items, u.rosterItem(i, c, 0))
	}
	first := 0
	for first < at && cellWidth(strings.Join(items[first:at+1], "  ")) > u.width {
		first++
	}
	used := 0
	var b strings.Builder
	for i := first; i < len(items) && used < u.width; i++ {
		item := truncate(items[i], u.width-used)
		b.WriteString(u.rosterStyle(roster[i]).of(item) + "  ")
		used += cellWidth(item) + 2
	}
	return strings.TrimRight(b.String(), " ")
}

// statusRow tells who the user is for others, and how the connection fares.
func (u *ui) statusRow() string {
	state, note := u.model.Own()
	own := cli.Escape(u.model.Me().String()) + " is " + u.stateText(protocol.Presence{State: state, Note: note})
	parts := []string{u.linkText(), own}
	switch {
	case u.model.Quitting():
		parts = []string{fmt.Sprintf("waiting for %d outcomes; Ctrl-C ends at once", u.model.Outstanding())}
	case u.hint != "":
		parts = []string{u.hint}
	case u.selected != nil:
		parts = []string{"r sends it again under the same id; Esc goes back"}
	case u.anchor != nil && u.newBelow:
		parts = append([]string{"new messages below (End)"}, parts...)
	case u.anchor != nil:
		parts = append([]string{"older messages (End goes to the newest)"}, parts...)
	case !u.isWide() && u.unread() > 0: // the strip may not have room for all
		parts = append([]string{fmt.Sprintf("%d unread", u.unread())}, parts...)
	}
	return styleDim.of(truncate(strings.Join(parts, "; "), u.width))
}

// unread returns how many messages of all conversations are unread.
func (u *ui) unread() (n int) {
	for _, c := range u.model.Roster() {
		n += c.Unread
	}
	return n
}

func (u *ui) linkText() string {
	switch link, why := u.model.Link(); link {
	case chat.Offline:
		return "not connected, connecting again (" + u.plain(cli.Escape(why)) + ")"
	case chat.CutOff:
		return "connected, but the server is cut off"
	}
	return "connected"
}

const promptWidth = 2

// inputRows draws the input, as much of it as there is room for around the
// cursor, and returns where the cursor is.
func (u *ui) inputRows() (rows []string, row, column int) {
	rows, row, column = u.input.layout(max(u.width-promptWidth-1, 4))
	most := max(1, min(6, u.height/3))
	first := min(max(0, row-most+1), max(0, len(rows)-most))
	rows = rows[first:min(first+most, len(rows))]
	for i := range rows {
		prompt := "  "
		if first+i == 0 {
			prompt = "> "
		}
		rows[i] = prompt + u.plain(rows[i])
	}
	return rows, row - first, column
}
