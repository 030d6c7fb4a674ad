package server

import "testing"

// Each verb stands in the table once, with a handler, except the one that
// the reader handles.
func TestCommandTable(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range commands {
		if seen[c.verb] {
			t.Errorf("%s is in the table twice", c.verb)
		}
		seen[c.verb] = true
		if (c.handle == nil) != c.has(readerOnly) {
			t.Errorf("%s: has a handler: %t", c.verb, c.handle != nil)
		}
		r := &request{}
		if r.line.Verb = c.verb; commandFor(r).verb != c.verb {
			t.Errorf("%s is not found", c.verb)
		}
	}
	r := &request{}
	for _, verb := range []string{"", "SENDS", "send"} {
		if r.line.Verb = verb; commandFor(r) != &unknownCommand {
			t.Errorf("%q is a command", verb)
		}
	}
}
