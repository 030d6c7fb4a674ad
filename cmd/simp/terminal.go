package main

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/term"
)

// terminal is what there is to know of, and to ask at, the user's terminal.
type terminal interface {
	isTerminal(f any) bool
	// ask asks for something that is not to be seen; errNoTerminal if there is nobody to ask.
	ask(prompt string) (string, error)
}

var errNoTerminal = errors.New("there is no terminal")

// osTerminal is the terminal that the operating system knows. It is asked by
// its own name, as standard input may be the message.
type osTerminal struct{}

func (osTerminal) isTerminal(f any) bool {
	file, ok := f.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

func (osTerminal) ask(prompt string) (string, error) {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return "", errNoTerminal
	}
	defer tty.Close()
	fmt.Fprint(tty, prompt)
	b, err := term.ReadPassword(int(tty.Fd()))
	fmt.Fprintln(tty)
	return string(b), err
}
