package screen

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	tea "charm.land/bubbletea/v2"

	"simpd/cmd/simp/internal/chat"
	"simpd/cmd/simp/internal/chat/history"
	"simpd/protocol"
)

// playDay plays a day of a chat.
func playDay(s *stage) {
	s.contacts("bob", "carol", "dora")
	s.presence("bob@example.com", protocol.Available, "at my desk")
	s.presence("carol@example.com", protocol.Away, "")
	s.presence("dora@example.com", protocol.Deaf, "")
	s.now = noon.AddDate(0, 0, -1)
	s.say("/to bob", "See you tomorrow?") // m1 was the command
	s.outcome("m2", "bob@example.com", 200)
	s.now = noon
	_ = s.arrives("bob@example.com", "日本語 and שלום and 👩‍💻, and https://example.com/a/rather/long/link/that/does/not/fit")
	s.say("Lunch at one? The place around the corner has something new.")
	s.outcome("m3", "bob@example.com", 201)
	s.say("Are you there?")
	s.outcome("m4", "bob@example.com", 480)
	_ = s.arrives("bob@example.com", "\x1b[2J\x1b]0;owned\a\u202egnp.exe\n12:00 carol: not from carol")
	_ = s.arrives("carol@example.com", "one")
	_ = s.arrives("carol@example.com", "two")
	_ = s.arrives("mallory@example.net", "buy")
	s.say("On my way")
}

func TestFrames(t *testing.T) {
	s := newStage(t, 80, 24)
	s.expectFrame("empty")
	playDay(s)
	s.typed("half writt")
	s.press("left", "left")
	s.expectFrame("day-80x24")
	s.resize(40, 10)
	s.expectFrame("day-40x10")
	s.press("pgup", "pgup")
	s.expectFrame("day-40x10-up")
	_ = s.arrives("bob@example.com", "still here")
	s.expectFrame("day-40x10-new-below")
	s.press("end")
	s.expectFrame("day-40x10-newest")
	s.resize(100, 12)
	s.press("alt+2")
	s.expectFrame("carol-100x12")
	s.press("ctrl+p")
	s.expectFrame("bob-100x12")
	s.Update(eventMsg{chat.LinkChanged{Link: chat.Offline, Text: "connection reset"}})
	s.expectFrame("offline")
	s.press("ctrl+c")
	s.expectFrame("cleared")
}

func TestFrameWithSeveralRecipients(t *testing.T) {
	s := newStage(t, 80, 14)
	s.say("/to bob,carol@example.com,dora@example.net", "hello all of you")
	s.expectFrame("several-sending")
	s.outcome("m2", "bob@example.com", 200, "carol@example.com", 201, "dora@example.net", 480)
	s.expectFrame("several")
	s.press("up")
	s.expectFrame("several-selected")
	s.typed("r")
	s.expectFrame("several-again")
	if last := s.network.started[len(s.network.started)-1].(chat.Send); last.ID != "m2" || len(last.To) != 1 || last.To[0] != address("carol@example.com") {
		t.Errorf("sent again: %+v", last)
	}
}

func TestFrameInASCII(t *testing.T) {
	s := newStage(t, 80, 24)
	s.config.ASCII, s.symbols = true, asciiSymbols
	playDay(s)
	s.expectFrame("ascii")
	if frame := s.View().Content; strings.ContainsFunc(frame, func(r rune) bool { return r > '~' }) {
		t.Errorf("it is not ASCII: %q", frame)
	}
}

func TestFrameOfHelp(t *testing.T) {
	s := newStage(t, 60, 20)
	s.typed("?")
	s.expectFrame("help")
}

// The input shows what is around the cursor, and a paste is one message.
func TestPaste(t *testing.T) {
	s := newStage(t, 60, 14)
	s.say("/to bob")
	var lines []string
	for i := range 50 {
		lines = append(lines, fmt.Sprint("line ", i+1))
	}
	s.Update(tea.PasteMsg{Content: strings.Join(lines, "\r\n") + "\x1b[2J"})
	s.expectFrame("pasted")
	s.press("enter")
	if got := s.network.sent(); len(got) != 1 || got[0] != strings.Join(lines, "\n")+"\x1b[2J" {
		t.Errorf("sent %q", got)
	}
}

// Whatever happens, in whatever size: the screen is filled, no row is too wide,
// and nothing reaches the terminal but text and the styles of this package.
func TestFramesFit(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	texts := []string{
		"", "hi", strings.Repeat("long ", 100), strings.Repeat("x", 10_000), strings.Repeat("界", 50), "a\u0301\u0301\u0301\u0301b", "👩‍👩‍👧‍👦🇩🇪🏴󠁧󠁢󠁳󠁣󠁴󠁿",
		"\x1b[31m\x1b]8;;x\a\u009b2J", "\u202e\u2066\u200b\ufeff\u00ad", "a\r\nb\n\n\nc\t\td", "\u0600\u06dd", "ﷺﷺﷺ", "\x00\x7f\u0085",
	}
	pick := func() string { return texts[random.IntN(len(texts))] }
	for range 30 {
		s := newStage(t, 1+random.IntN(130), 1+random.IntN(40))
		s.contacts("bob", "carol")
		for range 30 {
			switch random.IntN(9) {
			case 0:
				s.say("/to bob")
			case 1:
				s.Update(tea.PasteMsg{Content: pick()})
				s.press("enter")
			case 2:
				s.Update(tea.PasteMsg{Content: pick()})
			case 3:
				_ = s.arrives("bob@example.com", pick())
			case 4:
				s.outcome(fmt.Sprint("m", s.ids), "bob@example.com", []int{200, 201, 480, 486}[random.IntN(4)])
			case 5:
				s.press("pgup", "shift+up")
			case 6:
				s.press("pgdown")
			case 7:
				s.resize(1+random.IntN(130), 1+random.IntN(40))
			case 8:
				s.presence("bob@example.com", protocol.Away, "lunch")
				s.press("alt+1", "up", "esc")
			}
			checkFits(t, s)
		}
	}
}

func checkFits(t *testing.T, s *stage) {
	t.Helper()
	v := s.View()
	content := v.Content
	for _, style := range []style{styleBold, styleDim, styleReverse, styleRed, styleGreen, styleYellow, styleCyan, "\x1b[0m"} {
		content = strings.ReplaceAll(content, string(style), "")
	}
	rows := strings.Split(content, "\n")
	if len(rows) > max(s.height, 2) || s.height >= 4 && len(rows) != s.height {
		t.Fatalf("%d rows on a screen of %d", len(rows), s.height)
	}
	for _, row := range rows {
		if s.width >= 20 && cellWidth(row) > s.width {
			t.Fatalf("a row of %d cells on a screen of %d: %q", cellWidth(row), s.width, row)
		}
		if strings.ContainsFunc(row, func(r rune) bool { return r != '\n' && unicode.In(r, unicode.Cc, unicode.Bidi_Control) }) {
			t.Fatalf("the terminal would obey %q", row)
		}
	}
	if v.Cursor.X >= max(s.width, 3) || v.Cursor.Y >= max(s.height, 2) {
		t.Fatalf("the cursor is at %v on a screen of %d×%d", v.Cursor.Position, s.width, s.height)
	}
}

func TestDraftsAreKept(t *testing.T) {
	s := newStage(t, 80, 24)
	s.contacts("bob", "carol")
	s.press("alt+1")
	s.typed("for bob")
	s.press("alt+2")
	s.typed("for carol")
	s.press("ctrl+n")
	if got := s.input.text(); got != "for bob" {
		t.Errorf("bob's draft is %q", got)
	}
	s.press("ctrl+n", "enter")
	if got := s.network.sent(); !slices.Equal(got, []string{"for carol"}) {
		t.Errorf("sent %q", got)
	}
}

func TestCompletion(t *testing.T) {
	s := newStage(t, 80, 24)
	s.contacts("bob", "bonny", "carol")
	for _, c := range []struct{ typed, want string }{
		{"/st", "/state "}, {"/to c", "/to carol@example.com "}, {"/to bob@example.com,C", "/to bob@example.com,carol@example.com "},
		{"ask bo", "ask bob@example.com "}, {"/to zoe", "/to zoe"}, {"", ""},
	} {
		s.input.setText("")
		s.typed(c.typed)
		if s.press("tab"); s.input.text() != c.want {
			t.Errorf("%q becomes %q, not %q", c.typed, s.input.text(), c.want)
		}
	}
	s.input.setText("")
	s.typed("/to bo")
	s.press("tab", "tab")
	if got := s.input.text(); got != "/to bonny@example.com " {
		t.Errorf("the second one is %q", got)
	}
}

// Notifications are made only while the terminal is not looked at, and a
// message can't add anything to their sequences.
func TestNotifications(t *testing.T) {
	s := newStage(t, 80, 24)
	notify := func() string {
		cmd := s.notify(chat.Notify{Title: "mallory\x1b\\;x", Text: "a;b\a\x1b]0;owned\a\n\u202ec" + strings.Repeat("x", 5000)})
		if cmd == nil {
			return ""
		}
		return fmt.Sprint(cmd().(tea.RawMsg).Msg)
	}
	if got := notify(); got != "" {
		t.Errorf("while focused: %q", got)
	}
	s.Update(tea.BlurMsg{})
	got := notify()
	if !strings.HasPrefix(got, "\x1b]9;mallory\\x1b\\,x: a,b\\x07\\x1b]0,owned\\x07 \\u202ecxxx") || strings.Count(got, "\x1b") != 2 || strings.Count(got, "\a") != 3 || len(got) > 500 {
		t.Errorf("while unfocused: %q", got)
	}
	s.Update(tea.FocusMsg{})
	if got := notify(); got != "" {
		t.Errorf("while focused again: %q", got)
	}
}

// Ctrl-C clears the input; a second one quits, which waits for outcomes and
// refuses messages.
func TestCtrlC(t *testing.T) {
	s := newStage(t, 80, 24)
	s.say("/to bob")
	s.Update(eventMsg{chat.Answered{Request: chat.Request{Kind: chat.Watch}}})
	s.say("hello")
	s.typed("half")
	s.press("ctrl+c")
	if !s.input.isEmpty() || s.model.Quitting() {
		t.Fatal("one Ctrl-C does more than to clear the input")
	}
	s.typed("x")
	s.press("ctrl+c")
	if s.model.Quitting() {
		t.Fatal("a key between two Ctrl-C does not count")
	}
	s.press("ctrl+c")
	if !s.model.Quitting() || s.model.Finished() {
		t.Fatal("a second Ctrl-C does not wait for the outcome")
	}
	if err := s.arrives("bob@example.com", "hi"); !errors.Is(err, errQuitting) {
		t.Errorf("answered %v while quitting", err)
	}
	if s.Update(overdueMsg{}); !s.network.abandoned {
		t.Error("the outcome is waited for without end")
	}
	_, cmd := s.Update(eventMsg{chat.Outcome{ID: "m2", Results: []chat.Result{{To: address("bob@example.com"), Status: 201}}}})
	if _, ok := cmd().(tea.QuitMsg); !ok {
		t.Error("it does not end")
	}
	if !slices.Equal(s.farewell, []string{"-- in doubt, bob@example.com: hello"}) {
		t.Errorf("it prints %q", s.farewell)
	}
}

func TestQuitCommand(t *testing.T) {
	s := newStage(t, 80, 24)
	s.typed("/quit")
	if cmd := s.press("enter"); cmd == nil {
		t.Fatal("it does not end")
	} else if _, ok := cmd().(tea.QuitMsg); !ok {
		t.Error("it does not end")
	}
}

// A message is refused that can't be kept although it should be, and is not
// shown.
func TestHistoryThatCantBeWritten(t *testing.T) {
	s := newStage(t, 80, 24)
	kept, err := history.Open(filepath.Join(t.TempDir(), "history"), time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	s.config.History = kept
	if err := s.arrives("bob@example.com", "hi"); err != nil {
		t.Errorf("answered %v", err)
	}
	if err := kept.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.arrives("bob@example.com", "lost"); err == nil || !strings.Contains(s.frame(), "the history file can't be written") || strings.Contains(s.frame(), "lost") {
		t.Errorf("answered %v; the screen is\n%s", err, s.frame())
	}
}

func TestHistoryFile(t *testing.T) {
	s := newStage(t, 80, 24)
	file := filepath.Join(t.TempDir(), "history")
	kept, err := history.Open(file, time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	s.config.History = kept
	s.say("/to bob", "hello")
	s.outcome("m2", "bob@example.com", 200)
	_ = s.arrives("bob@example.com", "one\r\ntwo\u202e")
	got, err := os.ReadFile(file)
	want := "2026-11-22T12:00:00Z -- delivered to bob@example.com: hello\n2026-11-22T12:00:00Z <bob@example.com> one\\ntwo\\u202e\n"
	if err != nil || string(got) != want {
		t.Errorf("%v\n%s", err, got)
	}
}

// When the server takes the user no longer, the program ends with its reason.
func TestTheServerGivesTheUserUp(t *testing.T) {
	s := newStage(t, 80, 24)
	_, cmd := s.Update(gaveUpMsg{})
	if _, ok := cmd().(tea.QuitMsg); !ok || !s.gaveUp || !s.network.abandoned {
		t.Error("it does not end")
	}
}

func TestMouse(t *testing.T) {
	s := newStage(t, 80, 24)
	s.contacts("bob", "carol")
	s.Update(tea.MouseClickMsg{X: 3, Y: 2, Button: tea.MouseLeft})
	if got := s.model.Current().Title(); got != "carol@example.com" {
		t.Errorf("a click opened %q", got)
	}
	for i := range 100 {
		_ = s.arrives("carol@example.com", fmt.Sprint("message ", i))
	}
	s.Update(tea.MouseWheelMsg{Button: tea.MouseWheelUp})
	if frame := s.frame(); strings.Contains(frame, "message 97") || !strings.Contains(frame, "message 96") {
		t.Errorf("the wheel moved to\n%s", frame)
	}
}

// TestFrameForReadme draws what README shows: web-test makes a picture of it.
func TestFrameForReadme(t *testing.T) {
	s := newStage(t, 80, 18)
	s.contacts("bob", "carol", "dora")
	s.say("/to bob")
	s.presence("bob@example.com", protocol.Available, "at my desk")
	s.presence("carol@example.com", protocol.Away, "back at two")
	s.presence("dora@example.com", protocol.Deaf, "")
	s.now = noon.Add(-19 * time.Minute)
	for _, line := range []struct{ from, text string }{
		{"bob", "Good morning! Did the train make it?"}, {"", "It did. I am in the office at ten."}, {"bob", "Shall we have lunch at noon? The place around the corner is open again."},
		{"", "With pleasure. I will ask Dora, too."},
	} {
		s.now = s.now.Add(time.Minute)
		if line.from == "" {
			s.say(line.text)
			s.outcome(fmt.Sprint("m", s.ids), "bob@example.com", 200)
			continue
		}
		answer := make(chan error, 1)
		s.Update(incomingMsg{Arrived: chat.Arrived{From: address(line.from + "@example.com"), At: s.now, Text: line.text, Signature: "signed, verified"}, Answer: answer})
		<-answer
	}
	s.say("/to dora", "Lunch at noon?")
	s.outcome(fmt.Sprint("m", s.ids), "dora@example.com", 480)
	if err := s.arrives("carol@example.com", "I have the tickets."); err != nil {
		t.Fatal(err)
	}
	s.say("/to bob")
	s.typed("Dora does not listen now, but Carol")
	s.expectColors("readme-80x18")
}
