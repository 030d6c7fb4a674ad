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
	"simpd/cmd/simp/internal/trust"
	"simpd/protocol"
	"simpd/protocol/client"
	"simpd/protocol/signature"
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

	requireSigned bool
	showBad       bool
}

func (a *app) listenCommand() *cobra.Command {
	var l listening
	c := &cobra.Command{
		Use: "listen", Short: "Show messages as they arrive", Long: listenLong,
		Args: cli.ArgumentCount(0, 0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error { return a.listen(c.Context(), l) },
	}
	c.Flags().StringVar(&l.state, "state", "available", "what others see: available, busy or away")
	c.Flags().StringVar(&l.note, "note", "", "a `TEXT` that others see with the state")
	c.Flags().BoolVar(&l.exclusive, "exclusive", false, "make your other sessions stop listening")
	c.Flags().BoolVar(&l.requireSigned, "require-signed", false, "refuse messages that are not signed, or signed with a new key; the first key of a sender is taken")
	c.Flags().BoolVar(&l.showBad, "show-bad", false, "show the text of messages whose signature is bad")
	_ = c.RegisterFlagCompletionFunc("state", cobra.FixedCompletions([]string{"available", "busy", "away"}, cobra.ShellCompDirectiveNoFileComp))
	return c
}

func (l listening) listenRequest() (protocol.ListenRequest, error) {
	r := protocol.ListenRequest{Note: l.note, Exclusive: l.exclusive}
	state, ok := protocol.ParseListening(l.state)
	if !ok {
		return r, cli.UsageErrorf("invalid --state %q: must be available, busy or away", l.state)
	}
	r.State = state
	if !protocol.ValidNote(l.note) {
		return r, cli.UsageErrorf("invalid --note: must be at most %d octets of UTF-8, without control characters", protocol.MaxNote)
	}
	return r, nil
}

func (a *app) listen(ctx context.Context, l listening) error {
	r, err := l.listenRequest()
	if err != nil {
		return err
	}
	e := ears{app: a, stop: make(chan struct{}), listening: l, ready: make(chan struct{})}
	c, err := a.connect(ctx, e.setHandlers)
	if err != nil {
		return err
	}
	defer hangUp(c)
	e.trust = trust.New(c, a.openKeyring(c))
	close(e.ready)
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
	listening
	trust *trust.Trust // once ready is closed
	ready chan struct{}
	once  sync.Once
	stop  chan struct{}
	why   error
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
func (e *ears) writeMessage(ctx context.Context, m *protocol.Message) error {
	select {
	case <-e.ready:
	default: // before LISTEN, when no server may send any
		return errors.New("it comes too early")
	}
	v := e.trust.Verify(ctx, m)
	if v.IsClosing() {
		return errors.New("the recipient's program is being closed")
	}
	if e.requireSigned && v.State != signature.Signed {
		return protocol.Errorf(protocol.StatusRefused, "only signed messages are taken here")
	}
	if err := e.printMessage(m, v); err != nil {
		e.endWith(fmt.Errorf("writing a message: %w", err))
		return errors.New("it could not be shown")
	}
	if err := e.trust.Accept(m, v); err != nil {
		e.printNote("the key of %s could not be remembered: %v", m.From, err)
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
	Entity      []byte  `json:"entity"` // base64; null if the signature is bad, without --show-bad
	Signature   string  `json:"signature"`
	Key         string  `json:"kid,omitempty"`
	Verified    bool    `json:"verified,omitempty"`
	Why         string  `json:"signature_error,omitempty"`
}

func (e *ears) printMessage(m *protocol.Message, v trust.Verdict) error {
	c := entity.Read(m.Entity)
	if !e.printsJSON() {
		text := c.Describe(len(m.Entity))
		if v.IsBad() && !e.showBad {
			text = "[not shown: " + cli.Escape(v.Reason()) + "; simp listen --show-bad shows it]"
		}
		return e.printf("%s %s (%s): %s", e.formatTime(m.Time), e.emphasize(cli.Escape(m.From.String())), cli.Escape(v.Mark()), text)
	}
	j := messageJSON{
		Signature: v.State.String(), Key: v.KeyID, Verified: v.Verified, Why: v.Reason(),
		From: m.From.String(), To: m.To.String(), ID: m.ID, Time: m.Time.UTC().Format(protocol.TimeFormat),
		ContentType: c.Kind, Entity: m.Entity,
	}
	switch {
	case v.IsBad() && !e.showBad:
		j.Entity = nil
	case c.IsText:
		j.Text = &c.Text
	}
	return e.printJSON(j)
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
