// Package cli holds what the programs of this repository share as commands in
// a terminal: signals, prompts, standard input, and the words of usage errors.
package cli

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// Context returns a context that the first SIGINT, SIGTERM or SIGHUP cancels, the
// last unless it was ignored, as nohup has it. The second one kills the process, whatever it waits for. A closed output is an
// error of the write from now on, rather than the end of the process (SIGPIPE):
// the exit code has to tell what was done.
func Context() (ctx context.Context, stop func()) {
	signal.Ignore(syscall.SIGPIPE)
	ends := []os.Signal{syscall.SIGINT, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		ends = append(ends, syscall.SIGHUP)
	}
	ctx, stop = signal.NotifyContext(context.Background(), ends...)
	context.AfterFunc(ctx, stop) // from now on a signal does what the system has it do
	return ctx, stop
}
