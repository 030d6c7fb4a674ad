package main

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"simpd/cluster/blockfeed"
	"simpd/cmd/internal/cli"
	simpv1 "simpd/proto/simp/v1"
	"simpd/protocol"
)

const feedCheckLong = `Check fetches a list of blocks from this machine, verifies it as a node would, and
says what it would block. It changes nothing. FEED is what the setting block_feed
has, or a URL with --key or --pin. It exits with 1 if a node would not use the
list.

    simpctl block feed check https://lists.example/blocks.txt --key BASE64
    simpctl block feed check 'spam=https://lists.example/blocks.txt#key=BASE64'`

func (a *app) blockFeedCommand() *cobra.Command {
	var flags feedFlags
	check := &cobra.Command{
		Use: "check FEED", Short: "Say what a feed would block, and change nothing", Long: feedCheckLong,
		Args: cli.ArgumentCount(1, 1, "NAME=URL#key=BASE64, or a URL"),
		RunE: func(c *cobra.Command, args []string) error {
			source, err := flags.source(args[0])
			if err != nil {
				return err
			}
			return a.checkFeed(c.Context(), source)
		},
	}
	f := check.Flags()
	f.StringVar(&flags.key, "key", "", "the Ed25519 public key that signs the list, in `BASE64`")
	f.StringVar(&flags.pin, "pin", "", "the SHA-256 of the server's public key, in `BASE64`")
	f.StringVar(&flags.name, "name", "", "the `NAME` of the feed whose present blocks to compare with")
	return cli.CommandGroup("feed", "Look at lists of blocks before the site uses them", "", check)
}

// feedFlags are the flags of block feed check.
type feedFlags struct{ key, pin, name string }

// unnamedFeed is the name of a feed that was given as a URL alone.
const unnamedFeed = "unnamed"

// source returns the feed that an argument and the flags name. A feed without a
// name has an empty one.
func (f feedFlags) source(feed string) (blockfeed.Source, error) {
	isURL := strings.HasPrefix(feed, "https://")
	if !isURL && f != (feedFlags{}) {
		return blockfeed.Source{}, cli.UsageErrorf("--key, --pin and --name are for a URL that begins with https://")
	}
	if isURL {
		name := f.name
		if name == "" {
			name = unnamedFeed
		}
		if !strings.Contains(feed, "#") {
			feed += "#"
		}
		feed = name + "=" + feed
		if f.key != "" {
			feed += "&key=" + f.key
		}
		if f.pin != "" {
			feed += "&pin=" + f.pin
		}
	}
	s, err := blockfeed.ParseSource(feed)
	if err != nil {
		return s, cli.UsageErrorf("%v", err)
	}
	if isURL && f.name == "" {
		s.Name = ""
	}
	return s, nil
}

// feedReport says what a feed would block.
type feedReport struct {
	URL       string        `json:"url"`
	Entries   int           `json:"entries"`
	Addresses int           `json:"addresses"`
	Domains   int           `json:"domains"`
	Ranges    int           `json:"ranges"`
	Compared  string        `json:"compared_with,omitempty"` // the feed's name
	New       int           `json:"new"`
	Changed   int           `json:"changed"`
	Gone      int           `json:"gone"`
	LeftOut   []string      `json:"left_out"`
	Accounts  []string      `json:"accounts"` // of the site
	Sessions  []feedSession `json:"sessions"`
}

// feedSession is a listening session that a feed would block.
type feedSession struct {
	IMA    string `json:"ima"`
	ID     string `json:"session"`
	Node   string `json:"node"`
	Client string `json:"client"`
}

func (a *app) checkFeed(ctx context.Context, source blockfeed.Source) error {
	s, err := a.connect()
	if err != nil {
		return err
	}
	status, err := unaryCall(ctx, s.cluster.Status, &simpv1.StatusRequest{})
	if err != nil {
		return err
	}
	fetched, err := a.feeds.Fetch(ctx, source, "")
	if err != nil {
		return err
	}
	list, err := blockfeed.ParseList(fetched.Text, status.Domain)
	if err != nil {
		return err
	}
	r := &feedReport{URL: source.URL, Compared: source.Name, Entries: len(list.Entries), LeftOut: []string{}, Accounts: []string{}, Sessions: []feedSession{}}
	for _, l := range list.LeftOut {
		r.LeftOut = append(r.LeftOut, l.String())
	}
	hits := r.countTargets(&list, status.Domain)
	if err := r.compare(ctx, s, source.Name, &list, status.Domain); err != nil {
		return err
	}
	if err := r.findAccounts(ctx, s, hits); err != nil {
		return err
	}
	if err := r.findSessions(ctx, s, hits); err != nil {
		return err
	}
	return a.printFeedReport(r)
}

// feedHits holds the targets of a list that own users can be hit by.
type feedHits struct {
	own    map[protocol.BlockTarget]bool // addresses in the site's domains
	ranges []netip.Prefix
}

// hasAccount reports whether an own address is blocked.
func (h *feedHits) hasAccount(ima string) bool {
	t, err := protocol.ParseBlockTarget(ima)
	return err == nil && h.own[t.Key(true)]
}

// hasClient reports whether a range holds a client's address, which may have a
// port.
func (h *feedHits) hasClient(client string) bool {
	ip, err := netip.ParseAddr(client)
	if err != nil {
		withPort, err := netip.ParseAddrPort(client)
		if err != nil {
			return false
		}
		ip = withPort.Addr()
	}
	ip = ip.Unmap().WithZone("")
	return slices.ContainsFunc(h.ranges, func(r netip.Prefix) bool { return r.Contains(ip) })
}

// countTargets counts the targets of a list by kind, and returns those that own
// users can be hit by.
func (r *feedReport) countTargets(list *blockfeed.List, domains []string) *feedHits {
	h := &feedHits{own: map[protocol.BlockTarget]bool{}}
	for _, e := range list.Entries {
		if network, ok := e.Target.Range(); ok {
			r.Ranges++
			h.ranges = append(h.ranges, network)
			continue
		}
		p, _ := e.Target.Pattern()
		address, isAddress := p.Address()
		if !isAddress {
			r.Domains++
			continue
		}
		r.Addresses++
		if slices.Contains(domains, address.Domain()) {
			h.own[e.Target] = true
		}
	}
	return h
}

// compare counts what the list changes about the blocks that the feed has.
func (r *feedReport) compare(ctx context.Context, s *site, name string, list *blockfeed.List, domains []string) error {
	blocks := map[protocol.BlockTarget]blockfeed.Entry{}
	err := eachPage(func(token string) (string, error) {
		if name == "" {
			return "", nil
		}
		resp, err := unaryCall(ctx, s.blocks.List, &simpv1.ListBlocksRequest{Feed: name, PageSize: pageSize, PageToken: token})
		if err != nil {
			return "", err
		}
		for _, b := range resp.Block {
			e := blockfeed.Entry{Target: targetKey(b.Target, domains), Reason: b.Reason}
			if b.Until != nil {
				e.Until = b.Until.AsTime()
			}
			blocks[e.Target] = e
		}
		return resp.NextPageToken, nil
	})
	d := list.Compare(blocks, time.Now())
	r.New, r.Changed, r.Gone = d.New, len(d.Add)-d.New, len(d.Remove)
	return err
}

// targetKey returns a target that the site shows in the form in which targets
// compare.
func targetKey(shown string, domains []string) protocol.BlockTarget {
	t, err := protocol.ParseBlockTarget(shown)
	if err != nil {
		return protocol.CanonicalBlockTarget(shown)
	}
	p, _ := t.Pattern()
	address, _ := p.Address()
	return t.Key(slices.Contains(domains, address.Domain()))
}

// findAccounts finds the accounts of the site that the list names.
func (r *feedReport) findAccounts(ctx context.Context, s *site, hits *feedHits) error {
	if len(hits.own) == 0 {
		return nil
	}
	return eachPage(func(token string) (string, error) {
		resp, err := unaryCall(ctx, s.accounts.List, &simpv1.ListAccountsRequest{PageSize: pageSize, PageToken: token})
		if err != nil {
			return "", err
		}
		for _, account := range resp.Account {
			if hits.hasAccount(account.Ima) {
				r.Accounts = append(r.Accounts, account.Ima)
			}
		}
		return resp.NextPageToken, nil
	})
}

// findSessions finds the listening sessions that the list would block.
func (r *feedReport) findSessions(ctx context.Context, s *site, hits *feedHits) error {
	if len(hits.own) == 0 && len(hits.ranges) == 0 {
		return nil
	}
	return eachPage(func(token string) (string, error) {
		resp, err := unaryCall(ctx, s.cluster.ListSessions, &simpv1.ListSessionsRequest{PageSize: pageSize, PageToken: token})
		if err != nil {
			return "", err
		}
		for _, u := range resp.Session {
			if v := u.Session; hits.hasClient(v.GetClient()) || hits.hasAccount(u.Ima) {
				r.Sessions = append(r.Sessions, feedSession{u.Ima, v.GetId(), v.GetNode(), v.GetClient()})
			}
		}
		return resp.NextPageToken, nil
	})
}

func (a *app) printFeedReport(r *feedReport) error {
	if a.printsJSON() {
		return a.printStruct(r)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s: verified; %d entries: %d addresses, %d domains, %d ranges\n", r.URL, r.Entries, r.Addresses, r.Domains, r.Ranges)
	if r.Compared != "" {
		fmt.Fprintf(&b, "compared with the blocks of the feed %s: %d new, %d changed, %d gone\n", r.Compared, r.New, r.Changed, r.Gone)
	}
	for _, l := range r.LeftOut {
		fmt.Fprintf(&b, "left out: %s\n", l)
	}
	fmt.Fprintf(&b, "accounts of the site that it names: %d\n", len(r.Accounts))
	for _, ima := range r.Accounts {
		fmt.Fprintf(&b, "  %s\n", ima)
	}
	fmt.Fprintf(&b, "listening sessions that it would block: %d\n", len(r.Sessions))
	for _, v := range r.Sessions {
		fmt.Fprintf(&b, "  %s %s on %s from %s\n", v.IMA, v.ID, v.Node, v.Client)
	}
	for line := range strings.Lines(b.String()) {
		if _, err := fmt.Fprintln(a.out, cli.Escape(strings.TrimSuffix(line, "\n"))); err != nil {
			return err
		}
	}
	return nil
}
