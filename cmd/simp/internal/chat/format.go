package chat

import (
	"fmt"
	"time"

	"simpd/cmd/internal/cli"
	"simpd/cmd/simp/internal/entity"
	"simpd/cmd/simp/internal/outcome"
	"simpd/protocol"
)

// The functions below make the lines of line mode. They escape everything that
// others have written; later lines of a text are indented.

// FormatMessage returns the line for a received message, as of a zone.
func FormatMessage(e *Entry, zone *time.Location) string {
	return fmt.Sprintf("%s <%s> %s", e.At.In(zone).Format("15:04"), cli.Escape(e.From.String()), entity.EscapeLines(e.Text))
}

// FormatOutcome returns the line for what became of a message.
func FormatOutcome(o ShowOutcome) string {
	to, text := cli.Escape(o.To.String()), entity.EscapeLines(o.Message)
	switch o.Status {
	case protocol.StatusOK:
		return fmt.Sprintf("-- delivered to %s: %s", to, text)
	case protocol.StatusIndeterminate:
		return fmt.Sprintf("-- in doubt, %s: %s", to, text)
	}
	return fmt.Sprintf("-- not delivered to %s (%s): %s", to, outcome.Word(o.Status), text)
}

// FormatPresence returns the line for a presence.
func FormatPresence(p protocol.Presence) string {
	line := fmt.Sprintf("** %s is %s", cli.Escape(p.Address.String()), outcome.StateWord(p.State))
	if p.Note != "" {
		line += ", " + cli.EscapeText(p.Note)
	}
	return line
}
