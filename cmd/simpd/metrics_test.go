package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
)

// TestMetricsOfANode: what a node says of itself has the form that Prometheus
// asks for, and every metric of the docs is there.
func TestMetricsOfANode(t *testing.T) {
	n := serveInsecure(t, t.TempDir())
	n.addUsers("alice")
	code, said := runTo(t, "", "simp", "--plaintext", "--server", n.address("simp-listen"), "--user", "alice@example.com", "send", "alice@example.com", "hello")
	if code != 3 {
		t.Fatalf("simp send: exit code %d: %s", code, said)
	}
	_, body := n.get("/metrics")
	problems, err := promlint.New(strings.NewReader(body)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	for _, m := range nodeMetrics() {
		if strings.HasPrefix(m.name, "simp_source_") || strings.HasSuffix(m.name, "_not_after_timestamp_seconds") || m.name == "simp_raft_spare_voters" {
			continue // this node has no certificates, tokens and account sources, and may not have counted the voters yet
		}
		if strings.HasPrefix(m.name, "simp_acme_") || strings.HasPrefix(m.name, "simp_block_feed_") {
			continue // nor acme-domain or block-feed
		}
		if m.durations != nil && strings.Contains(body, "\n"+m.name+"_count ") {
			continue
		}
		if !strings.Contains(body, "\n"+m.name+"{") && !strings.Contains(body, "\n"+m.name+" ") {
			t.Errorf("%s is missing", m.name)
		}
	}
	if !strings.Contains(body, "\nsimp_messages_sent_total{status=\"480\"} 1\n") || !strings.Contains(body, "\nsimp_logins_total{result=\"ok\"} 1\n") {
		t.Errorf("the message and its login are not counted:\n%s", body)
	}
}

// TestReferenceMetrics: the docs name every metric there is.
func TestReferenceMetrics(t *testing.T) {
	var b strings.Builder
	b.WriteString("| metric | kind | label | meaning |\n| --- | --- | --- | --- |\n")
	for _, m := range nodeMetrics() {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", m.name, m.kindName(), code(strings.Join(m.labels, ", ")), m.help)
	}
	checkTable(t, "../../docs/metrics.md", "metrics", b.String())
}
