package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"simpd/cmd/internal/cli"
	"simpd/cmd/simp/internal/chat"
	"simpd/cmd/simp/internal/chat/history"
	"simpd/cmd/simp/internal/chat/line"
	"simpd/cmd/simp/internal/chat/screen"
	"simpd/cmd/simp/internal/chat/session"
	"simpd/cmd/simp/internal/outcome"
	"simpd/protocol"
)

const chatLong = `Chat shows messages as they arrive and sends what you type, to the address that
is given or chosen by /to. /help lists the commands.

    simp chat bob@example.com

In a terminal it fills the screen: contacts with their presence, the open
conversation, and a line to type in. Alt-1 to Alt-9, Ctrl-N and Ctrl-P switch
between conversations, PgUp and PgDn scroll, End goes to the newest message, Tab
completes addresses. Up selects a message in doubt, and r sends it again. Ctrl-C
clears the input; a second Ctrl-C quits.

In line mode it only appends lines. A line that you type is a message to the
current recipient, or a command. The lines for messages, outcomes and presence
are

    HH:MM <alice@example.com> text
    -- delivered to bob@example.com: text
    -- not delivered to bob@example.com (not listening): text
    -- in doubt, bob@example.com: text
    ** bob@example.com is available, at my desk

and everything else is written to standard error.

A sender is told "delivered" once a message is shown, and is in the history file
if there is one. Nothing is sent again unless you say so: /retry repeats a
message in doubt, and a client that has received it does not show it twice.

At the end chat waits for outcomes, and exits as simp send does: with 0 if all
messages were delivered, 3 if somebody was not listening, 4 if a message is in
doubt, and 1 after other failures; the first of 1, 4, 3 and 0 that occurred.`

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
		Use: "chat [IMA[,IMA…]]", Short: "Chat", Long: chatLong, Args: cli.ArgumentCount(0, 1, "an address"),
		RunE: func(c *cobra.Command, args []string) error { return a.chat(c.Context(), f, args) },
	}
	c.Flags().BoolVar(&f.plain, "plain", false, "line mode: only append lines; automatic if TERM is dumb or the output is not a terminal")
	c.Flags().BoolVar(&f.noSign, "no-sign", false, "do not sign messages")
	c.Flags().BoolVar(&f.noMouse, "no-mouse", false, "leave the mouse to the terminal")
	c.Flags().StringVar(&f.historyFile, "history-file", "", "`FILE` to append messages to, readable by you only; without it nothing is kept")
	return c
}

func (a *app) chat(ctx context.Context, f chatting, args []string) (err error) {
	if a.printsJSON() {
		return cli.UsageErrorf("simp chat has no --output json; simp listen and simp send have")
	}
	config, err := a.chatConfig(ctx, f)
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
	s, err := session.Open(ctx, config, protocol.ListenRequest{State: protocol.Available}, a.openKeyring, !f.noSign)
	if err != nil {
		return err
	}
	defer s.Close()
	front := chatFront{session: s, history: kept, to: to, flags: f}
	if a.fillsScreen(f) {
		return a.chatOnScreen(ctx, front)
	}
	return a.chatInLines(ctx, front)
}

// chatFront holds what the two front ends have in common.
type chatFront struct {
	session *session.Session
	history *history.File
	to      []protocol.Address
	flags   chatting
}

// newModel makes the model of a chat, with the first conversation open.
func (c chatFront) newModel(config chat.Config) *chat.Model {
	model := chat.New(config)
	if c.to != nil {
		for _, e := range model.Open(&chat.Conversation{To: c.to}) {
			c.session.Start(e)
		}
	}
	return model
}

// fillsScreen reports whether the chat has a terminal to itself.
func (a *app) fillsScreen(f chatting) bool {
	return !f.plain && a.env("TERM") != "dumb" && a.term.isTerminal(a.console) && a.term.isTerminal(a.out)
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
		return nil, cli.UsageErrorf("%v", err)
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

func (a *app) chatInLines(ctx context.Context, front chatFront) error {
	model := front.newModel(chat.Config{Me: front.session.User(), Zone: a.zone, Keep: keptInLineMode})
	a.printNote("%s is listening, and shown as available; /help lists the commands", model.Me())
	err := line.Run(ctx, line.Config{
		In: a.in, Out: a.out, Notes: a.errOut,
		Model: model, Session: front.session, History: front.history, NewID: rand.Text,
	})
	return exitOfChat(model, err)
}

func (a *app) chatOnScreen(ctx context.Context, front chatFront) error {
	model := front.newModel(chat.Config{Me: front.session.User(), Zone: a.zone})
	err := screen.Run(ctx, screen.Config{
		In: a.console, Out: a.out,
		Model: model, Session: front.session, History: front.history, NewID: rand.Text, Now: time.Now,
		Mouse: !front.flags.noMouse, ASCII: !a.hasUnicode(), NoColor: a.env("NO_COLOR") != "",
	})
	return exitOfChat(model, err)
}

func exitOfChat(model *chat.Model, err error) error {
	if err != nil {
		return err
	}
	if code := model.ExitCode(); code != outcome.Delivered {
		return exitError(code)
	}
	return nil
}

// hasUnicode reports whether the locale is one with UTF-8, as is taken for
// granted where none is set.
func (a *app) hasUnicode() bool {
	locale := strings.ToLower(cmp.Or(a.env("LC_ALL"), a.env("LC_CTYPE"), a.env("LANG")))
	return locale == "" || strings.Contains(locale, "utf-8") || strings.Contains(locale, "utf8")
}
