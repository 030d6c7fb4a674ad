// Simp is a person's client of SIMP: it sends, listens and watches from a
// terminal or a script. It speaks the protocol through package client alone.
package main

import (
	"context"
	"io"
	"net"
	"os"
	"time"

	"simpd/cmd/internal/cli"
)

func main() {
	ctx, stop := cli.Context()
	code := run(ctx, &app{
		in: os.Stdin, out: os.Stdout, errOut: os.Stderr, env: os.Getenv, term: osTerminal{}, zone: time.Local,
		day: time.Now().Format(time.DateOnly),
	}, os.Args[1:])
	stop()
	os.Exit(code)
}

// run does what args say and returns the exit code.
func run(ctx context.Context, a *app, args []string) int {
	a.console, a.in = a.in, cli.Reader(ctx, a.in)
	root := a.rootCommand()
	root.SetArgs(args)
	root.SetIn(a.in)
	root.SetOut(cli.NewEscaper(a.out))
	root.SetErr(cli.NewEscaper(a.errOut))
	return a.reportError(root.ExecuteContext(ctx))
}

// app is one run of the program: what it reads and writes, and the flags of
// all commands.
type app struct {
	in          io.Reader
	console     io.Reader // standard input itself; in ends with the context
	out, errOut io.Writer
	env         func(string) string
	term        terminal
	zone        *time.Location
	day         string                                                               // of the message shown last, or of the start; "" if unknown
	dial        func(ctx context.Context, network, address string) (net.Conn, error) // nil: package net's

	configFile   string // as it was named, or the usual one; "" if there is none
	isConfigured bool   // there is a configuration file
	keptPassword bool   // passwordFile comes from the configuration file
	server       string
	dns          string
	user         string
	tlsCA        string
	tls          bool
	plaintext    bool
	passwordFile string
	output       string
}
