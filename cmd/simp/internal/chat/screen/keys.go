package screen

import (
	"slices"
	"strings"

	tea "charm.land/bubbletea/v2"

	"simpd/cmd/simp/internal/chat"
)

// onKey does what a key means.
func (u *ui) onKey(msg tea.KeyPressMsg) tea.Cmd {
	key := msg.String()
	mayQuit := u.mayQuit
	u.hint, u.mayQuit = "", false
	if key != "tab" {
		u.completions = completions{}
	}
	switch {
	case key == "ctrl+c":
		return u.onCtrlC(mayQuit)
	case u.model.Quitting():
		return nil
	case u.selected != nil:
		return u.onKeyWithSelection(key)
	case u.pressToMove(key):
		return nil
	case u.input.press(key):
		return nil
	}
	return u.onOtherKey(key, msg.Key().Text)
}

func (u *ui) onOtherKey(key, text string) tea.Cmd {
	switch key {
	case "enter":
		return u.enter()
	case "tab":
		u.complete()
		return nil
	case "ctrl+z":
		return tea.Suspend
	case "ctrl+n":
		return u.switchTo(func() []chat.Effect { return u.model.Cycle(1) })
	case "ctrl+p":
		return u.switchTo(func() []chat.Effect { return u.model.Cycle(-1) })
	}
	if digit, ok := strings.CutPrefix(key, "alt+"); ok && len(digit) == 1 && digit >= "1" && digit <= "9" {
		return u.open(int(digit[0] - '1'))
	}
	if text == "?" && u.input.isEmpty() {
		return u.update(chat.Typed{Text: "/help", At: u.config.Now()})
	}
	if text != "" {
		u.input.insert(text)
	}
	return nil
}

// pressToMove moves the conversation; false: the key does something else.
func (u *ui) pressToMove(key string) bool {
	page := max(u.conversationHeight()-1, 1)
	switch key {
	case "pgup":
		u.scroll(-page)
	case "pgdown":
		u.scroll(page)
	case "shift+up", "ctrl+up":
		u.scroll(-1)
	case "shift+down", "ctrl+down":
		u.scroll(1)
	case "end":
		u.toNewest()
	case "up":
		u.selectDoubtful()
	default:
		return false
	}
	return true
}

// onCtrlC clears the input; twice, it quits.
func (u *ui) onCtrlC(again bool) tea.Cmd {
	if again || u.model.Quitting() {
		return u.quit()
	}
	u.input.setText("")
	u.selected = nil
	u.mayQuit, u.hint = true, "press Ctrl-C again to quit"
	return nil
}

// enter sends the input, or carries it out.
func (u *ui) enter() tea.Cmd {
	text := u.input.text()
	if strings.TrimSpace(text) == "" {
		return nil
	}
	u.input.setText("")
	u.toNewest()
	before := u.model.Current()
	cmd := u.update(chat.Typed{Text: text, ID: u.config.NewID(), At: u.config.Now()})
	if u.model.Current() != before {
		u.input.setText(u.model.Current().Draft)
	}
	if u.model.Quitting() { // by /quit
		return tea.Batch(cmd, waitForOutcomes())
	}
	return cmd
}

// open opens a conversation by its place in the roster.
func (u *ui) open(place int) tea.Cmd {
	roster := u.model.Roster()
	if place >= len(roster) {
		return nil
	}
	return u.switchTo(func() []chat.Effect { return u.model.Open(roster[place]) })
}

// switchTo opens another conversation, with what was begun to be written there.
func (u *ui) switchTo(open func() []chat.Effect) tea.Cmd {
	u.model.Current().Draft = u.input.text()
	cmd := u.do(open())
	u.input.setText(u.model.Current().Draft)
	u.selected = nil
	u.toNewest()
	return cmd
}

// selectDoubtful selects the newest message that is in doubt.
func (u *ui) selectDoubtful() {
	if e := u.doubtful(u.model.Current().Entries); e != nil {
		u.selected = e
	} else {
		u.hint = "no message here is in doubt"
	}
}

// doubtful returns the newest of some entries that may be sent again, or nil.
func (u *ui) doubtful(entries []*chat.Entry) *chat.Entry {
	for _, e := range slices.Backward(entries) {
		if e.InDoubt() && !u.model.IsWaiting(e) {
			return e
		}
	}
	return nil
}

// onKeyWithSelection lets the user choose a message in doubt, and send it again.
func (u *ui) onKeyWithSelection(key string) tea.Cmd {
	entries := u.model.Current().Entries
	switch key {
	case "r":
		e := u.selected
		u.selected = nil
		return u.do(u.model.Retry(e, chat.Typed{At: u.config.Now()}))
	case "up":
		if e := u.doubtful(entries[:max(0, slices.Index(entries, u.selected))]); e != nil {
			u.selected = e
		}
	default:
		u.selected = nil
	}
	return nil
}

func (u *ui) onWheel(button tea.MouseButton) {
	switch button {
	case tea.MouseWheelUp:
		u.scroll(-3)
	case tea.MouseWheelDown:
		u.scroll(3)
	}
}

// onClick opens the conversation that was clicked at in the roster.
func (u *ui) onClick(x, y int) tea.Cmd {
	if !u.isWide() || x >= u.rosterWidth() || y < 1 || y > u.conversationHeight() {
		return nil
	}
	return u.open(u.rosterTop + y - 1)
}
