// Simpctl is an operator's client of a SIMP site: it asks and steers any of
// its nodes over gRPC. It speaks package simp.v1 only, and reads addresses and
// hashes passwords by package protocol, so that no password leaves it.
package main

import (
	"context"
	"io"
	"os"

	"simpd/cluster/blockfeed"
	"simpd/cmd/internal/cli"
)

func main() {
	ctx, stop := cli.Context()
	code := run(ctx, &app{
		in: os.Stdin, out: os.Stdout, errOut: os.Stderr, env: os.Getenv, term: osTerminal{},
	}, os.Args[1:])
	stop()
	os.Exit(code)
}

// run does what args say and returns the exit code: 0, 2 for a command that
// can't be understood, 1 for any other failure.
func run(ctx context.Context, a *app, args []string) int {
	root := a.rootCommand()
	root.SetArgs(args)
	root.SetIn(a.in)
	root.SetOut(cli.NewEscaper(a.out))
	root.SetErr(cli.NewEscaper(a.errOut))
	err := root.ExecuteContext(ctx)
	a.hangUp()
	return a.reportError(err)
}

// app is one run of the program: what it reads and writes, and the flags of
// all commands.
type app struct {
	in          io.Reader
	out, errOut io.Writer
	env         func(string) string
	term        terminal

	addr      string
	insecure  bool
	ca        string
	cert, key string
	tokenFile string
	output    string

	site  *site // once connected
	feeds blockfeed.Fetcher
}
