package main

import (
	"strings"
	"testing"
)

func TestLimitsAreOverTheStandard(t *testing.T) {
	c := &config{}
	if err := setLimits(c, []string{"changes=off", "messages=7", "first-contacts=0.1:3"}); err != nil {
		t.Fatal(err)
	}
	l := &c.limits
	for name, want := range map[string]string{
		"changes": "off", "messages": "7:7", "first-contacts": "0.1:3", "watches": "100:20000", "commands": "100:2000",
	} {
		if got := l.limitOf(name).String(); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
	for _, name := range limitNames() {
		if l.limitOf(name) == nil || !strings.Contains(standardLimits, name+"=") {
			t.Errorf("%s has no limit, or no standard", name)
		}
	}
}

func TestLimitsThatAreWrong(t *testing.T) {
	for value, want := range map[string]string{
		"change=1":              `unknown limit "change" (did you mean "changes"?); the names are changes, commands, messages,`,
		"changes":               `invalid limit "changes": must be NAME=RATE[:BURST] or NAME=off`,
		"changes=":              `changes: invalid limit "": must be RATE[:BURST] in events a second, or off`,
		"changes=-1":            `changes: invalid limit "-1"`,
		"changes=1:0":           "the burst must be a number of at least 1",
		"changes=1,changes=off": "the limit changes is given twice",
	} {
		_, wrong := loadWith(t, "", map[string]string{"SIMPD_LIMIT": value}, "--insecure", "--node-id=n1", "--data-dir=x", "--domain=example.com", "--bootstrap-expect=1")
		if len(wrong) != 1 || !strings.Contains(wrong[0].Error(), want) {
			t.Errorf("%s: %v, want %q", value, wrong, want)
		}
	}
	file := write(t, "simpd.yaml", "node_id: n1\ndomain: [a.example]\nbootstrap_expect: 1\ninsecure: true\ndata_dir: here\nlimit: [changes=off, mesages=5]\n", 0o600)
	if _, wrong := loadWith(t, file, nil); len(wrong) != 1 || !strings.Contains(wrong[0].Error(), ":6:") || !strings.Contains(wrong[0].Excerpt(), "mesages=5") {
		t.Errorf("in a file: %v", wrong)
	}
}

// check-config and doctor name the limits whose burst is too small for several nodes.
func TestABurstThatIsTooSmallIsWarnedOf(t *testing.T) {
	for value, want := range map[string]bool{
		"messages=100:10": true, "logins=5:2": true, "messages=100:50": false, "messages=3:1.5": false, "messages=7": false,
		"messages=off": false, "messages=0.001:1": false, "commands=100:10": false,
	} {
		conf, wrong := loadWith(t, "", map[string]string{"SIMPD_LIMIT": value}, "--insecure", "--node-id=n1", "--data-dir=x", "--domain=example.com", "--bootstrap-expect=1")
		if len(wrong) > 0 {
			t.Fatal(wrong)
		}
		found := false
		for _, w := range conf.warnings {
			found = found || strings.HasPrefix(w, "limit "+value+": with a burst")
		}
		if found != want {
			t.Errorf("%s: warned of %t: %q", value, found, conf.warnings)
		}
	}
}
