package server

import (
	"testing"
	"time"

	"simpd/protocol"
)

// TestPresenceWithoutSince: of another site's user a line says no more than
// that site has said.
func TestPresenceWithoutSince(t *testing.T) {
	a, err := protocol.ParseAddress("bob@other.example")
	if err != nil {
		t.Fatal(err)
	}
	n := &protocol.Notice{Presence: protocol.Presence{Address: a, State: protocol.Away}}
	if got, want := string(appendNotice(nil, n)), "* PRESENCE ima=bob@other.example state=away\r\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	n.Since, n.Index = time.UnixMilli(1_795_341_600_120), 7
	if got, want := string(appendNotice(nil, n)), "* PRESENCE ima=bob@other.example state=away since=2026-11-22T10:00:00.120Z index=7\r\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
