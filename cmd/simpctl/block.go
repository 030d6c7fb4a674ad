package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"simpd/cmd/internal/cli"
	simpv1 "simpd/proto/simp/v1"
	"simpd/protocol"
)

const blockLong = `Block keeps users, domains and machines from sending messages to others and from
watching them. Whoever is blocked is answered as if nobody listened, and is not
told. A target is an IMA, @domain (its users, not its subdomains'), an IP
address, or a range of them.

    simpctl block add spammer@example.net --reason "sends spam"
    simpctl block add @spam.example --expires 30d
    simpctl block add 192.0.2.0/24 --until 2027-01-31T00:00:00Z
    simpctl block list
    simpctl block remove @spam.example`

func (a *app) blockCommand() *cobra.Command {
	var flags blockFlags
	add := &cobra.Command{
		Use: "add TARGET", Short: "Block an IMA, a domain or a range of IP addresses", Args: cli.ArgumentCount(1, 1, "whom to block: IMA, @domain, or a range of IP addresses"),
		Long: "Add blocks a target, on all nodes at once, also for sessions that are open. It replaces the operators' block of the same target.",
		RunE: func(c *cobra.Command, args []string) error { return a.addBlock(c.Context(), args[0], flags) },
	}
	f := add.Flags()
	f.StringVar(&flags.reason, "reason", "", "why, for other operators: at most 256 octets of `TEXT`")
	f.StringVar(&flags.until, "until", "", "when the block ends: a `TIME` such as 2027-01-31T00:00:00Z (default: when it is removed)")
	f.StringVar(&flags.expires, "expires", "", "after what time the block ends: a `DURATION` such as 30d or 12h")
	remove := &cobra.Command{
		Use: "remove TARGET", Short: "End a block", Args: cli.ArgumentCount(1, 1, "the target that block list shows"),
		RunE: func(c *cobra.Command, args []string) error { return a.removeBlock(c.Context(), args[0]) },
	}
	var request simpv1.ListBlocksRequest
	list := &cobra.Command{
		Use: "list", Short: "List the blocks", Args: cli.ArgumentCount(0, 0, "no argument"),
		RunE: func(c *cobra.Command, _ []string) error { return a.listBlocks(c.Context(), &request) },
	}
	list.Flags().StringVar(&request.Matching, "matching", "", "only blocks that concern this `IMA`, @domain or IP address")
	list.Flags().StringVar(&request.Feed, "feed", "", "only blocks that come from the feed of that `NAME`")
	return cli.CommandGroup("block", "Block users, domains and machines", blockLong, add, remove, list, a.blockFeedCommand())
}

// blockFlags are the flags of block add.
type blockFlags struct{ reason, until, expires string }

// request returns the request that the flags ask for.
func (f blockFlags) request(target string) (*simpv1.AddBlockRequest, error) {
	if _, err := protocol.ParseBlockTarget(target); err != nil {
		return nil, cli.UsageErrorf("%s", textOf(err))
	}
	r := &simpv1.AddBlockRequest{Target: target, Reason: f.reason}
	switch {
	case f.until != "" && f.expires != "":
		return nil, cli.UsageErrorf("--until and --expires say the same: give one of them")
	case f.until != "":
		end, err := time.Parse(time.RFC3339, f.until)
		if err != nil {
			return nil, cli.UsageErrorf("invalid --until %q: must be a time such as 2027-01-31T00:00:00Z", f.until)
		}
		r.End = &simpv1.AddBlockRequest_Until{Until: timestamppb.New(end)}
	case f.expires != "":
		life, err := parseLife(f.expires)
		if err != nil {
			return nil, err
		}
		r.End = &simpv1.AddBlockRequest_Expires{Expires: durationpb.New(life)}
	}
	return r, nil
}

// textOf returns the text of an error without a status before it.
func textOf(err error) string {
	if e, ok := err.(*protocol.Error); ok {
		return e.Text
	}
	return err.Error()
}

func (a *app) addBlock(ctx context.Context, target string, flags blockFlags) error {
	r, err := flags.request(target)
	if err != nil {
		return err
	}
	s, err := a.connect()
	if err != nil {
		return err
	}
	resp, err := unaryCall(ctx, s.blocks.Add, r)
	if err != nil {
		return err
	}
	if until := resp.Block.GetUntil(); until != nil {
		return a.printSentence(resp, "%s is blocked until %s", resp.Block.GetTarget(), formatIfSet(until, "2006-01-02 15:04"))
	}
	return a.printSentence(resp, "%s is blocked", resp.Block.GetTarget())
}

func (a *app) removeBlock(ctx context.Context, target string) error {
	s, err := a.connect()
	if err != nil {
		return err
	}
	resp, err := unaryCall(ctx, s.blocks.Remove, &simpv1.RemoveBlockRequest{Target: target})
	if err != nil {
		return err
	}
	return a.printSentence(resp, "%s is not blocked any more", target)
}

func (a *app) listBlocks(ctx context.Context, r *simpv1.ListBlocksRequest) error {
	s, err := a.connect()
	if err != nil {
		return err
	}
	all := &simpv1.ListBlocksResponse{}
	err = eachPage(func(token string) (string, error) {
		r.PageSize, r.PageToken = pageSize, token
		resp, err := unaryCall(ctx, s.blocks.List, r)
		if err != nil {
			return "", err
		}
		all.Block, all.Position = append(all.Block, resp.Block...), resp.Position
		return resp.NextPageToken, nil
	})
	if err != nil {
		return err
	}
	if a.printsJSON() {
		return a.printJSON(all)
	}
	t := &table{head: []string{"TARGET", "ADDED", "UNTIL", "BY", "REASON"}}
	for _, b := range all.Block {
		by := dashIfEmpty(b.By)
		if b.Feed != "" {
			by = "feed " + b.Feed
		}
		t.rows = append(t.rows, plainCells(b.Target, formatIfSet(b.Created, "2006-01-02 15:04"), formatIfSet(b.Until, "2006-01-02 15:04"), by, dashIfEmpty(b.Reason)))
	}
	return a.printTable(t)
}
