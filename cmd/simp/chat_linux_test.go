package main

import (
	"strings"
	"testing"
)

// A message is refused that can't be kept although it should be.
func TestChatRefusesWhatItCantKeep(t *testing.T) {
	s := newSite(t)
	c := newConsole(s.env())
	typed, wait, _ := beginChat(t, c, "--history-file", "/dev/full", "deaf")
	s.await("LISTEN")
	if answer := s.deliver("x", "\r\nhi"); answer != "486 :it could not be kept" {
		t.Errorf("answered %q", answer)
	}
	_ = typed.Close()
	if code := wait(); code != 0 || strings.Contains(c.out.String(), "hi") || !strings.Contains(c.err.String(), "the history file can't be written") {
		t.Errorf("exit code %d, %q, %s", code, c.out.String(), c.err.String())
	}
}
