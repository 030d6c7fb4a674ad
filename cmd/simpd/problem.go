package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"simpd/cluster/storage"
	"simpd/cmd/internal/cli"
	"simpd/protocol"
)

// source says where a setting was made.
type source struct {
	name string // as it is written there: --node-id, SIMPD_NODE_ID or node_id
	file string // empty: a flag or a variable
	line int
	col  int
	text string // the whole line
}

// problem is one thing wrong with the configuration.
type problem struct {
	at   source
	text string
	// usage is set where the value of a flag can't be read at all: then the
	// command line is wrong, not the configuration.
	usage bool
	// shortage is set where the machine lacks what reading a file takes, as
	// descriptors: then it is not known whether anything is wrong.
	shortage bool
}

// newFileProblem returns the problem that a file could not be used.
func newFileProblem(at source, text string, err error) problem {
	p := problem{at: at, text: text + ": " + err.Error(), shortage: storage.IsShortage(err)}
	if p.shortage {
		p.text += " (this machine lacks something now, and the configuration may be right)"
	}
	return p
}

// Error says it in one line.
func (p problem) Error() string {
	if p.at.file == "" || p.at.line == 0 {
		return withPrefix(p.at.file, p.text)
	}
	return fmt.Sprintf("%s:%d:%d: %s", p.at.file, p.at.line, p.at.col, p.text)
}

// Excerpt shows the line of the file with a mark below it; empty where there is none.
func (p problem) Excerpt() string {
	if p.at.line == 0 {
		return ""
	}
	number := fmt.Sprintf("%6d | ", p.at.line)
	line := []rune(strings.ReplaceAll(p.at.text, "\t", " "))
	at := min(max(0, p.at.col-1), len(line))
	before := cli.Escape(string(line[:at]))
	return fmt.Sprintf("%s%s%s\n%s| %s^\n", number, before, cli.Escape(string(line[at:])),
		strings.Repeat(" ", len(number)-2), strings.Repeat(" ", utf8.RuneCountInString(before)))
}

func withPrefix(name, text string) string {
	if name == "" {
		return text
	}
	return name + ": " + text
}

// isInside reports whether the problem is in that file.
func (p problem) isInside(file string) bool { return file != "" && p.at.file == file }

// problems are all that is wrong, in the order found; never empty as an error.
type problems []problem

// exitStatus is that of wrong usage if only flags can't be read, and that of a
// failure if nothing is wrong but what the machine lacks.
func (p problems) exitStatus() int {
	every := func(is func(problem) bool) bool {
		return !slices.ContainsFunc(p, func(one problem) bool { return !is(one) })
	}
	switch {
	case every(func(one problem) bool { return one.usage }):
		return exitUsage
	case every(func(one problem) bool { return one.shortage }):
		return exitFailure
	}
	return exitConfig
}

// Error says the first, and how many more there are: one line.
func (p problems) Error() string {
	if len(p) == 1 {
		return p[0].Error()
	}
	return fmt.Sprintf("%s (and %d more, which simpd check-config shows)", p[0].Error(), len(p)-1)
}

// textWithoutStatus returns the text of an error for a person, without its status.
func textWithoutStatus(err error) string {
	if e, ok := errors.AsType[*protocol.Error](err); ok {
		return e.Text
	}
	return err.Error()
}

// nearestWord returns the word nearest to what was written, or "".
func nearestWord(written string, words []string) string {
	best, least := "", len(written)/3+2
	for _, w := range words {
		if d := editDistance(strings.ToLower(written), w); d < least {
			best, least = w, d
		}
	}
	return best
}

// didYouMean is suggest as the end of a sentence.
func didYouMean(written string, words []string) string {
	if w := nearestWord(written, words); w != "" {
		return fmt.Sprintf(" (did you mean %q?)", w)
	}
	return ""
}

// editDistance counts the letters to change, add or take away to make b of a (Levenshtein).
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
