package server

import (
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
}
