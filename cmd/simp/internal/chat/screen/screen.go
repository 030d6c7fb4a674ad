// Package screen is simp chat on the full screen of a terminal: contacts, the
// open conversation, and an input line.
package screen

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/colorprofile"

	"simpd/cmd/simp/internal/chat"
	"simpd/cmd/simp/internal/chat/history"
	"simpd/protocol"
)

// Session is the connection of the user.
type Session interface {
	Events() <-chan chat.Event
	Incoming() <-chan chat.Incoming
	Start(chat.Effect) // carries out a Send or a Request
	Abandon()          // stops waiting for outcomes
	Done() <-chan struct{}
	Err() error
}

// Config configures Run. In, Out, Model, Session, NewID and Now are required.
type Config struct {
	In      io.Reader // the terminal
	Out     io.Writer // the terminal
	Model   *chat.Model
	Session Session
	History *history.File
	NewID   func() string
	Now     func() time.Time
	Mouse   bool // take the mouse from the terminal
	ASCII   bool // show ASCII only, for a locale that is not UTF-8
	NoColor bool
}

// quitWait limits the wait for outcomes when the user quits.
const quitWait = 3 * time.Second

// framesPerSecond bounds how often the screen is drawn: a key is seen within
// 8 ms and the time that drawing takes.
const framesPerSecond = 120

// Run chats until the user quits or ctx ends. It returns after the outcomes of
// the messages that were on their way were printed below the screen that it has
// restored.
func Run(ctx context.Context, config Config) error {
	u := newUI(config)
	options := []tea.ProgramOption{
		tea.WithInput(config.In), tea.WithOutput(config.Out), tea.WithoutSignalHandler(), tea.WithFPS(framesPerSecond),
	}
	if config.NoColor {
		options = append(options, tea.WithColorProfile(colorprofile.ASCII))
	}
	p := tea.NewProgram(u, options...)
	ended := make(chan struct{})
	go forward(ctx, p, config.Session, ended)
	_, err := p.Run()
	close(ended)
	for _, line := range u.farewell {
		fmt.Fprintln(config.Out, line)
	}
	if errors.Is(err, tea.ErrInterrupted) {
		err = nil
	}
	if err == nil && u.gaveUp {
		err = config.Session.Err()
	}
	return err
}

type (
	eventMsg    struct{ chat.Event }
	incomingMsg chat.Incoming
	quitMsg     struct{} // the process is to end
	gaveUpMsg   struct{} // there will be no more connections
	overdueMsg  struct{} // outcomes were waited for long enough
)

// forward passes on what happens in the network until the program ends.
func forward(ctx context.Context, p *tea.Program, s Session, ended <-chan struct{}) {
	interrupted, gaveUp := ctx.Done(), s.Done()
	for {
		select {
		case e := <-s.Events():
			p.Send(eventMsg{e})
		case m := <-s.Incoming():
			p.Send(incomingMsg(m))
		case <-interrupted:
			interrupted = nil
			p.Send(quitMsg{})
		case <-gaveUp:
			gaveUp = nil
			p.Send(gaveUpMsg{})
		case <-ended:
			return
		}
	}
}

// ui is the model of Bubble Tea: the chat, and what is seen of it.
type ui struct {
	config  Config
	model   *chat.Model
	symbols symbols

	width, height int
	input         editor
	anchor        *anchor     // nil: the newest messages are shown
	newBelow      bool        // there are new ones below what is shown
	selected      *chat.Entry // a message in doubt, to be sent again
	blurred       bool        // the terminal has told that it is not looked at
	hint          string      // instead of the status, until the next key
	mayQuit       bool        // Ctrl-C was the last key
	completions   completions
	rosterTop     int
	rendered      map[*chat.Entry]rendered

	gaveUp   bool
	farewell []string // to be printed at the end
}

func newUI(config Config) *ui {
	u := &ui{config: config, model: config.Model, symbols: unicodeSymbols, rendered: make(map[*chat.Entry]rendered)}
	if config.ASCII {
		u.symbols = asciiSymbols
	}
	return u
}

// Init is called by Bubble Tea at the beginning.
func (u *ui) Init() tea.Cmd { return nil }

// Update is called by Bubble Tea for everything that happens.
func (u *ui) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	cmd := u.handle(msg)
	if u.model.Finished() {
		cmd = tea.Quit
	}
	return u, cmd
}

func (u *ui) handle(msg tea.Msg) tea.Cmd {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		u.width, u.height = msg.Width, msg.Height
		clear(u.rendered)
	case tea.KeyPressMsg:
		return u.onKey(msg)
	case tea.PasteMsg:
		u.input.insert(msg.Content)
	case tea.FocusMsg:
		u.blurred = false
	case tea.BlurMsg:
		u.blurred = true
	case tea.MouseWheelMsg:
		u.onWheel(msg.Button)
	case tea.MouseClickMsg:
		return u.onClick(msg.X, msg.Y)
	case eventMsg:
		return u.update(msg.Event)
	case incomingMsg:
		return u.receive(msg)
	case quitMsg:
		return u.quit()
	case gaveUpMsg:
		u.gaveUp = true
		u.config.Session.Abandon()
		return u.update(chat.Quit{})
	case overdueMsg:
		u.config.Session.Abandon()
	}
	return nil
}

// quit waits for outcomes, for a while.
func (u *ui) quit() tea.Cmd {
	if u.model.Quitting() {
		u.config.Session.Abandon()
		return nil
	}
	return tea.Batch(u.update(chat.Quit{}), waitForOutcomes())
}

func waitForOutcomes() tea.Cmd {
	return tea.Tick(quitWait, func(time.Time) tea.Msg { return overdueMsg{} })
}

// errQuitting refuses messages while the program ends.
var errQuitting = protocol.Errorf(protocol.StatusRefused, "the recipient's program is being closed")

// receive keeps a message and takes it into its conversation. Only then is it
// delivered.
func (u *ui) receive(m incomingMsg) tea.Cmd {
	if u.model.Quitting() {
		m.Answer <- errQuitting
		return nil
	}
	if m.At.IsZero() {
		m.At = u.config.Now()
	}
	if err := u.config.History.AddMessage(m.Arrived); err != nil {
		m.Answer <- errors.New("it could not be kept")
		return u.update(chat.Trouble{Text: "a message of " + m.From.String() + " was refused, because the history file can't be written: " + err.Error()})
	}
	cmd := u.update(m.Arrived)
	m.Answer <- nil
	return cmd
}

// update applies an event to the chat, and does what follows from it.
func (u *ui) update(e chat.Event) tea.Cmd { return u.do(u.model.Update(e)) }

func (u *ui) do(effects []chat.Effect) tea.Cmd {
	var cmds []tea.Cmd
	for _, effect := range effects {
		switch e := effect.(type) {
		case chat.Send, chat.Request:
			u.config.Session.Start(e)
		case chat.ShowMessage:
			u.markNew(e.Entry)
		case chat.ShowOutcome:
			u.onOutcome(e)
		case chat.Notify:
			cmds = append(cmds, u.notify(e))
		}
	}
	return tea.Batch(cmds...)
}

// markNew marks a message that the user does not see at once.
func (u *ui) markNew(e *chat.Entry) {
	c := u.model.Current()
	if entries := c.Entries; len(entries) == 0 || entries[len(entries)-1] != e {
		return
	}
	if u.anchor != nil {
		u.newBelow = true
	}
	if (u.anchor != nil || u.blurred) && c.FirstUnread == nil {
		c.FirstUnread = e
	}
}

func (u *ui) onOutcome(o chat.ShowOutcome) {
	if u.model.Quitting() {
		u.farewell = append(u.farewell, u.plain(chat.FormatOutcome(o)))
	}
	if err := u.config.History.AddOutcome(u.config.Now(), o); err != nil {
		u.hint = u.plain("the history file can't be written: " + err.Error())
	}
}
