package protocol_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"simpd/protocol"
)

// The specification names every status, verb and limit that this package has.
func TestSpecificationIsWhole(t *testing.T) {
	octets, err := os.ReadFile("SIMP.md")
	if err != nil {
		t.Fatal(err)
	}
	spec := foldSpace(string(octets))
	for _, s := range []protocol.Status{
		protocol.StatusPartial, protocol.StatusChallenge, protocol.StatusOK, protocol.StatusIndeterminate, protocol.StatusMixed,
		protocol.StatusBadRequest, protocol.StatusUnauthorized, protocol.StatusForbidden, protocol.StatusUnknownAddress, protocol.StatusUnknownVerb,
		protocol.StatusWrongState, protocol.StatusTooLarge, protocol.StatusTLSNeeded, protocol.StatusSlowDown, protocol.StatusNotListening,
		protocol.StatusNotReading, protocol.StatusRefused, protocol.StatusServerError, protocol.StatusRemoteFailure, protocol.StatusUnavailable,
		protocol.StatusRemoteTimeout, protocol.StatusVersion,
	} {
		wants(t, string(octets), fmt.Sprintf("\n| %d | ", s))
	}
	for verb := range strings.FieldsSeq("HELLO STARTTLS AUTH MORE PASSWD PING QUIT BYE ERROR MOVE STALE FRESH LISTEN UNLISTENED STATE UNLISTEN SEND MESSAGE " +
		"APP JOIN KEY KEYS WATCH PRESENCE UNWATCH QUERY WATCHERS ACL CONTACT VERIFY") {
		wants(t, spec, verb)
	}
	for _, limit := range []string{
		fmt.Sprintf("at most %d octets, including the CRLF", protocol.MaxLine),
		fmt.Sprintf("1*%d( ALPHA / DIGIT", protocol.MaxTag), fmt.Sprintf("1*%d ALPHA", protocol.MaxVerb), fmt.Sprintf("ALPHA *%d( ALPHA", protocol.MaxKey-1),
		fmt.Sprintf("`id` has 1 to %d letters", protocol.MaxID), fmt.Sprintf("the whole %d", protocol.MaxAddress), fmt.Sprintf("at most %d octets", protocol.MaxNote),
		fmt.Sprintf("at most %d recipients", protocol.MaxRecipients), fmt.Sprintf("at most %d IMAs", protocol.MaxWatched), fmt.Sprintf("the limit is %d pairs", protocol.MaxPairs), fmt.Sprintf("at most %d rules", protocol.MaxRules),
		fmt.Sprintf("at most %d contacts", protocol.MaxContacts), fmt.Sprintf("at most %d app passwords", protocol.MaxAppPasswords), fmt.Sprintf("at most %d (%d while", protocol.MaxSessions, protocol.MaxSessions+1),
		fmt.Sprintf("at most %d KiB", protocol.MaxAuthData>>10), fmt.Sprintf("at most %d requests", protocol.MaxRequests), fmt.Sprintf("or %d MiB of them", protocol.MaxRequestOctets>>20),
		fmt.Sprintf("at most %d messages, or %d MiB", protocol.MaxUnanswered, protocol.MaxUnansweredOctets>>20),
		fmt.Sprintf("`timeout` is 1 to %d, and %d without it", protocol.MaxTimeout/time.Second, protocol.DefaultTimeout/time.Second),
		fmt.Sprintf("within %d minutes", protocol.RepeatWindow/time.Minute), fmt.Sprintf("answered within %d seconds", protocol.RequestTimeout/time.Second),
	} {
		wants(t, spec, limit)
	}
}

// foldSpace joins the lines of text, so that it does not matter where they are
// wrapped.
func foldSpace(text string) string {
	return strings.Join(strings.Fields(text), " ")
}

func wants(t *testing.T, spec, part string) {
	t.Helper()
	if !strings.Contains(spec, part) {
		t.Errorf("the specification does not say %q", part)
	}
}
