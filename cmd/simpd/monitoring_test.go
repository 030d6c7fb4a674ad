package main

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

const monitoring = "../../deployments/monitoring/"

// TestMonitoringNamesMetrics: every query of the dashboard and of the alerts
// names metrics that there are, and every metric is on the dashboard or in an
// alert.
func TestMonitoringNamesMetrics(t *testing.T) {
	known, used := knownMetrics(t), map[string]bool{}
	queries := append(dashboardQueries(t), alertQueries(t)...)
	if len(queries) < 30 {
		t.Fatalf("only %d queries were found", len(queries))
	}
	for _, q := range queries {
		names := metricNames(q)
		if len(names) == 0 {
			t.Errorf("no metric in %q", q)
		}
		if strings.Count(q, "(") != strings.Count(q, ")") || strings.Count(q, "{") != strings.Count(q, "}") {
			t.Errorf("brackets of %q", q)
		}
		for _, name := range names {
			if used[name] = true; !known[name] {
				t.Errorf("there is no metric %s, in %q", name, q)
			}
		}
	}
	for _, m := range nodeMetrics() {
		if m.kindName() != "histogram" && !used[m.name] && m.name != "simp_table_index" && m.name != "simp_epoch" && m.name != "simp_epochs_total" &&
			m.name != "simp_raft_last_index" && m.name != "simp_raft_replicas" &&
			m.name != "simp_digest" && m.name != "simp_digest_log" { // of a moment; the alert counts what was healed
			t.Errorf("nobody looks at %s", m.name)
		}
	}
}

// metricNames finds what a query asks for.
func metricNames(query string) []string {
	query = regexp.MustCompile(`\{[^}]*\}`).ReplaceAllString(query, "")
	return regexp.MustCompile(`\b(?:simp|process|go)_[a-z0-9_]+\b|\bup\b`).FindAllString(query, -1)
}

func knownMetrics(t *testing.T) map[string]bool {
	t.Helper()
	known := map[string]bool{"up": true, "simp_build_info": true}
	for _, m := range nodeMetrics() {
		if m.kindName() != "histogram" {
			known[m.name] = true
			continue
		}
		for _, part := range []string{"_bucket", "_sum", "_count"} {
			known[m.name+part] = true
		}
	}
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		known[f.GetName()] = true
	}
	return known
}

func dashboardQueries(t *testing.T) (queries []string) {
	t.Helper()
	b, err := os.ReadFile(monitoring + "dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(b, &dashboard); err != nil {
		t.Fatal(err)
	}
	for _, p := range dashboard.Panels {
		for _, target := range p.Targets {
			queries = append(queries, target.Expr)
		}
	}
	return queries
}

// alertQueries also checks that each alert says what it means and what to do.
func alertQueries(t *testing.T) (queries []string) {
	t.Helper()
	b, err := os.ReadFile(monitoring + "alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Name  string
			Rules []struct {
				Alert, Expr, For    string
				Labels, Annotations map[string]string
			}
		}
	}
	if err := yaml.Unmarshal(b, &file); err != nil {
		t.Fatal(err)
	}
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			queries = append(queries, r.Expr)
			if r.Alert == "" || r.Labels["severity"] == "" || r.Annotations["summary"] == "" || r.Annotations["action"] == "" {
				t.Errorf("an alert says too little: %+v", r)
			}
		}
	}
	return queries
}
