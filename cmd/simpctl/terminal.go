package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"simpd/protocol"
)

// terminal is what there is to know of files that may be terminals.
type terminal interface {
	isTerminal(f any) bool
	readPassword(f any) (string, error)
}

// osTerminal asks the operating system.
type osTerminal struct{}

func (osTerminal) isTerminal(f any) bool {
	file, ok := f.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

func (osTerminal) readPassword(f any) (string, error) {
	b, err := term.ReadPassword(int(f.(*os.File).Fd()))
	return string(b), err
}

// newPassword asks for a password twice, or reads it from standard input.
func (a *app) newPassword(fromStdin bool, user string) (string, error) {
	if fromStdin {
		return readLine(a.in)
	}
	if !a.term.isTerminal(a.in) {
		return "", usagef("there is no terminal to ask for the password; give it by --password-stdin")
	}
	first, err := a.ask(fmt.Sprintf("Password for %s: ", user))
	if err != nil {
		return "", err
	}
	second, err := a.ask("The same again: ")
	switch {
	case err != nil:
		return "", err
	case first != second:
		return "", errors.New("the two passwords differ; nothing was changed")
	}
	return first, nil
}

func (a *app) ask(prompt string) (string, error) {
	fmt.Fprint(a.errOut, prompt)
	password, err := a.term.readPassword(a.in)
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
		return "", usagef("--password-stdin: standard input holds no password")
	}
	return line, nil
}

// confirm asks a person whether to do what can't be undone. Without a terminal
// nobody could answer: a script means what it says.
func (a *app) confirm(yes bool, what string) error {
	if yes || !a.term.isTerminal(a.in) {
		return nil
	}
	fmt.Fprintf(a.errOut, "%s. Go on? [y/N] ", what)
	answer, _ := bufio.NewReader(a.in).ReadString('\n')
	if answer = strings.ToLower(strings.TrimSpace(answer)); answer != "y" && answer != "yes" {
		return errors.New("nothing was changed")
	}
	return nil
}
