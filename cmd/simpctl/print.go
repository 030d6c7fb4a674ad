package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"simpd/cmd/internal/cli"
)

// printsJSON reports whether results are for programs.
func (a *app) printsJSON() bool { return a.output == "json" }

// printJSON prints a message of simp.v1 as Protocol Buffers' JSON mapping has
// it, with the fields' names of the .proto files and all of them.
func (a *app) printJSON(m proto.Message) error {
	raw, err := protojson.MarshalOptions{UseProtoNames: true, EmitUnpopulated: true}.Marshal(m)
	if err != nil {
		return err
	}
	// Protojson's own spaces change from build to build.
	var out bytes.Buffer
	if err := json.Indent(&out, raw, "", "  "); err != nil {
		return err
	}
	out.WriteByte('\n')
	_, err = a.out.Write(cli.EscapeJSON(out.Bytes()))
	return err
}

// printResult prints what a call has answered, for programs; for people its
// command says it.
func (a *app) printResult(m proto.Message, err error) error {
	if err != nil || !a.printsJSON() {
		return err
	}
	return a.writeError(a.printJSON(m))
}

// printStruct prints what is not a message of simp.v1.
func (a *app) printStruct(v any) error {
	e := json.NewEncoder(cli.NewJSONEscaper(a.out))
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// printSentence prints a sentence for people; programs get the message instead.
func (a *app) printSentence(m proto.Message, format string, args ...any) error {
	if a.printsJSON() {
		return a.writeError(a.printJSON(m))
	}
	_, err := fmt.Fprintln(a.out, cli.Escape(fmt.Sprintf(format, args...)))
	return a.writeError(err)
}

// writeError takes the error of writing out what a command has done. The exit code
// tells what was done, whatever became of the words.
func (a *app) writeError(err error) error {
	if err != nil {
		fmt.Fprintf(a.errOut, "simpctl: the command was carried out, but its result could not be written: %s\n", cli.Escape(err.Error()))
	}
	return nil
}

// colour is an SGR number, or 0 for none.
type colour int

const (
	red    colour = 31
	green  colour = 32
	yellow colour = 33
	bold   colour = 1
	dim    colour = 2
)

// cell is one field of a table.
type cell struct {
	text string
	in   colour
}

func plainCells(texts ...string) []cell {
	cells := make([]cell, len(texts))
	for i, t := range texts {
		cells[i] = cell{text: t}
	}
	return cells
}

// table is rows of cells under a heading; columns are as wide as need be.
type table struct {
	head []string
	rows [][]cell
}

func (a *app) printTable(t *table) error {
	rows := t.rows
	if len(t.head) > 0 {
		head := plainCells(t.head...)
		for i := range head {
			head[i].in = bold
		}
		rows = append([][]cell{head}, rows...)
	}
	widths := columnWidths(rows)
	var out strings.Builder
	for _, row := range rows {
		a.appendRow(&out, row, widths)
	}
	_, err := fmt.Fprint(a.out, out.String())
	return err
}

func columnWidths(rows [][]cell) []int {
	var widths []int
	for _, row := range rows {
		for i, c := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cli.Escape(c.text)))
		}
	}
	return widths
}

func (a *app) appendRow(out *strings.Builder, row []cell, widths []int) {
	for i, c := range row {
		text := cli.Escape(c.text)
		out.WriteString(a.colorize(c.in, text))
		if i < len(row)-1 {
			out.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(text)+2))
		}
	}
	out.WriteByte('\n')
}

// colorize colours a text where colours are wanted.
func (a *app) colorize(in colour, text string) string {
	if in == 0 || text == "" || a.noColor() {
		return text
	}
	return fmt.Sprintf("\x1b[%dm%s\x1b[0m", in, text)
}

// durationSince says how long something has been so, in its largest unit or two.
func durationSince(t *timestamppb.Timestamp) string {
	if !t.IsValid() || t.GetSeconds() == 0 {
		return "-"
	}
	return shortDuration(time.Since(t.AsTime()))
}

func shortDuration(d time.Duration) string {
	switch d = max(d, 0); {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd%02dh", int(d.Hours())/24, int(d.Hours())%24)
}

// pluralize writes a number of things.
func pluralize(n uint64, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

func dashIfEmpty(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
