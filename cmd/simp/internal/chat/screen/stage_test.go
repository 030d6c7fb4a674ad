package screen

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"simpd/cmd/simp/internal/chat"
	"simpd/protocol"
)

var update = flag.Bool("update", false, "write the frames anew")

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// network is a Session that is played by the test.
type network struct {
	started   []chat.Effect
	abandoned bool
}

func (n *network) Events() <-chan chat.Event      { return nil }
func (n *network) Incoming() <-chan chat.Incoming { return nil }
func (n *network) Start(e chat.Effect)            { n.started = append(n.started, e) }
func (n *network) Abandon()                       { n.abandoned = true }
func (n *network) Done() <-chan struct{}          { return nil }
func (n *network) Err() error                     { return errors.New("wrong password") }

// sent returns the texts that were sent.
func (n *network) sent() (texts []string) {
	for _, e := range n.started {
		if s, ok := e.(chat.Send); ok {
			texts = append(texts, s.Text)
		}
	}
	return texts
}

// stage is a screen that a test plays with.
type stage struct {
	t testing.TB
	*ui
	network *network
	now     time.Time
	ids     int
}

func newStage(t testing.TB, width, height int) *stage {
	s := &stage{t: t, network: &network{}, now: noon}
	s.ui = newUI(Config{
		Model:   chat.New(chat.Config{Me: address("alice@example.com")}),
		Session: s.network,
		NewID:   func() string { s.ids++; return fmt.Sprint("m", s.ids) },
		Now:     func() time.Time { return s.now },
	})
	s.resize(width, height)
	return s
}

func address(s string) protocol.Address { return protocol.CanonicalAddress(s) }

func (s *stage) resize(width, height int) { s.Update(tea.WindowSizeMsg{Width: width, Height: height}) }

var keys = map[string]tea.KeyPressMsg{
	"enter": {Code: tea.KeyEnter}, "tab": {Code: tea.KeyTab}, "up": {Code: tea.KeyUp}, "esc": {Code: tea.KeyEscape},
	"left": {Code: tea.KeyLeft}, "right": {Code: tea.KeyRight}, "home": {Code: tea.KeyHome}, "end": {Code: tea.KeyEnd},
	"pgup": {Code: tea.KeyPgUp}, "pgdown": {Code: tea.KeyPgDown}, "backspace": {Code: tea.KeyBackspace}, "delete": {Code: tea.KeyDelete},
	"alt+enter": {Code: tea.KeyEnter, Mod: tea.ModAlt}, "shift+up": {Code: tea.KeyUp, Mod: tea.ModShift},
	"alt+backspace": {Code: tea.KeyBackspace, Mod: tea.ModAlt},
}

// press presses keys, by their names.
func (s *stage) press(names ...string) (cmd tea.Cmd) {
	s.t.Helper()
	for _, name := range names {
		key, ok := keys[name]
		if modifier, letter, found := strings.Cut(name, "+"); !ok && found {
			key = tea.KeyPressMsg{Code: rune(letter[0]), Mod: map[string]tea.KeyMod{"ctrl": tea.ModCtrl, "alt": tea.ModAlt}[modifier]}
		}
		if key.String() != name {
			s.t.Fatalf("the key %s is called %s", name, key)
		}
		_, cmd = s.Update(key)
	}
	return cmd
}

// typed types a text, character by character.
func (s *stage) typed(text string) {
	for _, r := range text {
		s.Update(tea.KeyPressMsg{Code: r, Text: string(r)})
	}
}

// say types lines, each with Enter.
func (s *stage) say(lines ...string) {
	s.t.Helper()
	for _, line := range lines {
		s.typed(line)
		s.press("enter")
	}
}

func (s *stage) contacts(names ...string) {
	var list []protocol.Contact
	for _, name := range names {
		list = append(list, protocol.Contact{Address: address(name + "@example.com")})
	}
	s.Update(eventMsg{chat.ContactsRead{Contacts: list}})
}

func (s *stage) presence(who string, state protocol.State, note string) {
	s.Update(eventMsg{chat.PresenceChanged{Presence: protocol.Presence{Address: address(who), State: state, Note: note}}})
}

// arrives delivers a message and returns the answer.
func (s *stage) arrives(from, text string) error {
	answer := make(chan error, 1)
	s.Update(incomingMsg{Arrived: chat.Arrived{From: address(from), At: s.now, Text: text}, Answer: answer})
	return <-answer
}

func (s *stage) outcome(id string, results ...any) {
	o := chat.Outcome{ID: id}
	for i := 0; i < len(results); i += 2 {
		o.Results = append(o.Results, chat.Result{To: address(results[i].(string)), Status: protocol.Status(results[i+1].(int))})
	}
	s.Update(eventMsg{o})
}

// frame returns what is on the screen, with the place of the cursor.
func (s *stage) frame() string {
	v := s.View()
	rows := strings.Split(ansi.Strip(v.Content), "\n")
	for i, row := range rows {
		rows[i] = strings.TrimRight(row, " ")
	}
	return fmt.Sprintf("%s\ncursor: column %d, row %d\n", strings.Join(rows, "\n"), v.Cursor.X, v.Cursor.Y)
}

// expectFrame compares the screen with the one that is kept under a name.
func (s *stage) expectFrame(name string) {
	s.t.Helper()
	s.expect(name+".txt", s.frame())
}

// expectColors is expectFrame with the escape sequences that the terminal gets.
func (s *stage) expectColors(name string) {
	s.t.Helper()
	s.expect(name+".ansi", s.View().Content+"\n")
}

// expect compares a text with a file.
func (s *stage) expect(name, got string) {
	s.t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			s.t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		s.t.Fatal(err)
	}
	if got != string(want) {
		s.t.Errorf("%s: the screen is\n%s\nnot\n%s", name, got, want)
	}
}
