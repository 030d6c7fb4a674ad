package link

import (
	"fmt"
	"net/netip"
	"testing"

	clusterv1 "simpd/proto/simp/cluster/v1"
	"simpd/protocol"
)

func attemptAt(source, who string) protocol.Attempt {
	p, err := protocol.ParsePrincipal(who)
	if err != nil {
		panic(err)
	}
	return protocol.Attempt{Principal: p, Source: netip.MustParseAddr(source)}
}

// What is told is what counts as one source, and survives the way.
func TestLoginsOnTheWire(t *testing.T) {
	var f loginReports
	f.addFailure(attemptAt("2a00:1:2:3::1", "alice@example.com"))
	f.addFailure(attemptAt("2a00:1:2:3::2", "alice@example.com"))
	f.addFailure(attemptAt("192.0.2.1", "@example.net"))
	f.addFailure(attemptAt("192.0.2.1", ""))
	exempt := attemptAt("127.0.0.1", "alice@example.com")
	exempt.Exempt = true
	f.addFailure(exempt)
	f.addSuccess(attemptAt("2a00:1:2:3::9", "bob@example.com"))
	failed, known := f.drain()
	got := handler{}
	dispatchReports(&got, &clusterv1.Frame{Failure: failed, Known: known})
	want := map[string]bool{
		"2a00:1:2:3:: alice@example.com 2": true, "192.0.2.1 @example.net 1": true,
		"192.0.2.1  1": true, "invalid IP alice@example.com 1": true,
	}
	for _, line := range got.failed {
		if !want[line] {
			t.Errorf("told %q", line)
		}
		delete(want, line)
	}
	if len(want) > 0 || fmt.Sprint(got.known) != "[2a00:1:2:3:: bob@example.com]" {
		t.Errorf("not told: %v; known: %v", want, got.known)
	}
	if failed, known := f.drain(); failed != nil || known != nil {
		t.Error("it is told twice")
	}
}

// What a node keeps for another is bounded, and the worst stays.
func TestFailuresKeepTheWorst(t *testing.T) {
	var f loginReports
	worst := attemptAt("192.0.2.1", "bob@example.com")
	for range 100 {
		f.addFailure(worst)
	}
	for i := range 2 * maxReports {
		a := attemptAt("198.51.100.1", fmt.Sprintf("u%d@example.com", i))
		f.addFailure(a)
		f.addSuccess(a)
	}
	if len(f.failed) != maxReports || f.failed[worst] != 100 || len(f.known) != maxReports {
		t.Errorf("%d are kept, the worst with %d; %d known", len(f.failed), f.failed[worst], len(f.known))
	}
}
