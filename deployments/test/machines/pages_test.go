package machines

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

const handbook = "../../../docs/operators/"

// step is one command of a page, and what it is to answer.
type step struct {
	node    string // where it is typed; empty: at the operator's machine
	command string
	answers []string
}

var prompt = regexp.MustCompile(`^(n[0-9])?\$ (.*)`)

// pageSteps reads the blocks of a page that are marked console.
func pageSteps(t *testing.T, page string) (steps []step) {
	t.Helper()
	for line := range strings.Lines(strings.Join(pageBlocks(t, page, "console"), "")) {
		line = strings.TrimSuffix(line, "\n")
		if m := prompt.FindStringSubmatch(line); m != nil {
			steps = append(steps, step{node: m[1], command: m[2]})
		} else if last := len(steps) - 1; last >= 0 && line != "" {
			steps[last].answers = append(steps[last].answers, line)
		}
	}
	return steps
}

// pageBlocks returns the blocks of a page with a mark, of which it has at least one.
func pageBlocks(t *testing.T, page, mark string) (blocks []string) {
	t.Helper()
	b, err := os.ReadFile(handbook + page)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range strings.Split(string(b), "```"+mark+"\n")[1:] {
		block, _, _ := strings.Cut(part, "```")
		blocks = append(blocks, block)
	}
	if len(blocks) == 0 {
		t.Fatalf("%s has no block marked %s", page, mark)
	}
	return blocks
}

// answered reports whether something that was said has a line of an answer; …
// stands for anything.
func answered(said, want string) bool {
	pattern := strings.ReplaceAll(regexp.QuoteMeta(want), "…", ".*")
	return regexp.MustCompile(`(?m)^` + pattern + `\r?$`).MatchString(said)
}
