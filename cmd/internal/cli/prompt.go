package cli

import (
	"context"
	"os"

	"golang.org/x/term"
)

// IsTerminal reports whether f is a file that is a terminal.
func IsTerminal(f any) bool {
	file, ok := f.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// ReadPassword reads a line from a terminal without showing it. When ctx ends
// it restores the terminal's echo and returns the context's error.
func ReadPassword(ctx context.Context, tty *os.File) (string, error) {
	fd := int(tty.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return "", err
	}
	type result struct {
		password []byte
		err      error
	}
	read := make(chan result, 1)
	go func() { // ends with the process at the latest: nothing else can end a read
		b, err := term.ReadPassword(fd)
		read <- result{b, err}
	}()
	select {
	case got := <-read:
		return string(got.password), got.err
	case <-ctx.Done():
		_ = term.Restore(fd, before) // fails only if the terminal is gone
		return "", ctx.Err()
	}
}
