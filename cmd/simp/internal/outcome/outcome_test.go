package outcome

import (
	"testing"

	"simpd/protocol"
)

func TestWordsAndExitCodes(t *testing.T) {
	for status, want := range map[protocol.Status]struct {
		word string
		code int
	}{
		200: {"delivered", 0}, 201: {"in doubt", 4}, 480: {"not listening", 3}, 481: {"not reading", 1},
		486: {"refused", 1}, 409: {"refused", 1}, 404: {"no such user", 1}, 429: {"slow down", 1},
		502: {"unreachable", 1}, 503: {"unreachable", 1}, 504: {"unreachable", 1}, 413: {"too large", 1},
		500: {"failed, status 500", 1},
	} {
		if word, code := Word(status), ExitCode(status); word != want.word || code != want.code {
			t.Errorf("%d: %q, exit code %d; want %q, %d", status, word, code, want.word, want.code)
		}
	}
	for state, want := range map[protocol.State]string{
		protocol.Available: "available", protocol.Away: "away", protocol.Busy: "busy",
		protocol.Deaf: "not listening", protocol.Unknown: "not known now",
	} {
		if got := StateWord(state); got != want {
			t.Errorf("%v: %q, want %q", state, got, want)
		}
	}
}

func TestWorse(t *testing.T) {
	order := []int{Delivered, NotListening, InDoubt, Failed}
	for i, a := range order {
		for j, b := range order {
			if got := Worse(a, b); got != order[max(i, j)] {
				t.Errorf("Worse(%d, %d) = %d", a, b, got)
			}
		}
	}
}
