package server

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// Over TLS neither the handshake nor a large message leaves a buffer behind,
// and the next one is read as it was sent.
func TestNothingIsLeftOverOfTLS(t *testing.T) {
	h := newHarbour(t, nil)
	alice, bob := h.dialTLS().login("alice"), h.dialTLS().login("bob")
	bob.send("l LISTEN")
	bob.expect("l 200 <rest>")
	for i, octets := range []int{1, 1000, 16 << 10, 60_000, 3, 20_000} {
		entity := strings.Repeat(fmt.Sprint(i), octets)
		alice.send("%d SEND to=bob@example.com {%d}", i+1, len(entity))
		alice.write(entity)
		tag, got := bob.message()
		if got != entity {
			t.Fatalf("%d octets came other than they were sent", octets)
		}
		bob.send("%s 200", tag)
		alice.expect("%d 200 <rest>", i+1)
	}
	for _, c := range []*client{alice, bob} {
		c.send("p PING") // a short line after all else: what was longer has been given back
		c.expect("p 200")
	}
	for s := range sealedSessions(h.server) {
		if s.buffers.raw == nil || s.buffers.hand == nil {
			t.Fatal("package tls keeps its buffers under other names now: findLeftovers wants a look")
		}
	}
}

// sealedSessions are those over TLS.
func sealedSessions(s *Server) map[*tlsTransport]bool {
	all := map[*tlsTransport]bool{}
	for _, x := range s.allSessions() {
		if w, ok := x.out.transport.(*tlsTransport); ok {
			all[w] = true
		}
	}
	return all
}

// Empty buffers are given back, and those that hold something are not.
func TestLeftoversKeepWhatIsNotRead(t *testing.T) {
	var empty, full, small bytes.Buffer
	empty.Grow(2 * minReleasable)
	full.Write(make([]byte, 2*minReleasable))
	small.Grow(minReleasable / 2)
	tlsBuffers{&full, &empty}.release()
	tlsBuffers{nil, &small}.release()
	if empty.Cap() > 0 || full.Len() < 2*minReleasable || small.Cap() == 0 {
		t.Errorf("room for %d is kept in an empty one, %d octets in a full one, room for %d in a small one", empty.Cap(), full.Len(), small.Cap())
	}
}
