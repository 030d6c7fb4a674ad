package deploy

import (
	"os"
	"os/exec"
	"testing"

	strict "sigs.k8s.io/yaml"
)

// TestAlerts has promtool try each alert on the examples in alerts_test.yaml.
// deployments/test/run installs it where it is missing.
func TestAlerts(t *testing.T) {
	for _, args := range [][]string{
		{"check", "rules", "../monitoring/alerts.yaml"},
		{"test", "rules", "../monitoring/alerts_test.yaml"},
	} {
		if said, err := exec.Command("promtool", args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %v: %v\n%s", args, err, said)
		}
	}
}

// TestEveryAlertIsTriedBothWays: each has an example in which it fires, and one
// in which it does not.
func TestEveryAlertIsTriedBothWays(t *testing.T) {
	var rules struct {
		Groups []struct {
			Rules []struct{ Alert string }
		}
	}
	var examples struct {
		Tests []struct {
			AlertRuleTest []struct {
				Alertname string
				ExpAlerts []any `json:"exp_alerts"`
			} `json:"alert_rule_test"`
		}
	}
	for file, into := range map[string]any{"alerts.yaml": &rules, "alerts_test.yaml": &examples} {
		content, err := os.ReadFile("../monitoring/" + file)
		if err != nil {
			t.Fatal(err)
		}
		if err := strict.Unmarshal(content, into); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
	}
	fires, rests := map[string]bool{}, map[string]bool{}
	for _, test := range examples.Tests {
		for _, e := range test.AlertRuleTest {
			if len(e.ExpAlerts) > 0 {
				fires[e.Alertname] = true
			} else {
				rests[e.Alertname] = true
			}
		}
	}
	if len(rules.Groups) == 0 {
		t.Fatal("there is no group of rules")
	}
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			if !fires[r.Alert] || !rests[r.Alert] {
				t.Errorf("%s: an example in which it fires: %v; in which it does not: %v", r.Alert, fires[r.Alert], rests[r.Alert])
			}
		}
	}
}
