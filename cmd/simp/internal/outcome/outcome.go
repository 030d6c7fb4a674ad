// Package outcome holds the words and exit codes by which people and scripts
// learn what became of a message, and the words for presence. The web chat uses
// the same words.
package outcome

import (
	"fmt"

	"simpd/protocol"
)

// Exit codes of simp send and simp chat.
const (
	Delivered    = 0
	Failed       = 1
	NotListening = 3
	InDoubt      = 4
)

// ExitCode returns the exit code for the outcome of a message.
func ExitCode(s protocol.Status) int {
	switch s {
	case protocol.StatusOK:
		return Delivered
	case protocol.StatusIndeterminate:
		return InDoubt
	case protocol.StatusNotListening:
		return NotListening
	}
	return Failed
}

// Worse returns the worse of two exit codes, in the order failed, in doubt, not
// listening, delivered.
func Worse(a, b int) int {
	for _, code := range []int{Failed, InDoubt, NotListening} {
		if a == code || b == code {
			return code
		}
	}
	return Delivered
}

var words = map[protocol.Status]string{
	protocol.StatusOK:             "delivered",
	protocol.StatusIndeterminate:  "in doubt",
	protocol.StatusNotListening:   "not listening",
	protocol.StatusNotReading:     "not reading",
	protocol.StatusRefused:        "refused",
	protocol.StatusWrongState:     "refused",
	protocol.StatusUnknownAddress: "no such user",
	protocol.StatusSlowDown:       "slow down",
	protocol.StatusRemoteFailure:  "unreachable",
	protocol.StatusUnavailable:    "unreachable",
	protocol.StatusRemoteTimeout:  "unreachable",
	protocol.StatusTooLarge:       "too large",
}

// Word returns the word for the outcome of a message.
func Word(s protocol.Status) string {
	if word, ok := words[s]; ok {
		return word
	}
	return fmt.Sprintf("failed, status %d", int(s))
}

// StateWord returns the word for a presence state.
func StateWord(s protocol.State) string {
	switch s {
	case protocol.Deaf:
		return "not listening"
	case protocol.Unknown:
		return "not known now"
	}
	return s.String()
}
