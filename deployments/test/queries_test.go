package deploy

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"
	strict "sigs.k8s.io/yaml"
)

// TestQueries: Prometheus' own parser reads every query of the dashboard and
// of the alerts, and finds in them only metrics and labels that docs/metrics.md
// has, and of counters and histograms only what rate makes of them.
func TestQueries(t *testing.T) {
	known := readMetrics(t)
	queries := append(dashboardQueries(t), alertQueries(t)...)
	if len(queries) < 30 {
		t.Fatalf("only %d queries were found", len(queries))
	}
	reads := parser.NewParser(parser.Options{})
	for _, q := range queries {
		// What Grafana puts in the place of its own names.
		expr, err := reads.ParseExpr(strings.NewReplacer("$__rate_interval", "1m", "$__interval", "1m", "$__range", "1h").Replace(q))
		if err != nil {
			t.Errorf("%s: %v", q, err)
			continue
		}
		parser.Inspect(expr, func(n parser.Node, path []parser.Node) error {
			if s, ok := n.(*parser.VectorSelector); ok {
				checkSelector(t, known, q, s, path)
			}
			return nil
		})
	}
}

// metric is a line of docs/metrics.md.
type metric struct {
	kind   string
	labels []string
}

var row = regexp.MustCompile("(?m)^\\| `([a-z0-9_]+)` \\| ([a-z]+) \\| (.*?) \\|")

func readMetrics(t *testing.T) map[string]metric {
	t.Helper()
	b, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]metric{}
	for _, m := range row.FindAllStringSubmatch(string(b), -1) {
		known[m[1]] = metric{m[2], regexp.MustCompile("[a-z_]+").FindAllString(m[3], -1)}
	}
	if len(known) < 30 {
		t.Fatalf("only %d metrics were found", len(known))
	}
	return known
}

func checkSelector(t *testing.T, known map[string]metric, query string, s *parser.VectorSelector, path []parser.Node) {
	t.Helper()
	m, ok := known[strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(s.Name, "_bucket"), "_sum"), "_count")]
	if !ok {
		m, ok = known[s.Name]
	}
	if s.Name == "up" || s.Name == "simp_build_info" || strings.HasPrefix(s.Name, "go_") || strings.HasPrefix(s.Name, "process_") {
		return
	}
	if !ok {
		t.Errorf("%s: docs/metrics.md has no %q", query, s.Name)
	}
	for _, l := range s.LabelMatchers {
		if l.Name != model.MetricNameLabel && l.Name != "job" && l.Name != "site" && l.Name != "instance" && !slices.Contains(m.labels, l.Name) {
			t.Errorf("%s: %s has no label %s", query, s.Name, l.Name)
		}
	}
	ranged := slices.ContainsFunc(path, func(n parser.Node) bool { _, ok := n.(*parser.MatrixSelector); return ok })
	if (m.kind == "counter" || m.kind == "histogram") && !ranged {
		t.Errorf("%s: %s is a %s, and only grows: rate or increase is wanted", query, s.Name, m.kind)
	}
}

func dashboardQueries(t *testing.T) (queries []string) {
	t.Helper()
	b, err := os.ReadFile("../monitoring/dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
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

func alertQueries(t *testing.T) (queries []string) {
	t.Helper()
	b, err := os.ReadFile("../monitoring/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Rules []struct{ Expr string }
		}
	}
	if err := strict.Unmarshal(b, &file); err != nil {
		t.Fatal(err)
	}
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			queries = append(queries, r.Expr)
		}
	}
	return queries
}
