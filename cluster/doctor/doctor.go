// Package doctor says what is wrong with a site, and what mends it, from what
// its nodes tell of themselves. simpctl doctor and the operators' console show
// it.
package doctor

import (
	"fmt"
	"slices"
	"strings"
	"time"

	simpv1 "simpd/proto/simp/v1"
)

// Finding describes something that is not as it should be.
type Finding struct {
	About string `json:"about"` // a node, or the site
	What  string `json:"what"`
	Mend  string `json:"mend"`           // what to type, or to do
	Hint  bool   `json:"hint,omitempty"` // it may stay so
}

// MaxBehind is by how many changes a node may be behind and count as caught up.
const MaxBehind = 1000

// NewestIndex returns the newest index that a node has reached.
func NewestIndex(r *simpv1.StatusResponse) uint64 {
	newest := r.Position.GetIndex()
	for _, n := range r.Node {
		newest = max(newest, n.Index)
	}
	return newest
}

func dashIfEmpty(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// Examine finds all that is not as it should be: what stops the site first.
func Examine(r *simpv1.StatusResponse, now time.Time) []Finding {
	all := []Finding{}
	switch r.Health {
	case simpv1.Health_HEALTH_NO_MAJORITY:
		all = append(all, noMajority(r))
	case simpv1.Health_HEALTH_NOT_FORMED:
		return append(all, notFormed(r))
	}
	for _, n := range r.Node {
		all = append(all, examineNode(r, n)...)
	}
	all = append(all, examineExpiries(r.Node, now)...)
	for _, n := range r.Node {
		all = append(all, examineCoverage(n)...)
	}
	for _, d := range r.Difference {
		all = append(all, examineDifference(d))
	}
	for _, n := range r.Node {
		all = append(all, examineAddress(r, n)...)
	}
	return append(all, findHints(r)...)
}

// notFormed says what keeps nodes from forming a site, and what the answering one
// waits for.
func notFormed(r *simpv1.StatusResponse) Finding {
	f := Finding{About: "site", What: r.Summary, Mend: "start all nodes of the new site, each with the others in join: docs/operators/trouble.md"}
	expects, silent := map[uint32]bool{}, []string{}
	for _, n := range r.Node {
		if n.Id == r.AnsweredBy {
			f.What += "; " + n.Id + " is " + n.Problem
		}
		if n.State == simpv1.NodeState_NODE_STATE_DOWN {
			silent = append(silent, fmt.Sprintf("%s at %s", n.Id, dashIfEmpty(n.ClusterAddress)))
		} else {
			expects[n.BootstrapExpect] = true
		}
	}
	switch {
	case len(silent) > 0:
		f.Mend = "gossip finds them: have the other nodes reach " + strings.Join(silent, ", ") + " (cluster_listen, advertise, a firewall)"
	case len(expects) > 1:
		f.Mend = "give all nodes the same bootstrap_expect, and restart those that had another: systemctl restart simpd"
	case expects[0] || expects[1]:
		f.Mend = "set bootstrap_expect to 3 on the three nodes that are to form it, or to 1 on one that has no join, and restart them: systemctl restart simpd"
	}
	return f
}

func noMajority(r *simpv1.StatusResponse) Finding {
	var down []string
	for _, n := range r.Node {
		if n.State == simpv1.NodeState_NODE_STATE_DOWN {
			down = append(down, n.Id)
		}
	}
	f := Finding{About: "site", What: "it has no leader, and nothing can be changed", Mend: "wait some seconds; if it stays so, look at port 7470 between the nodes"}
	if len(down) > 0 {
		f.What = "the majority is lost: " + strings.Join(down, ", ") + " do not answer"
		f.Mend = "start them (systemctl start simpd, on each); if they are gone for good: docs/operators/lose-the-majority.md (simpd recover)"
	}
	return f
}

func examineNode(r *simpv1.StatusResponse, n *simpv1.NodeStatus) (all []Finding) {
	add := func(what, mend string, args ...any) {
		all = append(all, Finding{About: n.Id, What: what, Mend: fmt.Sprintf(mend, args...)})
	}
	switch n.State {
	case simpv1.NodeState_NODE_STATE_DOWN:
		add("it does not answer; its users are deaf until they connect elsewhere",
			"on its machine: systemctl start simpd; if it is gone for good: simpctl node remove %s", n.Id)
	case simpv1.NodeState_NODE_STATE_CUT_OFF:
		add("it has been out of touch with the leader for "+n.OutOfTouch.AsDuration().String(),
			"look at the network between it and %s: %s has to be reached from there", dashIfEmpty(r.Leader), dashIfEmpty(n.ClusterAddress))
	case simpv1.NodeState_NODE_STATE_DRAINING:
		add("it takes no clients: somebody drains it", "stop it, or: simpctl node drain %s --undo", n.Id)
	case simpv1.NodeState_NODE_STATE_STARTING:
		add("it takes no clients yet: "+dashIfEmpty(n.Problem), "wait; if it stays so, its log says why: journalctl -u simpd, on its machine")
	}
	for _, warning := range n.Warning {
		add(warning, "on its machine, simpd check-config says what is wrong with its configuration, and journalctl -u simpd what has happened; docs/operators/accounts.md explains account sources")
	}
	if n.MaxSchema != 0 && n.MaxSchema < r.Schema {
		add(fmt.Sprintf("its version reads the log up to schema %d, and the site's is %d", n.MaxSchema, r.Schema), "install a newer version on its machine, and start it")
	}
	if behind := NewestIndex(r) - n.Index; n.State == simpv1.NodeState_NODE_STATE_READY && behind > MaxBehind {
		add(fmt.Sprintf("it is %d changes behind", behind), "look at that machine's processors and disk; it catches up by itself")
	}
	return all
}

// Reloaded holds the settings that a node reads again by SIGHUP.
var Reloaded = []string{
	"drain_timeout", "limit",
	"federation", "federation_allow", "federation_block", "federation_require_external", "route", "federation_ca",
	"tls_cert", "tls_key", "cluster_ca", "cluster_cert", "cluster_key", "gossip_key_file", "token_file", "accounts_file", "user_ca",
	"log_level",
}

// examineDifference says what is wrong where a setting is not the same on all nodes.
func examineDifference(d *simpv1.SettingDifference) Finding {
	f := Finding{About: "site", What: DescribeDifference(d), Mend: "give all nodes the same, and restart those that had another: systemctl restart simpd"}
	if slices.Contains(Reloaded, d.Setting) {
		f.Mend = "give all nodes the same, and have those that had another read it again: systemctl reload simpd"
	}
	if d.Setting == "domain" {
		f.What += "; users of a domain can't be reached through nodes that do not serve it"
	}
	return f
}

// DescribeDifference says which nodes have which value of a setting.
func DescribeDifference(d *simpv1.SettingDifference) string {
	var values []string
	for _, v := range d.Value {
		values = append(values, strings.Join(v.Node, ", ")+": "+v.Value)
	}
	return d.Setting + " is not the same on all nodes (" + strings.Join(values, "; ") + ")"
}

// examineAddress finds a node of several that does not know where clients reach
// it.
func examineAddress(r *simpv1.StatusResponse, n *simpv1.NodeStatus) []Finding {
	if len(n.UnsetAddress) == 0 || len(r.Node) < 2 {
		return nil
	}
	return []Finding{{
		About: n.Id, Hint: true,
		What: "it does not know where clients reach it, so MOVE can't send clients there: they go to the site by its usual name",
		Mend: fmt.Sprintf("set %s to the HOST:PORT that clients connect to, or advertise_client to off if they reach all nodes through one balancer, and restart it", strings.Join(n.UnsetAddress, " and ")),
	}}
}

// findHints are about what works, and could be better.
func findHints(r *simpv1.StatusResponse) (all []Finding) {
	add := func(what, mend string) { all = append(all, Finding{"site", what, mend, true}) }
	voters, versions := 0, map[string]bool{}
	for _, n := range r.Node {
		if n.Role == simpv1.NodeRole_NODE_ROLE_LEADER || n.Role == simpv1.NodeRole_NODE_ROLE_FOLLOWER {
			voters++
		}
		if n.State != simpv1.NodeState_NODE_STATE_DOWN {
			versions[n.Version] = true
		}
	}
	switch {
	case voters == 1:
		add("it has one voter, and stops while that one is away", "add two nodes: docs/operators/site.md")
	case voters%2 == 0:
		add(fmt.Sprintf("it has %d voters, which tolerate no more losses than %d", voters, voters-1), "add a node: docs/operators/site.md")
	}
	if len(versions) > 1 {
		add("its nodes are of different versions", "simpctl upgrade check")
	}
	if r.Accounts == 0 {
		add("it has no accounts", "simpctl account add IMA")
	}
	return all
}
