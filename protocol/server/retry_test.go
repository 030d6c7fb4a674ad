package server

import (
	"testing"

	"simpd/protocol"
)

// Each recipient's 429 says when to try again, a minute if nobody knows.
func TestTheOutcomeOfEachRecipientSaysWhenToTryAgain(t *testing.T) {
	for want, o := range map[string]protocol.Outcome{
		" status=429 retry=7\r\n":  {Status: protocol.StatusSlowDown, Retry: 7},
		" status=429 retry=60\r\n": {Status: protocol.StatusSlowDown},
		" status=503 retry=5\r\n":  {Status: protocol.StatusUnavailable, Retry: 5},
		" status=480\r\n":          {Status: protocol.StatusNotListening},
	} {
		if got := string(appendOutcome(nil, o)); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
