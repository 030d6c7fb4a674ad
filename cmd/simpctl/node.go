package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/durationpb"

	"simpd/cmd/internal/cli"
	simpv1 "simpd/proto/simp/v1"
)

func (a *app) nodeCommand() *cobra.Command {
	return cli.CommandGroup("node", "Drain, remove and admit nodes", "", a.nodeDrain(), a.nodeRemove(), a.nodeAdmit())
}

func (a *app) nodeDrain() *cobra.Command {
	var undo, yes bool
	var timeout time.Duration
	c := &cobra.Command{
		Use: "drain ID", Short: "Move a node's clients and leadership elsewhere", Args: cli.ArgumentCount(1, 1, "a node's id; status shows them"),
		Long: "Drain moves a node's clients to other nodes without a gap, and its leadership, and waits until that is done: " +
			"the node may then be stopped. It takes no clients until it is started anew, or until drain --undo. " +
			"If no other node takes clients, it asks first: the clients would have nowhere to go.",
		ValidArgsFunction: a.completeNodes,
		RunE: func(c *cobra.Command, args []string) error {
			s, err := a.connect()
			if err != nil {
				return err
			}
			if undo {
				resp, err := unaryCall(c.Context(), s.cluster.Undrain, &simpv1.UndrainRequest{Node: args[0]})
				if err != nil {
					return err
				}
				return a.printSentence(resp, "%s takes clients again", args[0])
			}
			if err := a.confirmDrain(c.Context(), s, args[0], yes); err != nil {
				return err
			}
			return a.drainNode(c.Context(), s, args[0], timeout)
		},
	}
	c.Flags().BoolVar(&undo, "undo", false, "let the node take clients again")
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	c.Flags().DurationVar(&timeout, "timeout", 0, "how long clients may take to move (default: the node's own setting)")
	return c
}

// confirmDrain asks before a drain that leaves the clients no node to go to: they
// would be disconnected, and nobody could connect.
func (a *app) confirmDrain(ctx context.Context, s *site, node string, yes bool) error {
	if yes {
		return nil
	}
	status, err := unaryCall(ctx, s.cluster.Status, &simpv1.StatusRequest{})
	if err != nil {
		return err
	}
	if slices.ContainsFunc(status.Node, func(n *simpv1.NodeStatus) bool {
		return n.Id != node && n.State == simpv1.NodeState_NODE_STATE_READY
	}) {
		return nil
	}
	return a.confirmDestructive(ctx, yes, fmt.Sprintf("no other node takes clients: those of %s will be disconnected, and no client can connect", node))
}

func (a *app) drainNode(ctx context.Context, s *site, node string, timeout time.Duration) error {
	request := &simpv1.DrainRequest{Node: node}
	if timeout > 0 {
		request.Timeout = durationpb.New(timeout)
	}
	stream, err := s.cluster.Drain(ctx, request)
	if err != nil {
		return err
	}
	bar := a.newBar("draining "+node, 0)
	for {
		resp, err := stream.Recv()
		switch {
		case errors.Is(err, io.EOF):
			bar.erase()
			return fmt.Errorf("%s did not report that it is drained; see simpctl status", node)
		case err != nil:
			bar.erase()
			return err
		case resp.Done:
			bar.erase()
			return a.printDrained(node, resp)
		}
		bar.setTotal(resp.Total, resp.Total-min(resp.Left, resp.Total))
	}
}

func (a *app) printDrained(node string, last *simpv1.DrainResponse) error {
	if last.Left > 0 {
		return a.printSentence(last, "%s is drained; %s did not move and was closed", node, pluralize(last.Left, "session"))
	}
	return a.printSentence(last, "%s is drained; it may be stopped", node)
}

func (a *app) nodeRemove() *cobra.Command {
	var yes bool
	c := &cobra.Command{
		Use: "remove ID", Short: "Take a node out of the site for good", Args: cli.ArgumentCount(1, 1, "a node's id; status shows them"),
		Long: "Remove takes a node out of the site for good. Its connections end at once, its data is void, and neither its id " +
			"nor its certificates are accepted any more. All sessions of operators' consoles end, because the node's disk has what " +
			"their key is made of. For it to join again: node admit, a new certificate, and simpd wipe.",
		ValidArgsFunction: a.completeNodes,
		RunE: func(c *cobra.Command, args []string) error {
			s, err := a.connect()
			if err != nil {
				return err
			}
			if err := a.confirmDestructive(c.Context(), yes, fmt.Sprintf("%s will be removed from the site", args[0])); err != nil {
				return err
			}
			resp, err := unaryCall(c.Context(), s.cluster.RemoveNode, &simpv1.RemoveNodeRequest{Node: args[0]})
			if err != nil {
				return err
			}
			return a.printSentence(resp, "%s is removed", args[0])
		},
	}
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return c
}

func (a *app) nodeAdmit() *cobra.Command {
	return &cobra.Command{
		Use: "admit ID", Short: "Let a node that was removed join again", Args: cli.ArgumentCount(1, 1, "the id of a node that was removed"),
		Long: "Admit lets a node join again under an id that was removed. It needs an empty data directory (simpd wipe) and a new " +
			"certificate (simpctl tls init): the certificates that it had stay refused for good.",
		RunE: func(c *cobra.Command, args []string) error {
			s, err := a.connect()
			if err != nil {
				return err
			}
			resp, err := unaryCall(c.Context(), s.cluster.AdmitNode, &simpv1.AdmitNodeRequest{Node: args[0]})
			if err != nil {
				return err
			}
			return a.printSentence(resp, "%s may join again, with an empty data directory and a new certificate", args[0])
		},
	}
}

func (a *app) leaderCommand() *cobra.Command {
	transfer := &cobra.Command{
		Use: "transfer [ID]", Short: "Make another node the leader", Args: cli.ArgumentCount(0, 1, "optionally a node's id"),
		ValidArgsFunction: a.completeNodes,
		RunE: func(c *cobra.Command, args []string) error {
			s, err := a.connect()
			if err != nil {
				return err
			}
			request := &simpv1.TransferLeadershipRequest{}
			if len(args) == 1 {
				request.Node = args[0]
			}
			resp, err := unaryCall(c.Context(), s.cluster.TransferLeadership, request)
			if err != nil {
				return err
			}
			return a.printSentence(resp, "%s leads", resp.Leader)
		},
	}
	return cli.CommandGroup("leader", "Change which node leads", "", transfer)
}

// completeNodes offers the ids of the nodes to the shell.
func (a *app) completeNodes(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if err := a.resolveSettings(c.Flags()); err != nil || len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	s, err := a.connect()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	resp, err := s.cluster.Status(ctx, &simpv1.StatusRequest{})
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var ids []string
	for _, n := range resp.Node {
		ids = append(ids, n.Id)
	}
	return ids, cobra.ShellCompDirectiveNoFileComp
}
