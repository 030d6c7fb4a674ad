package server

import (
	"fmt"
	"strings"
	"testing"
)

// many returns n params of key with addresses at a domain.
func many(key, domain string, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, " %s=a%d@%s", key, i, domain)
	}
	return b.String()
}

// Section 7: ima and by of a routing connection multiply, up to 10,000 pairs.
func TestPairsOfOneRequestAreBounded(t *testing.T) {
	_, call := federated(t, &partners{verdict: func(string) error { return nil }})
	c := call("example.com")
	c.dialback("two.example", "200 domain=two.example")
	for i, verb := range []string{"QUERY", "WATCH", "UNWATCH"} {
		c.send("%d %s%s%s", i, verb, many("ima", "example.com", 101), many("by", "two.example", 100))
		c.expect("%d 413 :10100 pairs of ima and by are too many: 10000 are allowed", i)
	}
	c.send("q QUERY%s%s", many("ima", "example.com", 100), many("by", "two.example", 100))
	for range 100 * 100 {
		c.expect("q 100 ima=<any>@example.com state=deaf by=<any>@two.example")
	}
	c.expect("q 200 index=<any>")
}

// What many pairs will take is counted before the site is asked.
func TestAnswersForManyPairsAreCounted(t *testing.T) {
	_, call := federated(t, &partners{verdict: func(string) error { return nil }}, func(c *Config) { c.MaxHeld = 8 << 20 })
	c := call("example.com")
	c.dialback("two.example", "200 domain=two.example")
	c.send("1 QUERY%s%s", many("ima", "example.com", 100), many("by", "two.example", 100))
	c.expect("1 429 retry=1 :<rest>")
	c.send("2 QUERY%s%s", many("ima", "example.com", 1), many("by", "two.example", 2))
	c.expect("2 100 <rest>")
	c.expect("2 100 <rest>")
	c.expect("2 200 <rest>")
}

// What takes long is not done by the event loop.
func TestLongRequestsAreDoneAside(t *testing.T) {
	_, x := newUsageSession(t)
	for line, aside := range map[string]bool{
		"QUERY" + many("ima", "example.com", 2): false, "QUERY" + many("ima", "example.com", 100): true,
		"UNWATCH" + many("ima", "example.com", 2): false, "UNWATCH" + many("ima", "example.com", 100): true, "UNWATCH": true,
		"ACL": true, "CONTACT": true,
	} {
		_, r, err := x.decoder.nextRequest([]byte("1 " + line + "\r\n"))
		if err != nil || r == nil {
			t.Fatalf("%.20s: %v", line, err)
		}
		if blocks := commandFor(r).blocking(x, r); blocks != aside {
			t.Errorf("%.20s: done aside: %v", line, blocks)
		}
	}
}
