package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"simpd/cmd/internal/cli"
)

// terminal is the interface to the user's terminal.
type terminal interface {
	isTerminal(f any) bool
	// ask asks for something that is not shown. It ends with ctx, and returns
	// errNoTerminal if there is nobody to ask.
	ask(ctx context.Context, prompt string) (string, error)
	// askLine asks for a line that is shown, in the same way.
	askLine(ctx context.Context, prompt string) (string, error)
}

var errNoTerminal = errors.New("there is no terminal")

// osTerminal is the terminal that the operating system knows. It is asked by
// its own name, as standard input may be the message.
type osTerminal struct{}

func (osTerminal) isTerminal(f any) bool { return cli.IsTerminal(f) }

func (osTerminal) askLine(ctx context.Context, prompt string) (string, error) {
	tty, err := openTTY()
	if err != nil {
		return "", err
	}
	defer tty.Close()
	fmt.Fprint(tty, cli.Escape(prompt))
	line, err := bufio.NewReader(cli.Reader(ctx, tty)).ReadString('\n')
	return strings.TrimRight(line, "\r\n"), err
}

func (osTerminal) ask(ctx context.Context, prompt string) (string, error) {
	tty, err := openTTY()
	if err != nil {
		return "", err
	}
	defer tty.Close()
	fmt.Fprint(tty, cli.Escape(prompt))
	password, err := cli.ReadPassword(ctx, tty)
	fmt.Fprintln(tty)
	return password, err
}

func openTTY() (*os.File, error) {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return nil, errNoTerminal
	}
	return tty, nil
}
