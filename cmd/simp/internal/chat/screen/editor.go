package screen

import (
	"slices"
	"strings"
	"unicode"

	"github.com/charmbracelet/x/ansi"

	"simpd/cmd/internal/cli"
)

// editor is the input: a text that may have several lines, and a cursor. Its
// keys are those of readline.
type editor struct {
	clusters []string // grapheme clusters; a line feed is one
	cursor   int      // before the cluster of that number
	killed   string   // for yank
}

// splitClusters splits a text into what a person takes for characters.
func splitClusters(s string) (all []string) {
	for s != "" {
		cluster, _ := ansi.FirstGraphemeCluster(s, ansi.GraphemeWidth)
		if i := strings.IndexByte(cluster, '\n'); i == 0 || cluster == "" {
			cluster = s[:1]
		} else if i > 0 {
			cluster = cluster[:i]
		}
		all = append(all, cluster)
		s = s[len(cluster):]
	}
	return all
}

func (e *editor) text() string { return strings.Join(e.clusters, "") }

func (e *editor) isEmpty() bool { return len(e.clusters) == 0 }

func (e *editor) setText(s string) {
	e.clusters = splitClusters(s)
	e.cursor = len(e.clusters)
}

// insert inserts a text at the cursor. Marks join the character before them.
func (e *editor) insert(s string) {
	s = strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\r", "\n")
	before := strings.Join(e.clusters[:e.cursor], "") + s
	after := strings.Join(e.clusters[e.cursor:], "")
	head := splitClusters(before)
	e.clusters = append(head, splitClusters(after)...)
	e.cursor = len(head)
}

// lineStart and lineEnd return the ends of the line with the cursor.
func (e *editor) lineStart() int {
	for i := e.cursor; i > 0; i-- {
		if e.clusters[i-1] == "\n" {
			return i
		}
	}
	return 0
}

func (e *editor) lineEnd() int {
	if i := slices.Index(e.clusters[e.cursor:], "\n"); i >= 0 {
		return e.cursor + i
	}
	return len(e.clusters)
}

func isWord(cluster string) bool {
	return strings.ContainsFunc(cluster, func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) })
}

func (e *editor) wordLeft() int {
	i := e.cursor
	for i > 0 && !isWord(e.clusters[i-1]) {
		i--
	}
	for i > 0 && isWord(e.clusters[i-1]) {
		i--
	}
	return i
}

func (e *editor) wordRight() int {
	i := e.cursor
	for i < len(e.clusters) && !isWord(e.clusters[i]) {
		i++
	}
	for i < len(e.clusters) && isWord(e.clusters[i]) {
		i++
	}
	return i
}

// spaceLeft returns where the word begins that white space bounds.
func (e *editor) spaceLeft() int {
	i := e.cursor
	for i > 0 && strings.TrimSpace(e.clusters[i-1]) == "" {
		i--
	}
	for i > 0 && strings.TrimSpace(e.clusters[i-1]) != "" {
		i--
	}
	return i
}

// kill removes what is between two places, for yank.
func (e *editor) kill(from, to int) {
	if from < to {
		e.killed = strings.Join(e.clusters[from:to], "")
		e.remove(from, to)
	}
}

func (e *editor) remove(from, to int) {
	e.clusters = slices.Delete(e.clusters, from, to)
	e.cursor = from
}

// press does what a key means, by its name; false: it means nothing here.
func (e *editor) press(key string) bool {
	switch key {
	case "left", "ctrl+b":
		e.cursor = max(e.cursor-1, 0)
	case "right", "ctrl+f":
		e.cursor = min(e.cursor+1, len(e.clusters))
	case "alt+b", "ctrl+left", "alt+left":
		e.cursor = e.wordLeft()
	case "alt+f", "ctrl+right", "alt+right":
		e.cursor = e.wordRight()
	case "home", "ctrl+a":
		e.cursor = e.lineStart()
	case "ctrl+e":
		e.cursor = e.lineEnd()
	case "alt+enter", "shift+enter", "ctrl+j":
		e.insert("\n")
	default:
		return e.pressToDelete(key)
	}
	return true
}

func (e *editor) pressToDelete(key string) bool {
	switch key {
	case "backspace", "ctrl+h":
		e.remove(max(e.cursor-1, 0), e.cursor)
	case "delete", "ctrl+d":
		e.remove(e.cursor, min(e.cursor+1, len(e.clusters)))
	case "ctrl+k":
		end := e.lineEnd()
		if end == e.cursor {
			end = min(end+1, len(e.clusters))
		}
		e.kill(e.cursor, end)
	case "ctrl+u":
		e.kill(e.lineStart(), e.cursor)
	case "ctrl+w":
		e.kill(e.spaceLeft(), e.cursor)
	case "alt+backspace", "ctrl+backspace":
		e.kill(e.wordLeft(), e.cursor)
	case "alt+d":
		e.kill(e.cursor, e.wordRight())
	case "ctrl+y":
		e.insert(e.killed)
	case "ctrl+t":
		e.transpose()
	default:
		return false
	}
	return true
}

// transpose swaps the characters around the cursor.
func (e *editor) transpose() {
	at := min(e.cursor, len(e.clusters)-1)
	if at < 1 {
		return
	}
	e.clusters[at-1], e.clusters[at] = e.clusters[at], e.clusters[at-1]
	e.cursor = at + 1
}

// layout returns the rows of the input for a width, and the cursor's row and
// column.
func (e *editor) layout(width int) (rows []string, row, column int) {
	var b strings.Builder
	used := 0
	end := func() {
		rows = append(rows, b.String())
		b.Reset()
		used = 0
	}
	for i, cluster := range e.clusters {
		shown, cells := display(cluster), 0
		if cluster != "\n" {
			cells = cellWidth(shown)
		}
		if used > 0 && used+cells > width || used == width {
			end()
		}
		if i == e.cursor {
			row, column = len(rows), used
		}
		if cluster == "\n" {
			end()
			continue
		}
		b.WriteString(shown)
		used += cells
	}
	if used >= width {
		end()
	}
	if e.cursor == len(e.clusters) {
		row, column = len(rows), used
	}
	return append(rows, b.String()), row, column
}

// display returns a typed character as it is shown.
func display(cluster string) string {
	if cluster == "\t" {
		return "    "
	}
	return cli.EscapeText(cluster)
}

// cellWidth returns how many cells a text takes at most: terminals that don't
// know grapheme clusters add the widths of their parts.
func cellWidth(s string) int {
	if isASCII(s) {
		return len(s)
	}
	return max(ansi.StringWidth(s), ansi.StringWidthWc(s))
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
