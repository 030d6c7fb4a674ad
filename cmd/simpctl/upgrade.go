package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"simpd/cluster/doctor"
	"simpd/cmd/internal/cli"
	simpv1 "simpd/proto/simp/v1"
)

func (a *app) upgradeCommand() *cobra.Command {
	check := &cobra.Command{
		Use: "check", Short: "Say whether it is safe to restart the next node", Args: cli.ArgumentCount(0, 0, "no argument"),
		Long: "Check says whether the next node may be stopped now, to be started again with another version, and which one " +
			"that should be: replicas first, then followers, the leader last. It exits with 0 if it is safe, with 1 and " +
			"the reasons if it is not. Ask before each node.",
		RunE: func(c *cobra.Command, _ []string) error { return a.checkUpgrade(c.Context()) },
	}
	return cli.CommandGroup("upgrade", "Upgrade the site node by node", "", check)
}

// readiness is the result of upgrade check.
type readiness struct {
	Safe    bool              `json:"safe"`
	Next    string            `json:"next,omitempty"` // the node to restart
	Reasons []string          `json:"reasons"`
	Nodes   map[string]string `json:"versions"`
	Schema  uint32            `json:"schema"`
	// Raises is the schema that the log goes on to a minute after all nodes
	// are upgraded; 0: it stays.
	Raises uint32 `json:"raises_schema_to,omitempty"`
}

// errUnsafe is returned after all reasons were printed.
var errUnsafe = errors.New("it is not safe to stop a node now")

func (a *app) checkUpgrade(ctx context.Context) error {
	s, err := a.connect()
	if err != nil {
		return err
	}
	resp, err := unaryCall(ctx, s.cluster.Status, &simpv1.StatusRequest{})
	if err != nil {
		return err
	}
	r := assessReadiness(resp)
	if a.printsJSON() {
		if err := a.printStruct(r); err != nil {
			return err
		}
	} else {
		a.printReadiness(&r)
	}
	if !r.Safe {
		return errUnsafe
	}
	return nil
}

func (a *app) printReadiness(r *readiness) {
	for _, why := range r.Reasons {
		fmt.Fprintln(a.out, a.colorize(red, cli.Escape("no: "+why)))
	}
	if r.Raises > 0 {
		fmt.Fprintf(a.out, "every node can read schema %d: a minute after the last of them started, the log switches to it, and cannot switch back\n", r.Raises)
	}
	if r.Safe {
		fmt.Fprintf(a.out, "%s: the next node is %s (%s)\n", a.colorize(green, "safe"), cli.Escape(r.Next), cli.Escape(r.Nodes[r.Next]))
	}
}

// assessReadiness judges a site by its status.
func assessReadiness(resp *simpv1.StatusResponse) readiness {
	r := readiness{Nodes: map[string]string{}, Schema: resp.Schema, Reasons: []string{}}
	r.Raises = availableSchema(resp)
	for _, n := range resp.Node {
		r.Nodes[n.Id] = n.Version
		r.Reasons = append(r.Reasons, stopObstacles(resp, n)...)
	}
	if resp.Leader == "" {
		r.Reasons = append(r.Reasons, "no leader is known")
	}
	if resp.SpareVoters == 0 {
		r.Reasons = append(r.Reasons, "the site can't lose a voter: it stops while one is away")
	}
	r.Safe = len(r.Reasons) == 0
	r.Next = nextNode(resp)
	return r
}

// stopObstacles says what speaks against stopping any node, as n is.
func stopObstacles(resp *simpv1.StatusResponse, n *simpv1.NodeStatus) (why []string) {
	switch n.State {
	case simpv1.NodeState_NODE_STATE_READY:
	case simpv1.NodeState_NODE_STATE_DRAINING:
		why = append(why, fmt.Sprintf("%s is draining", n.Id))
	default:
		why = append(why, fmt.Sprintf("%s is not ready: %s", n.Id, dashIfEmpty(n.Problem)))
	}
	if behind := doctor.NewestIndex(resp) - n.Index; n.State != simpv1.NodeState_NODE_STATE_DOWN && behind > doctor.MaxBehind {
		why = append(why, fmt.Sprintf("%s is %d changes behind", n.Id, behind))
	}
	if n.MaxSchema != 0 && (n.MaxSchema < resp.Schema || n.MinSchema > resp.Schema) {
		why = append(why, fmt.Sprintf("%s reads the schemas %d to %d, and the site's is %d", n.Id, n.MinSchema, n.MaxSchema, resp.Schema))
	}
	return why
}

// availableSchema is the newer schema that every node can read; 0 if there is none.
func availableSchema(resp *simpv1.StatusResponse) uint32 {
	var newest uint32
	for i, n := range resp.Node {
		if i == 0 || n.MaxSchema < newest {
			newest = n.MaxSchema
		}
	}
	if newest <= resp.Schema {
		return 0
	}
	return newest
}

// nextNode is the one to restart next: of those with the oldest version a
// replica before a follower, and the leader last. Who came up first is first.
func nextNode(resp *simpv1.StatusResponse) string {
	if len(resp.Node) == 0 {
		return ""
	}
	order := func(n *simpv1.NodeStatus) int {
		switch n.Role {
		case simpv1.NodeRole_NODE_ROLE_LEADER:
			return 2
		case simpv1.NodeRole_NODE_ROLE_FOLLOWER:
			return 1
		}
		return 0
	}
	waiting := outdatedNodes(resp.Node)
	return slices.MinFunc(waiting, func(x, y *simpv1.NodeStatus) int {
		if d := order(x) - order(y); d != 0 {
			return d
		}
		return x.Started.AsTime().Compare(y.Started.AsTime())
	}).Id
}

// outdatedNodes are the nodes that do not run what the node runs that was started
// last; all, if all run the same.
func outdatedNodes(nodes []*simpv1.NodeStatus) (rest []*simpv1.NodeStatus) {
	newest := slices.MaxFunc(nodes, func(x, y *simpv1.NodeStatus) int { return x.Started.AsTime().Compare(y.Started.AsTime()) })
	for _, n := range nodes {
		if !strings.EqualFold(n.Version, newest.Version) {
			rest = append(rest, n)
		}
	}
	if len(rest) == 0 {
		return nodes
	}
	return rest
}
