package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"simpd/cmd/internal/cli"
	"simpd/cmd/simp/internal/entity"
	"simpd/protocol"
	"simpd/protocol/client"
)

const listenLong = `Listen shows messages as they arrive, until it is interrupted. A sender is told
"delivered" only once a message is written out.

It connects again when the connection is lost, and moves to another server when
its own is about to stop, without missing anything. A message that comes twice
is shown once. Characters that a terminal would obey, or that would change the
direction of the text, are shown as escapes such as \x1b or \u202e.`

// listening holds the flags of listen.
type listening struct {
	state     string
	note      string
	exclusive bool
}

func (a *app) listenCommand() *cobra.Command {
	var l listening
	c := &cobra.Command{
		Use: "listen", Short: "Show messages as they arrive", Long: listenLong,
		Args: argumentCount(0, 0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error { return a.listen(c.Context(), l) },
	}
	c.Flags().StringVar(&l.state, "state", "available", "what others see: available, busy or away")
	c.Flags().StringVar(&l.note, "note", "", "a `TEXT` that others see with the state")
	c.Flags().BoolVar(&l.exclusive, "exclusive", false, "make your other sessions stop listening")
	_ = c.RegisterFlagCompletionFunc("state", cobra.FixedCompletions([]string{"available", "busy", "away"}, cobra.ShellCompDirectiveNoFileComp))
	return c
}

func (l listening) listenRequest() (protocol.ListenRequest, error) {
	r := protocol.ListenRequest{Note: l.note, Exclusive: l.exclusive}
	state, ok := protocol.ParseListening(l.state)
	if !ok {
		return r, usageErrorf("invalid --state %q: must be available, busy or away", l.state)
	}
	r.State = state
	if !protocol.ValidNote(l.note) {
		return r, usageErrorf("invalid --note: must be at most %d octets of UTF-8, without control characters", protocol.MaxNote)
	}
	return r, nil
}

func (a *app) listen(ctx context.Context, l listening) error {
	r, err := l.listenRequest()
	if err != nil {
		return err
	}
	e := ears{app: a, stop: make(chan struct{})}
	c, err := a.connect(ctx, e.setHandlers)
	if err != nil {
		return err
	}
	defer hangUp(c)
	if _, err := c.Listen(ctx, r); err != nil {
		return ignoreInterrupt(ctx, err)
	}
	a.printNote("%s is listening, and shown as %s; stop with Ctrl-C", c.User(), r.State)
	return e.awaitEnd(ctx, c)
}

// ignoreInterrupt takes an interrupt for what it is: no failure.
func ignoreInterrupt(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// ears shows messages, and ends the program when there is no use in going on.
type ears struct {
	*app
	once sync.Once
	stop chan struct{}
	why  error
}

func (e *ears) setHandlers(config *client.Config) {
	config.OnMessage = e.writeMessage
	config.OnEvent = e.reportEvent
}

// awaitEnd returns when the user, or a failure, ends the program.
func (e *ears) awaitEnd(ctx context.Context, c *client.Client) error {
	select {
	case <-ctx.Done():
		return nil
	case <-e.stop:
		return e.why
	case <-c.Done():
		return c.Err()
	}
}

func (e *ears) endWith(why error) {
	e.once.Do(func() {
		e.why = why
		close(e.stop)
	})
}

// writeMessage writes a message out. Only then may the sender be told "delivered".
func (e *ears) writeMessage(_ context.Context, m *protocol.Message) error {
	if err := e.printMessage(m); err != nil {
		e.endWith(fmt.Errorf("writing a message: %w", err))
		return errors.New("it could not be shown")
	}
	return nil
}

// messageJSON is a message for programs. Text is there if it is plain text.
type messageJSON struct {
	From        string  `json:"from"`
	To          string  `json:"to"`
	ID          string  `json:"id"`
	Time        string  `json:"time"`
	ContentType string  `json:"content_type"`
	Text        *string `json:"text,omitempty"`
	Entity      []byte  `json:"entity"` // base64
}

func (a *app) printMessage(m *protocol.Message) error {
	c := entity.Read(m.Entity)
	if !a.printsJSON() {
		return a.printf("%s %s: %s", a.formatTime(m.Time), a.emphasize(cli.Escape(m.From.String())), c.Describe(len(m.Entity)))
	}
	j := messageJSON{
		From: m.From.String(), To: m.To.String(), ID: m.ID, Time: m.Time.UTC().Format(protocol.TimeFormat),
		ContentType: c.Kind, Entity: m.Entity,
	}
	if c.IsText {
		j.Text = &c.Text
	}
	return a.printJSON(j)
}

// formatTime formats the time of a message: with the date for the first message of
// another day than the one before. Messages are shown one at a time.
func (a *app) formatTime(t time.Time) string {
	t = t.In(a.zone)
	day, layout := t.Format(time.DateOnly), time.TimeOnly
	if a.day != "" && day != a.day {
		layout = time.DateTime
	}
	a.day = day
	return t.Format(layout)
}

func (e *ears) reportEvent(event client.Event) {
	if event.Kind == client.Unlistened {
		e.endWith(fmt.Errorf("another session of yours is listening now, so this one no longer is%s", reasonInBrackets(event.Text)))
		return
	}
	e.tellEvent(event)
}

// tellEvent tells how the connection fares.
func (a *app) tellEvent(event client.Event) {
	switch event.Kind {
	case client.Lost:
		a.printNote("the connection was lost (%s); connecting again", event.Text)
	case client.Connected:
		a.printNote("connected again")
	case client.Retrying:
		a.printNote("still not connected: %s", event.Text)
	case client.Moved:
		a.printNote("%s", event.Text)
	case client.Stale:
		a.printNote("the server is cut off from its site: presence may be out of date")
	case client.Fresh:
		a.printNote("presence is up to date again")
	}
}
