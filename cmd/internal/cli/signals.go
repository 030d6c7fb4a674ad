// Package cli holds what the programs of this repository share as commands in
// a terminal: signals, prompts, standard input, and the words of usage errors.
package cli

import (
	"context"
	"os/signal"
	"syscall"
)

// Context returns a context that the first SIGINT or SIGTERM cancels. The
// second one kills the process, whatever it waits for. A closed output is an
// error of the write from now on, rather than the end of the process (SIGPIPE):
// the exit code has to tell what was done.
func Context() (ctx context.Context, stop func()) {
	signal.Ignore(syscall.SIGPIPE)
	ctx, stop = signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // from now on a signal does what the system has it do
	return ctx, stop
}
