// Package line is simp chat in line mode: it only appends complete lines, for
// scripts, dumb terminals and screen readers. The lines for messages, outcomes
// and presence go to one output; everything else goes to another.
package line

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"simpd/cmd/internal/cli"
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

// Config configures Run. All fields but History are required.
type Config struct {
	In      io.Reader // a read of it ends with the context of Run
	Out     io.Writer // messages, outcomes and presence
	Notes   io.Writer // everything else
	Model   *chat.Model
	Session Session
	History *history.File
	NewID   func() string
}

const (
	maxLine  = 1 << 20 // octets of a typed line
	quitWait = 3 * time.Second
	// maxAhead is how many messages are read from the input before the outcome
	// of the first is known.
	maxAhead = chat.MaxOutstanding / 2
)

// Run chats until the end of the input, until the user quits or ctx ends. It
// returns after the outcomes of all messages were written; the exit code is the
// model's.
func Run(ctx context.Context, config Config) error {
	f := &frontEnd{Config: config}
	input := readLines(config.In)
	err := f.loop(ctx, input)
	if bad := input.err; err == nil && ctx.Err() == nil && bad != nil && input.ended {
		err = fmt.Errorf("reading the input: %w", bad)
	}
	return err
}

// input is the user's lines.
type input struct {
	lines chan string // closed at the end of the input
	err   error       // why it ended, once ended is set
	ended bool        // lines was found closed
}

// readLines reads lines until the end of the input. Its goroutine may outlive
// Run, until the process ends.
func readLines(r io.Reader) *input {
	in := &input{lines: make(chan string)}
	go func() {
		s := bufio.NewScanner(r)
		s.Buffer(nil, maxLine)
		for s.Scan() {
			in.lines <- s.Text()
		}
		in.err = s.Err()
		if errors.Is(in.err, bufio.ErrTooLong) {
			in.err = fmt.Errorf("a line has more than %d octets", maxLine)
		}
		close(in.lines)
	}()
	return in
}

type frontEnd struct {
	Config
	day      string                      // of the message shown last
	marks    map[protocol.Address]string // what was said last of the signatures of a sender
	writeErr error
}

func (f *frontEnd) loop(ctx context.Context, in *input) error {
	interrupted, gaveUp := ctx.Done(), f.Session.Done()
	var overdue <-chan time.Time
	for !f.Model.Finished() {
		select {
		case text, ok := <-f.readable(in):
			if !ok {
				in.ended = true
				f.update(chat.Quit{})
				break
			}
			f.update(chat.Typed{Text: text, ID: f.NewID(), At: time.Now()})
		case e := <-f.Session.Events():
			f.update(e)
		case m := <-f.Session.Incoming():
			m.Answer <- f.receive(m.Arrived)
		case <-interrupted:
			interrupted, overdue = nil, time.After(quitWait)
			f.update(chat.Quit{})
		case <-overdue:
			f.Session.Abandon()
		case <-gaveUp:
			gaveUp = nil
			f.Session.Abandon()
			f.update(chat.Quit{})
		}
		if f.writeErr != nil {
			return fmt.Errorf("writing a line: %w", f.writeErr)
		}
	}
	if gaveUp == nil {
		return f.Session.Err()
	}
	return nil
}

// readable returns the lines of the input, unless it is not to be read now.
func (f *frontEnd) readable(in *input) <-chan string {
	if f.Model.Quitting() || f.Model.Outstanding() >= maxAhead {
		return nil
	}
	return in.lines
}

// errQuitting refuses messages while the program ends.
var errQuitting = protocol.Errorf(protocol.StatusRefused, "the recipient's program is being closed")

// receive keeps and shows a message. Only then is it delivered.
func (f *frontEnd) receive(m chat.Arrived) error {
	if f.Model.Quitting() {
		return errQuitting
	}
	if m.At.IsZero() {
		m.At = time.Now()
	}
	if err := f.History.AddMessage(m); err != nil {
		f.update(chat.Trouble{Text: "a message of " + m.From.String() + " was refused, because the history file can't be written: " + err.Error()})
		return errors.New("it could not be kept")
	}
	f.update(m)
	if f.writeErr != nil {
		return errors.New("it could not be shown")
	}
	return nil
}

// update applies an event to the model, and does what follows from it.
func (f *frontEnd) update(e chat.Event) {
	for _, effect := range f.Model.Update(e) {
		f.do(effect)
	}
}

func (f *frontEnd) do(effect chat.Effect) {
	switch e := effect.(type) {
	case chat.Send, chat.Request:
		f.Session.Start(e)
	case chat.ShowMessage:
		f.noteDay(e.At)
		f.noteSignature(e.Entry)
		f.print(chat.FormatMessage(e.Entry, f.Model.Zone()))
	case chat.ShowOutcome:
		f.showOutcome(e)
	case chat.ShowPresence:
		f.print(chat.FormatPresence(e.Presence))
	case chat.Note:
		f.note(e.Text)
	}
}

func (f *frontEnd) showOutcome(o chat.ShowOutcome) {
	f.print(chat.FormatOutcome(o))
	switch o.Status {
	case protocol.StatusOK, protocol.StatusIndeterminate, protocol.StatusNotListening, protocol.StatusUnknownAddress: // the line says it all
	default:
		if o.Text != "" {
			f.note(fmt.Sprintf("%s: %s", o.To, o.Text))
		}
	}
	if err := f.History.AddOutcome(time.Now(), o); err != nil {
		f.note("the history file can't be written: " + err.Error())
	}
}

// noteDay tells the date when the day changes.
func (f *frontEnd) noteDay(at time.Time) {
	day := at.In(f.Model.Zone()).Format("Monday, 2 January 2006")
	if f.day != "" && f.day != day {
		f.note(day)
	}
	f.day = day
}

// noteSignature tells what is known of the signature of a message that follows,
// unless it is what was told last of its sender.
func (f *frontEnd) noteSignature(e *chat.Entry) {
	if f.marks[e.From] == e.Signature {
		return
	}
	if f.marks == nil {
		f.marks = map[protocol.Address]string{}
	}
	f.marks[e.From] = e.Signature
	f.note("messages of " + e.From.String() + " from here on: " + e.Signature)
}

// print writes one complete line, with the lines that belong to it.
func (f *frontEnd) print(line string) {
	if f.writeErr == nil {
		_, f.writeErr = io.WriteString(f.Out, line+"\n")
	}
}

func (f *frontEnd) note(text string) {
	_, _ = io.WriteString(f.Notes, cli.Escape(text)+"\n") // which may be closed, and changes nothing
}
