package main

import (
	"io"
	"log/slog"
	"strings"

	"simpd/cmd/internal/cli"
	"simpd/protocol/loglimit"
)

// newLogger writes to w. Values are quoted by slog's handlers, so that no
// client can forge a line, and what they leave of control and format characters
// is escaped; loglimit keeps one cause from filling the log. What level gives is
// written and what is graver; it may change while the node runs.
func newLogger(w io.Writer, format string, level slog.Leveler) *slog.Logger {
	o := &slog.HandlerOptions{Level: level}
	if format == "json" {
		return slog.New(loglimit.New(slog.NewJSONHandler(cli.NewJSONEscaper(w), o)))
	}
	return slog.New(loglimit.New(slog.NewTextHandler(cli.NewEscaper(w), o)))
}

// logLevel is the level of one of the words that --log-level takes.
func logLevel(word string) slog.Level {
	var l slog.Level
	if err := l.UnmarshalText([]byte(strings.ToUpper(word))); err != nil {
		return slog.LevelInfo
	}
	return l
}
