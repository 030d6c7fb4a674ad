package transcript

import (
	"regexp"
	"strings"
)

var block = regexp.MustCompile("(?s)```simp-transcript\n(.*?)```")

// Blocks returns the conversations that a page in Markdown shows, in its order.
func Blocks(page string) (all []string) {
	for _, b := range block.FindAllStringSubmatch(page, -1) {
		all = append(all, b[1])
	}
	return all
}

// Fits reports whether line is pattern, in which <any> stands for a word's part
// and <rest> for all that follows.
func Fits(pattern, line string) bool {
	for {
		i := strings.IndexByte(pattern, '<')
		if i < 0 {
			return pattern == line
		}
		if len(line) < i || pattern[:i] != line[:i] {
			return false
		}
		line = line[i:]
		if strings.HasPrefix(pattern[i:], "<rest>") {
			return line != ""
		}
		pattern = strings.TrimPrefix(pattern[i:], "<any>")
		end := 0
		for end < len(line) && line[end] != ' ' && (pattern == "" || pattern[0] == ' ' || line[end] != pattern[0]) {
			end++
		}
		if end == 0 {
			return false
		}
		line = line[end:]
	}
}
