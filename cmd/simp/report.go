package main

import (
	"context"
	"errors"
	"fmt"
	"net"

	"simpd/cmd/internal/cli"
	"simpd/protocol"
	"simpd/protocol/client"
)

// reportError says on standard error why a command failed, in one line, and
// returns the exit code.
func (a *app) reportError(err error) int {
	var said exitError
	var usage *cli.UsageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &said):
		return int(said)
	}
	fmt.Fprintln(a.errOut, "simp: "+cli.Escape(explainError(err)))
	if errors.As(err, &usage) {
		return 2
	}
	return 1
}

// explainError says what is wrong, and what to do where that is known.
func explainError(err error) string {
	var refused *protocol.Error
	var unreachable *net.OpError
	switch {
	case errors.Is(err, context.Canceled):
		return "interrupted"
	case errors.As(err, &refused):
		return explainRefusal(refused)
	case errors.Is(err, client.ErrNoTLS):
		return err.Error() + "; nothing was sent in clear"
	case errors.As(err, &unreachable) && unreachable.Op == "dial":
		return err.Error() + "; is it running, and is --server right?"
	}
	return err.Error()
}

func explainRefusal(e *protocol.Error) string {
	text := fmt.Sprintf("%s (%d)", e.Text, int(e.Status))
	switch e.Status {
	case protocol.StatusUnauthorized:
		return text + "; are --user and the password right?"
	case protocol.StatusSlowDown:
		if e.Retry > 0 {
			return fmt.Sprintf("%s; try again in %d s", text, e.Retry)
		}
	}
	return text
}
