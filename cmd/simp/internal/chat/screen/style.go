package screen

import "github.com/charmbracelet/x/ansi"

// style is how a text looks. None means anything by itself: what it says is
// said in words too.
type style string

const (
	styleNone    style = ""
	styleBold    style = "\x1b[1m"
	styleDim     style = "\x1b[2m"
	styleReverse style = "\x1b[7m"
	styleRed     style = "\x1b[31m"
	styleGreen   style = "\x1b[32m"
	styleYellow  style = "\x1b[33m"
	styleCyan    style = "\x1b[36m"
)

// of returns an escaped text in a style.
func (s style) of(text string) string {
	if s == styleNone || text == "" {
		return text
	}
	return string(s) + text + "\x1b[0m"
}

func unstyled(s string) string { return ansi.Strip(s) }
