package cluster

import (
	"reflect"
	"testing"
	"time"

	clusterv1 "simpd/proto/simp/cluster/v1"
)

func setting(name, value string) *clusterv1.Setting {
	return &clusterv1.Setting{Name: name, Value: value, Sum: []byte("sum of " + value)}
}

func TestDifferences(t *testing.T) {
	nodes := []NodeStatus{
		{ID: "n1", Settings: []*clusterv1.Setting{setting("domain", "a"), setting("timing", "fast"), {Name: "ws_origin"}}},
		{ID: "n2", Settings: []*clusterv1.Setting{setting("domain", "a, b"), setting("timing", "fast"), setting("ws_origin", "x"), setting("new", "1")}},
		{ID: "n3", Settings: []*clusterv1.Setting{setting("domain", "a, b"), setting("timing", "fast"), setting("ws_origin", "x")}},
		{ID: "n4"}, // an older version, or one that does not answer
	}
	want := []Difference{{"domain", []SettingValue{{"a, b", []string{"n2", "n3"}}, {"a", []string{"n1"}}}}}
	if d := Differences(nodes); !reflect.DeepEqual(d, want) {
		t.Errorf("%v, want %v", d, want)
	}
	if said := want[0].String(); said != "n2, n3: a, b; n1: a" {
		t.Error(said)
	}
}

// TestGossipedSettings: two nodes of the same version see which settings differ,
// and nodes of others are not compared.
func TestGossipedSettings(t *testing.T) {
	sum := func(all ...*clusterv1.Setting) string { return sumSettings(all) }
	own := sum(setting("domain", "a"), setting("timing", "fast"), setting("ws_origin", "x"))
	for _, tt := range []struct {
		name, other string
		want        []int
	}{
		{"the same", sum(setting("domain", "a"), setting("timing", "fast"), setting("ws_origin", "x")), nil},
		{"other ones", sum(setting("domain", "b"), setting("timing", "fast"), setting("ws_origin", "y")), []int{0, 2}},
		{"one that does not matter", sum(setting("domain", "a"), setting("timing", "fast"), &clusterv1.Setting{Name: "ws_origin"}), nil},
		{"another version", sum(setting("domain", "b"), setting("timing", "fast"), setting("route", "x")), nil},
		{"a newer version", sum(setting("domain", "b"), setting("timing", "fast"), setting("ws_origin", "x"), setting("new", "1")), nil},
		{"an older version", "", nil},
		{"no sum at all", "abcd", nil},
	} {
		if got := differingSettings(own, tt.other); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
	if sum() != "" || len(own) > 64 {
		t.Errorf("sums of %d and %d octets", len(sum()), len(own))
	}
}

// TestDifferingSettingsAreSaidOnce: not while an operator goes from node to node,
// and anew if they differ again.
func TestDifferingSettingsAreSaidOnce(t *testing.T) {
	w, begun := settingsWatch{}, time.Now()
	differ := map[string][]string{"domain": {"n2"}, "route": nil}
	for _, tt := range []struct {
		after   time.Duration
		differs bool
		want    bool
	}{
		{0, true, false}, {settingsGrace / 2, true, false}, {settingsGrace, true, true}, {2 * settingsGrace, true, false},
		{3 * settingsGrace, false, false}, {4 * settingsGrace, true, false}, {5 * settingsGrace, true, true},
	} {
		now := map[string][]string{}
		if tt.differs {
			now = differ
		}
		if due := w.update(now, begun.Add(tt.after)); due["domain"] != tt.want || len(due) > 1 {
			t.Errorf("after %v: %v, want %v", tt.after, due, tt.want)
		}
	}
}
