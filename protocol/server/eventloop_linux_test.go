package server

import (
	"runtime"
	"testing"
	"time"
)

// A connection at which nothing happens has no goroutine: a loop reads for it,
// over TCP and over TLS.
func TestIdleConnectionsHoldNoGoroutine(t *testing.T) {
	h := newHarbour(t, func(c *Config) { c.Insecure = true })
	h.dial().login("alice") // from here on the loops and the wheel run
	before := runtime.NumGoroutine()
	const each = 20
	var all []*client
	for range each {
		all = append(all, h.dial().login("alice"), h.dialTLS().login("bob"))
	}
	deadline := time.Now().Add(10 * time.Second)
	for runtime.NumGoroutine() > before+each/2 { // a login's own end soon after its answer
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines more for %d connections", runtime.NumGoroutine()-before, len(all))
		}
		runtime.Gosched()
	}
	for i, c := range all {
		c.send("p%d PING", i)
		c.expect("p%d 200", i)
	}
}
