package main

import (
	"context"
	"crypto/rand"
	"fmt"

	"github.com/spf13/cobra"

	"simpd/cmd/simp/internal/chat"
	"simpd/cmd/simp/internal/chat/history"
	"simpd/cmd/simp/internal/chat/line"
	"simpd/cmd/simp/internal/chat/session"
	"simpd/cmd/simp/internal/outcome"
	"simpd/protocol"
)

const chatLong = `Chat shows messages as they arrive and sends what you type, to the address that
is given or chosen by /to. /help lists the commands.

    simp chat bob@example.com

It only appends lines. A line that you type is a message to the current
recipient, or a command. The lines for messages, outcomes and presence are

    HH:MM <alice@example.com> text
    -- delivered to bob@example.com: text
    -- not delivered to bob@example.com (not listening): text
    -- in doubt, bob@example.com: text
    ** bob@example.com is available, at my desk

and everything else is written to standard error. A sender is told "delivered"
once a message is written out, and is in the history file if there is one.
Nothing is sent again unless you say so: /retry repeats a message in doubt, and
a client that has received it does not show it twice.

At the end of the input, chat waits for the outcomes and exits as simp send
does: with 0 if all messages were delivered, 3 if somebody was not listening, 4
if a message is in doubt, and 1 after other failures; the first of 1, 4, 3 and 0
that occurred.`

// chatting holds the flags of chat.
type chatting struct {
	plain       bool
	noSign      bool
	noMouse     bool
	historyFile string
}

func (a *app) chatCommand() *cobra.Command {
	var f chatting
	c := &cobra.Command{
		Use: "chat [IMA[,IMA…]]", Short: "Chat", Long: chatLong, Args: argumentCount(0, 1, "an address"),
		RunE: func(c *cobra.Command, args []string) error { return a.chat(c.Context(), f, args) },
	}
	c.Flags().BoolVar(&f.plain, "plain", false, "line mode: only append lines; automatic if TERM is dumb or the output is no terminal")
	c.Flags().BoolVar(&f.noSign, "no-sign", false, "do not sign messages (this version never does)")
	c.Flags().BoolVar(&f.noMouse, "no-mouse", false, "leave the mouse to the terminal")
	c.Flags().StringVar(&f.historyFile, "history-file", "", "`FILE` to append messages to, readable by you only; without it nothing is kept")
	return c
}

func (a *app) chat(ctx context.Context, f chatting, args []string) (err error) {
	if a.printsJSON() {
		return usageErrorf("simp chat has no --output json; simp listen and simp send have")
	}
	config, err := a.clientConfig(ctx)
	if err != nil {
		return err
	}
	to, err := firstRecipients(config.User, args)
	if err != nil {
		return err
	}
	kept, err := a.openHistory(f.historyFile)
	if err != nil {
		return err
	}
	defer kept.Close()
	s, err := session.Open(ctx, config, protocol.ListenRequest{State: protocol.Available})
	if err != nil {
		return err
	}
	defer s.Close()
	model := chat.New(chat.Config{Me: config.User, Zone: a.zone, Keep: keptInLineMode})
	return a.chatInLines(ctx, model, s, kept, to)
}

// keptInLineMode is how many entries of a conversation line mode keeps, for
// /retry and /when: what was shown is on the terminal.
const keptInLineMode = 100

// firstRecipients reads the recipients that the command line names.
func firstRecipients(me protocol.Address, args []string) ([]protocol.Address, error) {
	if len(args) == 0 {
		return nil, nil
	}
	to, err := chat.ParseRecipients(me, args[0])
	if err != nil {
		return nil, usageErrorf("%v", err)
	}
	return to, nil
}

func (a *app) openHistory(path string) (*history.File, error) {
	if path == "" {
		return nil, nil
	}
	f, err := history.Open(path, a.zone)
	if err != nil {
		return nil, fmt.Errorf("--history-file: %w", err)
	}
	return f, nil
}

func (a *app) chatInLines(ctx context.Context, model *chat.Model, s *session.Session, kept *history.File, to []protocol.Address) error {
	if to != nil {
		for _, e := range model.Open(&chat.Conversation{To: to}) {
			s.Start(e)
		}
	}
	a.printNote("%s is listening, and shown as available; /help lists the commands", model.Me())
	err := line.Run(ctx, line.Config{In: a.in, Out: a.out, Notes: a.errOut, Model: model, Session: s, History: kept, NewID: rand.Text})
	if err != nil {
		return err
	}
	if code := model.ExitCode(); code != outcome.Delivered {
		return exitError(code)
	}
	return nil
}
