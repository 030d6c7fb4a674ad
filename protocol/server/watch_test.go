package server

import (
	"bytes"
	"fmt"
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

// Who is watched by very many is told of as many as fit, and that they are not all.
func TestWatchersAreCut(t *testing.T) {
	var by []protocol.Address
	for i := range 100_000 {
		by = append(by, protocol.CanonicalAddress(fmt.Sprintf("user%06d@example.com", i)))
	}
	b := watcherLines("t", by, false)
	lines := bytes.Count(b, []byte("\r\n"))
	if len(b) > protocol.MaxWatchersOctets+100 || lines < 50_000 || !bytes.HasSuffix(b, []byte("\r\nt 200 partial=yes")) {
		t.Errorf("%d octets, %d lines, at the end %q", len(b), lines, b[len(b)-60:])
	}
	if got, want := string(watcherLines("t", by[:1], false)), "t 100 ima=user000000@example.com\r\nt 200"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
