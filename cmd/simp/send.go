package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"simpd/cmd/internal/cli"
	"simpd/cmd/simp/internal/entity"
	"simpd/cmd/simp/internal/outcome"
	"simpd/cmd/simp/internal/trust"
	"simpd/protocol"
	"simpd/protocol/client"
)

const sendLong = `Send sends a text to the addresses, and reports the outcome for each.

    simp send bob@example.com "Lunch?"
    simp send bob@example.com,carol@example.com Lunch?
    echo "Lunch?" | simp send bob@example.com -

Without a text, or with -, the text is read from standard input. Flags come
before the address: everything after it is the text, even words such as -h or
--output. Nothing is stored for later: a recipient who does not listen does not
get the message.

It exits with 0 if the message was delivered (the recipient's program has said
so), with 3 if nobody listens there, with 4 if the outcome is in doubt (the
message may or may not have arrived), and with 1 after other failures. For
several recipients, the first of 1, 4, 3 and 0 that occurred is used.`

// sending holds the flags of send.
type sending struct {
	id      string
	timeout time.Duration
	repeats int
	mime    bool
	sign    bool
}

func (a *app) sendCommand() *cobra.Command {
	var s sending
	c := &cobra.Command{
		Use: "send IMA[,IMA…] [TEXT | -]", Short: "Send a message", Long: sendLong,
		Args: cli.ArgumentCount(1, -1, "an address, and a text or -"),
		RunE: func(c *cobra.Command, args []string) error { return a.sendMessage(c.Context(), s, args) },
	}
	c.Flags().SetInterspersed(false) // a text may look like a flag
	c.Flags().StringVar(&s.id, "id", "", "the message's `ID`; a message sent again with the same one is not shown again")
	c.Flags().DurationVar(&s.timeout, "timeout", protocol.DefaultTimeout, "how long to wait for an answer, 1s to 60s")
	c.Flags().IntVar(&s.repeats, "repeats", 0, "how often to send a message that is in doubt again")
	c.Flags().BoolVar(&s.mime, "mime", false, "the text is a whole MIME entity with its header, sent octet for octet")
	c.Flags().BoolVar(&s.sign, "sign", false, "sign the message with the key of this device (simp key add)")
	return c
}

func (a *app) sendMessage(ctx context.Context, s sending, args []string) error {
	m, err := a.composeMessage(s, args)
	if err != nil {
		return err
	}
	return a.withClient(ctx, func(c *client.Client) error {
		if s.sign {
			if m, err = a.sign(ctx, c, m); err != nil {
				return err
			}
		}
		report, err := c.Send(ctx, m)
		if err != nil {
			return err
		}
		if err := a.printReport(report); err != nil {
			a.printNote("simp: writing the outcome: %v", err) // the exit code still tells it
		}
		return exitOf(report)
	})
}

// sign signs a message with the key of this device.
func (a *app) sign(ctx context.Context, c *client.Client, m client.Message) (client.Message, error) {
	key, err := trust.New(c, a.openKeyring(c)).Device(ctx)
	if err != nil {
		return m, err
	}
	return c.Sign(key, m)
}

// composeMessage makes the message of the command's arguments.
func (a *app) composeMessage(s sending, args []string) (m client.Message, err error) {
	m = client.Message{ID: s.id, Timeout: s.timeout, Retries: s.repeats}
	switch {
	case s.timeout < time.Second || s.timeout > protocol.MaxTimeout || s.timeout%time.Second != 0:
		return m, cli.UsageErrorf("invalid --timeout: must be 1s to 60s, in whole seconds")
	case s.id != "" && !protocol.ValidID(s.id):
		return m, cli.UsageErrorf("invalid --id: must be 1 to 64 letters, digits, hyphens, underscores and dots")
	case s.repeats < 0:
		return m, cli.UsageErrorf("invalid --repeats: must not be negative")
	}
	if m.To, err = parseAddresses(args[0]); err != nil {
		return m, err
	}
	if len(m.To) > protocol.MaxRecipients {
		return m, cli.UsageErrorf("too many recipients: a message has at most %[2]d, not %[1]d", len(m.To), protocol.MaxRecipients)
	}
	text, read, err := a.readText(args[1:])
	switch {
	case err != nil:
		return m, err
	case text == "" && read:
		return m, cli.UsageErrorf("standard input contains no text; nothing was sent")
	case text == "":
		return m, cli.UsageErrorf("the text is empty; nothing was sent")
	case s.mime:
		m.Entity = []byte(text)
		return m, nil
	case read: // the last line's end belongs to the file, not to the text
		text = strings.TrimSuffix(strings.TrimSuffix(text, "\n"), "\r")
	}
	m.Entity, err = entity.FromText(text)
	return m, err
}

// readText returns the text of the arguments; without any it reads standard
// input, and read is true.
func (a *app) readText(words []string) (text string, read bool, err error) {
	const most = 64 << 20 // far above what any server takes
	if len(words) > 1 || len(words) == 1 && words[0] != "-" {
		return strings.Join(words, " "), false, nil
	}
	b, err := io.ReadAll(io.LimitReader(a.in, most))
	if err != nil {
		return "", true, fmt.Errorf("reading the text: %w", err)
	}
	return string(b), true, nil
}

// exitOf returns the worst of the recipients' exit codes, as an error.
func exitOf(r client.Report) error {
	worst := outcome.Delivered
	for _, one := range r.Results {
		worst = outcome.Worse(worst, outcome.ExitCode(one.Status))
	}
	if worst == outcome.Delivered {
		return nil
	}
	return exitError(worst)
}

// reportJSON is a report for programs.
type reportJSON struct {
	ID         string       `json:"id"`
	Status     int          `json:"status"`
	Recipients []resultJSON `json:"recipients"`
}

type resultJSON struct {
	To     string `json:"to"`
	Status int    `json:"status"`
	Text   string `json:"text,omitempty"`
}

func (a *app) printReport(r client.Report) error {
	if a.printsJSON() {
		j := reportJSON{ID: r.ID, Status: int(r.Status)}
		for _, one := range r.Results {
			j.Recipients = append(j.Recipients, resultJSON{one.To.String(), int(one.Status), one.Text})
		}
		return a.printJSON(j)
	}
	for _, one := range r.Results {
		if err := a.printf("%s", cli.Escape(outcomeSentence(one))); err != nil {
			return err
		}
	}
	return nil
}

// outcomeSentence says what became of a message for one recipient.
func outcomeSentence(r client.Result) string {
	switch r.Status {
	case protocol.StatusOK:
		return fmt.Sprintf("delivered to %s", r.To)
	case protocol.StatusIndeterminate:
		return fmt.Sprintf("in doubt: %s may have it or not; no answer came", r.To)
	case protocol.StatusNotListening:
		return fmt.Sprintf("not delivered: %s is not listening (nothing was kept)", r.To)
	case protocol.StatusNotReading:
		return fmt.Sprintf("not delivered: the program of %s takes nothing at present (nothing was kept)", r.To)
	case protocol.StatusRefused:
		return fmt.Sprintf("not delivered: the program of %s refused it%s", r.To, reasonInBrackets(r.Text))
	case protocol.StatusUnknownAddress:
		return fmt.Sprintf("not delivered: there is no user %s", r.To)
	}
	return fmt.Sprintf("not delivered to %s: %s (%d)", r.To, cmp.Or(r.Text, "refused"), int(r.Status))
}

func reasonInBrackets(text string) string {
	if text == "" {
		return ""
	}
	return ": " + text
}
