package cluster

import (
	"cmp"
	"context"
	"crypto/sha256"
	"slices"
	"strings"
	"time"

	"simpd/cluster/link"
	clusterv1 "simpd/proto/simp/cluster/v1"
)

const (
	// settingsInterval is how often a node looks whether its settings have
	// changed, and whether other nodes have others.
	settingsInterval = 2 * time.Second
	// settingsGrace is for how long other nodes' settings may differ before the
	// log says so: an operator changes them on one node after the other.
	settingsGrace = time.Minute
	// What gossip carries of settings: a hash of their names, and one of each
	// value, which is zero where the setting does not matter.
	namesSum = 4
	valueSum = 2
)

// Difference is a setting that must be the same on all nodes, and is not.
type Difference struct {
	Setting string
	Values  []SettingValue // at least two, the one that most nodes have first
}

// SettingValue is a value of a setting, for people, and the nodes that have it.
type SettingValue struct {
	Value string
	Nodes []string
}

// Differences compares the settings that nodes have told. One that says nothing
// of a setting, as its version does not know it, does not differ.
func Differences(nodes []NodeStatus) (all []Difference) {
	names := map[string]map[string]*SettingValue{} // by the setting and its sum
	var order []string
	for _, n := range nodes {
		for _, s := range n.Settings {
			if len(s.Sum) == 0 {
				continue // it does not matter there
			}
			if names[s.Name] == nil {
				names[s.Name] = map[string]*SettingValue{}
				order = append(order, s.Name)
			}
			v := names[s.Name][string(s.Sum)]
			if v == nil {
				v = &SettingValue{Value: s.Value}
				names[s.Name][string(s.Sum)] = v
			}
			v.Nodes = append(v.Nodes, n.ID)
		}
	}
	for _, name := range order {
		if len(names[name]) > 1 {
			all = append(all, Difference{name, sortValues(names[name])})
		}
	}
	return all
}

func sortValues(values map[string]*SettingValue) (all []SettingValue) {
	for _, v := range values {
		all = append(all, *v)
	}
	slices.SortFunc(all, func(a, b SettingValue) int {
		return cmp.Or(cmp.Compare(len(b.Nodes), len(a.Nodes)), strings.Compare(a.Nodes[0], b.Nodes[0]))
	})
	return all
}

// settings returns those of this node that must be the same on all.
func (n *Node) settings() []*clusterv1.Setting {
	if n.cfg.Settings == nil {
		return nil
	}
	return n.cfg.Settings()
}

// sumSettings returns what gossip carries of settings; empty of none.
func sumSettings(settings []*clusterv1.Setting) string {
	if len(settings) == 0 {
		return ""
	}
	names, values := sha256.New(), make([]byte, 0, valueSum*len(settings))
	for _, s := range settings {
		names.Write([]byte(s.Name + "\n"))
		if len(s.Sum) == 0 {
			values = append(values, 0, 0)
			continue
		}
		sum := sha256.Sum256(s.Sum)
		values = append(values, sum[0]|1, sum[1]) // not zero
	}
	return string(names.Sum(nil)[:namesSum]) + string(values)
}

// differingSettings returns the numbers of the settings that two nodes have other
// values of, by what they gossip. Nodes of versions that compare other settings
// are not compared.
func differingSettings(a, b string) (numbers []int) {
	if len(a) < namesSum || len(a) != len(b) || a[:namesSum] != b[:namesSum] {
		return nil
	}
	for i := namesSum; i < len(a); i += valueSum {
		x, y := a[i:i+valueSum], b[i:i+valueSum]
		if x != y && x != "\x00\x00" && y != "\x00\x00" {
			numbers = append(numbers, (i-namesSum)/valueSum)
		}
	}
	return numbers
}

// DifferingNodes returns, by each setting that must be the same on all nodes, the
// other nodes of the site that gossip says have another value than this one.
func (n *Node) DifferingNodes() map[string][]string {
	settings := n.settings()
	own, ids := sumSettings(settings), map[string][]string{}
	for _, s := range settings {
		ids[s.Name] = nil
	}
	for _, m := range n.link.Members() {
		if m.ID == n.cfg.NodeID || !n.isServer(m.ID) {
			continue
		}
		for _, i := range differingSettings(own, m.SettingsSum) {
			ids[settings[i].Name] = append(ids[settings[i].Name], m.ID)
		}
	}
	return ids
}

// watchSettings tells the other nodes of this node's settings, and the log which
// of them differ, until ctx ends.
func (n *Node) watchSettings(ctx context.Context) {
	tick := time.NewTicker(settingsInterval)
	defer tick.Stop()
	w := settingsWatch{node: n}
	for {
		w.check(ctx, time.Now())
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// settingsWatch follows which settings differ.
type settingsWatch struct {
	node      *Node
	announced string               // to the other nodes
	since     map[string]time.Time // by the setting
	logged    map[string]bool      // the log has it
}

func (w *settingsWatch) check(ctx context.Context, now time.Time) {
	if sum := sumSettings(w.node.settings()); sum != w.announced {
		if w.node.link.UpdateMember(func(m *link.Member) { m.SettingsSum = sum }) == nil {
			w.announced = sum
		}
	}
	due := w.update(w.node.DifferingNodes(), now)
	if len(due) == 0 {
		return
	}
	for _, d := range Differences(w.node.Status(ctx)) {
		if due[d.Setting] {
			w.node.cfg.Logger.Warn("a setting is not the same on all nodes of the site", "setting", d.Setting, "values", d.String())
		}
	}
}

// update takes which settings differ now, and returns those of which the log is
// to speak: once, until they do not differ any more.
func (w *settingsWatch) update(differing map[string][]string, now time.Time) (due map[string]bool) {
	since, said, due := map[string]time.Time{}, map[string]bool{}, map[string]bool{}
	for name, nodes := range differing {
		if len(nodes) == 0 {
			continue
		}
		since[name] = now
		if begun, ok := w.since[name]; ok {
			since[name] = begun
		}
		said[name] = now.Sub(since[name]) >= settingsGrace
		if said[name] && !w.logged[name] {
			due[name] = true
		}
	}
	w.since, w.logged = since, said
	return due
}

// String lists the values, for people.
func (d *Difference) String() string {
	var all []string
	for _, v := range d.Values {
		all = append(all, strings.Join(v.Nodes, ", ")+": "+v.Value)
	}
	return strings.Join(all, "; ")
}
