package screen

import (
	"strings"

	"github.com/charmbracelet/x/ansi"
)

// wrap breaks one escaped line into rows of at most width cells, at spaces
// where there are any.
func wrap(line string, width int) []string {
	width = max(width, 1)
	if isASCII(line) && len(line) <= width {
		return []string{line}
	}
	var rows []string
	for line != "" {
		row, rest := breakRow(line, width)
		rows = append(rows, row)
		line = rest
	}
	if rows == nil {
		rows = []string{""}
	}
	return rows
}

// breakRow returns the first row of a line, and what follows it.
func breakRow(line string, width int) (row, rest string) {
	used, space := 0, -1
	for at := 0; at < len(line); {
		cluster, _ := ansi.FirstGraphemeCluster(line[at:], ansi.GraphemeWidth)
		if cluster == "" {
			cluster = line[at : at+1]
		}
		cells := cellWidth(cluster)
		if used+cells > width && at > 0 {
			if cluster == " " {
				return line[:at], strings.TrimLeft(line[at:], " ")
			}
			if space > 0 {
				return strings.TrimRight(line[:space], " "), line[space:]
			}
			return line[:at], line[at:]
		}
		used += cells
		at += len(cluster)
		if cluster == " " && strings.TrimSpace(line[:at]) != "" {
			space = at
		}
	}
	return line, ""
}

// truncate shortens an escaped text to at most width cells.
func truncate(s string, width int) string {
	if cellWidth(s) <= width {
		return s
	}
	var b strings.Builder
	used := 0
	for s != "" {
		cluster, _ := ansi.FirstGraphemeCluster(s, ansi.GraphemeWidth)
		if cluster == "" {
			cluster = s[:1]
		}
		cells := cellWidth(cluster)
		if used+cells > width-1 {
			break
		}
		b.WriteString(cluster)
		used += cells
		s = s[len(cluster):]
	}
	if width < 1 {
		return ""
	}
	return b.String() + "~"
}

// pad fills a text up with spaces to width cells.
func pad(s string, width int) string {
	return s + strings.Repeat(" ", max(0, width-cellWidth(s)))
}
