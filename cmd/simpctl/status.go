package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"simpd/cluster/doctor"
	"simpd/cmd/internal/cli"
	simpv1 "simpd/proto/simp/v1"
)

// watchEvery is the time between two looks of status --watch.
const watchEvery = 2 * time.Second

func (a *app) statusCommand() *cobra.Command {
	var watch bool
	c := &cobra.Command{
		Use: "status", Short: "Show the nodes and the state of the site", Args: cli.ArgumentCount(0, 0, "no argument"),
		Long: "Status shows each node with its state, its role in Raft, its sessions and its version, " +
			"and how many nodes the site can lose. LAG is the number of changes by which a node is behind.",
		RunE: func(c *cobra.Command, _ []string) error {
			if watch {
				return a.watchStatus(c.Context())
			}
			return a.printSiteStatus(c.Context())
		},
	}
	c.Flags().BoolVar(&watch, "watch", false, "refresh it every 2 s, until interrupted")
	return c
}

func (a *app) printSiteStatus(ctx context.Context) error {
	s, err := a.connect()
	if err != nil {
		return err
	}
	resp, err := unaryCall(ctx, s.cluster.Status, &simpv1.StatusRequest{})
	if err != nil {
		return err
	}
	if a.printsJSON() {
		return a.printJSON(resp)
	}
	return a.printStatus(resp)
}

// watchStatus goes on while a node does not answer: that is when one looks.
func (a *app) watchStatus(ctx context.Context) error {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	for {
		if err := a.showStatus(ctx); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// showStatus shows the status once. Over a terminal each look is drawn in the place
// of the last one, in one piece.
func (a *app) showStatus(ctx context.Context) error {
	screen := *a
	var drawn bytes.Buffer
	onScreen := a.term.isTerminal(a.out) && !a.printsJSON()
	if onScreen {
		screen.out, screen.errOut, screen.term = &drawn, &drawn, inColour{a.term}
	}
	err := screen.printSiteStatus(ctx)
	a.site = screen.site
	if _, never := errors.AsType[*cli.UsageError](err); never {
		return err
	}
	if err != nil && ctx.Err() == nil {
		screen.reportError(err)
	}
	if !onScreen {
		return nil
	}
	fmt.Fprintf(&drawn, "\n%s\n", a.colorize(dim, time.Now().Format("15:04:05")+"  every "+watchEvery.String()+", until Ctrl-C"))
	if a.env("TERM") == "dumb" {
		_, err = io.WriteString(a.out, drawn.String())
		return err
	}
	_, err = fmt.Fprintf(a.out, "\x1b[H%s\x1b[J", strings.ReplaceAll(drawn.String(), "\n", "\x1b[K\n"))
	return err
}

// inColour is a terminal behind what is drawn first.
type inColour struct{ terminal }

func (inColour) isTerminal(any) bool { return true }

func (a *app) printStatus(r *simpv1.StatusResponse) error {
	fmt.Fprintf(a.out, "%s  %s\n", a.colorize(bold, cli.Escape(dashIfEmpty(r.Site))),
		a.colorize(dim, cli.Escape(fmt.Sprintf("%s  history %s  index %d  schema %d", strings.Join(r.Domain, ", "), r.Position.GetHistory(), r.Position.GetIndex(), r.Schema))))
	fmt.Fprintln(a.out)
	t := &table{head: []string{"", "NODE", "STATE", "ROLE", "SESSIONS", "LAG", "EPOCH", "VERSION", "UP", "CLIENTS AT"}}
	for _, n := range r.Node {
		t.rows = append(t.rows, nodeRow(r, n))
	}
	if err := a.printTable(t); err != nil {
		return err
	}
	a.printProblems(r)
	_, err := fmt.Fprintf(a.out, "\n%s  %s\n", a.colorize(healthColour(r.Health), cli.Escape(r.Summary)),
		a.colorize(dim, fmt.Sprintf("%s, %s", pluralize(r.Listeners, "listener"), pluralize(r.Accounts, "account"))))
	return err
}

func nodeRow(r *simpv1.StatusResponse, n *simpv1.NodeStatus) []cell {
	state := strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(n.State.String(), "NODE_STATE_"), "_", " "))
	role := strings.ToLower(strings.TrimPrefix(n.Role.String(), "NODE_ROLE_"))
	if n.Role == simpv1.NodeRole_NODE_ROLE_UNSPECIFIED {
		role = "-"
	}
	in := stateColour(n.State)
	row := append([]cell{{"●", in}}, plainCells(n.Id, state, role, fmt.Sprint(n.Sessions), lagText(r, n), fmt.Sprint(n.Epoch),
		dashIfEmpty(n.Version), durationSince(n.Started), dashIfEmpty(n.ClientAddress))...)
	row[2].in = in
	if n.Role == simpv1.NodeRole_NODE_ROLE_LEADER {
		row[3].in = bold
	}
	return row
}

// lagText is by how many changes a node is behind the foremost.
func lagText(r *simpv1.StatusResponse, n *simpv1.NodeStatus) string {
	if n.State == simpv1.NodeState_NODE_STATE_DOWN {
		return "-"
	}
	foremost := r.Position.GetIndex()
	for _, other := range r.Node {
		foremost = max(foremost, other.Index)
	}
	return fmt.Sprint(foremost - n.Index)
}

func (a *app) printProblems(r *simpv1.StatusResponse) {
	for _, n := range r.Node {
		if n.Problem != "" {
			fmt.Fprintf(a.out, "%s\n", a.colorize(yellow, cli.Escape(n.Id+": "+n.Problem)))
		}
		for _, warning := range n.Warning {
			fmt.Fprintf(a.out, "%s\n", a.colorize(yellow, cli.Escape(n.Id+": "+warning)))
		}
	}
	for _, d := range r.Difference {
		fmt.Fprintf(a.out, "%s\n", a.colorize(yellow, cli.Escape(doctor.DescribeDifference(d))))
	}
}

func stateColour(s simpv1.NodeState) colour {
	switch s {
	case simpv1.NodeState_NODE_STATE_READY:
		return green
	case simpv1.NodeState_NODE_STATE_DOWN, simpv1.NodeState_NODE_STATE_CUT_OFF:
		return red
	}
	return yellow
}

func healthColour(h simpv1.Health) colour {
	switch h {
	case simpv1.Health_HEALTH_HEALTHY:
		return green
	case simpv1.Health_HEALTH_DEGRADED:
		return yellow
	}
	return red
}
