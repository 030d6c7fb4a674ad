package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"simpd/cmd/internal/cli"
	"simpd/protocol"
)

// terminal is the interface to files that may be terminals.
type terminal interface {
	isTerminal(f any) bool
	// readPassword reads a line from the terminal f without showing it. It ends
	// with ctx.
	readPassword(ctx context.Context, f any) (string, error)
}

// osTerminal asks the operating system.
type osTerminal struct{}

func (osTerminal) isTerminal(f any) bool { return cli.IsTerminal(f) }

func (osTerminal) readPassword(ctx context.Context, f any) (string, error) {
	return cli.ReadPassword(ctx, f.(*os.File))
}

// newPassword asks for a password twice, or reads it from standard input.
func (a *app) newPassword(ctx context.Context, fromStdin bool, user string) (string, error) {
	if fromStdin {
		return readLine(cli.Reader(ctx, a.in))
	}
	if !a.term.isTerminal(a.in) {
		return "", cli.UsageErrorf("there is no terminal to ask for the password; use --password-stdin")
	}
	first, err := a.askLine(ctx, fmt.Sprintf("Password for %s: ", user))
	if err != nil {
		return "", err
	}
	second, err := a.askLine(ctx, "The same again: ")
	switch {
	case err != nil:
		return "", err
	case first != second:
		return "", errors.New("the two passwords differ; nothing was changed")
	}
	return first, nil
}

func (a *app) askLine(ctx context.Context, prompt string) (string, error) {
	fmt.Fprint(a.errOut, cli.Escape(prompt))
	password, err := a.term.readPassword(ctx, a.in)
	fmt.Fprintln(a.errOut)
	if err == nil && password == "" {
		err = errors.New("the password is empty; nothing was changed")
	}
	return password, err
}

// readLine reads a password: one line, or all there is without its end.
func readLine(r io.Reader) (string, error) {
	most := protocol.MaxTypedPassword + len("\r\n")
	line, err := bufio.NewReaderSize(io.LimitReader(r, int64(most+1)), most+1).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
	if line == "" {
		return "", cli.UsageErrorf("--password-stdin: standard input holds no password")
	}
	return line, nil
}

// confirmDestructive asks a person whether to do what can't be undone. Without a terminal
// there is nobody to ask, and nothing is done unless --yes was given.
func (a *app) confirmDestructive(ctx context.Context, yes bool, what string) error {
	if yes {
		return nil
	}
	if !a.term.isTerminal(a.in) {
		return cli.UsageErrorf("%s, and there is no terminal to ask: give --yes to confirm", what)
	}
	fmt.Fprintf(a.errOut, "%s. Go on? [y/N] ", cli.Escape(what))
	answer, err := bufio.NewReader(cli.Reader(ctx, a.in)).ReadString('\n')
	if err != nil {
		fmt.Fprintln(a.errOut)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if answer = strings.ToLower(strings.TrimSpace(answer)); answer != "y" && answer != "yes" {
		return errors.New("nothing was changed")
	}
	return nil
}
