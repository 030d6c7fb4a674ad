package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"simpd/cmd/internal/cli"
	simpv1 "simpd/proto/simp/v1"
)

func (a *app) sessionCommand() *cobra.Command {
	return cli.CommandGroup("session", "See who is connected, and disconnect them", "", a.sessionList(), a.sessionKick())
}

func (a *app) sessionList() *cobra.Command {
	var user, node string
	c := &cobra.Command{
		Use: "list", Short: "List the listening sessions", Args: cli.ArgumentCount(0, 0, "no argument"),
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := a.connect()
			if err != nil {
				return err
			}
			return a.listSessions(c.Context(), s, user, node)
		},
	}
	c.Flags().StringVar(&user, "user", "", "only sessions of the user `IMA`")
	c.Flags().StringVar(&node, "node", "", "only sessions on the node `ID`")
	_ = c.RegisterFlagCompletionFunc("node", a.completeNodes)
	return c
}

func (a *app) listSessions(ctx context.Context, s *site, user, node string) error {
	all := &simpv1.ListSessionsResponse{}
	err := eachPage(func(token string) (string, error) {
		resp, err := unaryCall(ctx, s.cluster.ListSessions, &simpv1.ListSessionsRequest{Ima: user, Node: node, PageSize: pageSize, PageToken: token})
		if err != nil {
			return "", err
		}
		all.Session, all.Position = append(all.Session, resp.Session...), resp.Position
		return resp.NextPageToken, nil
	})
	if err != nil {
		return err
	}
	if a.printsJSON() {
		return a.printJSON(all)
	}
	t := &table{head: []string{"IMA", "SESSION", "NODE", "STATE", "FOR", "CLIENT", "AGENT", "NOTE"}}
	for _, u := range all.Session {
		v := u.Session
		state := strings.ToLower(strings.TrimPrefix(v.GetState().String(), "STATE_"))
		t.rows = append(t.rows, plainCells(u.Ima, v.GetId(), v.GetNode(), state, durationSince(v.GetSince()), dashIfEmpty(v.GetClient()), dashIfEmpty(v.GetAgent()), v.GetNote()))
	}
	return a.printTable(t)
}

func (a *app) sessionKick() *cobra.Command {
	return &cobra.Command{
		Use: "kick IMA|SESSION", Short: "Close a user's connections, or one session's", Args: cli.ArgumentCount(1, 1, "a user's address or a session's id"),
		Long: "Kick closes all connections of a user, or that of the session with the id that session list shows. " +
			"The user may connect again; account disable keeps them out.",
		RunE: func(c *cobra.Command, args []string) error {
			s, err := a.connect()
			if err != nil {
				return err
			}
			resp, err := unaryCall(c.Context(), s.cluster.KickSession, kickRequest(args[0]))
			if err != nil {
				return err
			}
			return a.printSentence(resp, "%s closed", pluralize(uint64(resp.Closed), "connection"))
		},
	}
}

// kickRequest tells an address from a session's id, which has no @.
func kickRequest(target string) *simpv1.KickSessionRequest {
	if strings.Contains(target, "@") {
		return &simpv1.KickSessionRequest{Target: &simpv1.KickSessionRequest_Ima{Ima: target}}
	}
	return &simpv1.KickSessionRequest{Target: &simpv1.KickSessionRequest_Session{Session: target}}
}
