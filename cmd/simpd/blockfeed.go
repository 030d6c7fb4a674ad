package main

import (
	"context"
	"fmt"
	"slices"

	"simpd/cluster/blockfeed"
	storev1 "simpd/proto/simp/store/v1"
	"simpd/protocol"
	"simpd/store"
)

func blockFeedOptions() []option {
	return []option{
		{name: "block-feed", arg: "NAME=URL#key=BASE64", form: list, help: "a list of blocks that the site fetches by HTTPS. key is the Ed25519 public key that signs it (the signature is at the URL with .sig after its path); " +
			"pin=BASE64 instead of or besides it is the SHA-256 of the server's public key; &interval=DURATION after them is how often, 5m to 24h (default 1h); may be repeated",
			set: setBlockFeeds},
	}
}

func setBlockFeeds(c *config, values []string) error {
	c.blockFeeds = nil
	for _, v := range values {
		s, err := blockfeed.ParseSource(v)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(c.blockFeeds, func(o blockfeed.Source) bool { return o.Name == s.Name }) {
			return fmt.Errorf("the feed %s is there twice", s.Name)
		}
		c.blockFeeds = append(c.blockFeeds, s)
	}
	if len(c.blockFeeds) > blockfeed.MaxSources {
		return fmt.Errorf("there are %d feeds; at most %d", len(c.blockFeeds), blockfeed.MaxSources)
	}
	return nil
}

// newBlockFeeds returns what fetches the feeds. Without any it drops the blocks of
// those that there were.
func (n *node) newBlockFeeds() *blockfeed.Manager {
	return blockfeed.New(blockfeed.Config{
		Sources: n.conf.blockFeeds, Domains: n.conf.domains, Table: feedBlocks{n},
		IsLeader: func() bool { return n.cluster.Leader() == n.conf.nodeID && n.cluster.QuorumLostFor() == 0 },
		Logger:   n.logger,
	})
}

// startBlockFeeds fetches feeds until the node stops. The site is joined.
func (n *node) startBlockFeeds() error {
	n.serving.Go(func() { n.feeds.Run(n.ctx) })
	return nil
}

// feedStatuses returns how the feeds are doing; nothing before there is a site.
func (n *node) feedStatuses() []blockfeed.Status {
	if n.feeds == nil {
		return nil
	}
	return n.feeds.Statuses()
}

// feedProblems says what is wrong with the feeds of blocks.
func (n *node) feedProblems() (all []string) {
	if n.feeds == nil {
		return nil
	}
	for _, p := range n.feeds.Problems() {
		all = append(all, validText(p))
	}
	return all
}

func emitFeedSuccess(n *node, emit emitter) {
	for _, s := range n.feedStatuses() {
		if !s.Success.IsZero() {
			emit(float64(s.Success.UnixMilli())/1000, s.Name)
		}
	}
}

func emitFeedEntries(n *node, emit emitter) {
	for _, s := range n.feedStatuses() {
		if !s.Success.IsZero() {
			emit(float64(s.Entries), s.Name)
		}
	}
}

func emitFeedFetches(n *node, emit emitter) {
	for _, s := range n.feedStatuses() {
		emit(float64(s.Fetched), s.Name, "fetched")
		emit(float64(s.Failed), s.Name, "failed")
	}
}

// blockFeedSetting says which feeds the site has, which have to be the same on all
// nodes: any of them may lead.
func (n *node) blockFeedSetting() agreed {
	a := agreed{name: "block_feed", shown: "none"}
	var names []string
	for _, s := range n.conf.blockFeeds {
		a.values, names = append(a.values, s.String()), append(names, s.Name+"="+s.URL)
	}
	slices.Sort(a.values)
	if len(names) > 0 {
		a.shown = fmt.Sprint(sortedCopy(names))
	}
	return a
}

// feedBlocks keeps the blocks of feeds in the table (blockfeed.Table).
type feedBlocks struct{ node *node }

// HasBlocks reports whether all nodes know blocks.
func (f feedBlocks) HasBlocks() bool { return f.node.table.HasBlocks() }

// Feeds returns the names of the feeds that have blocks.
func (f feedBlocks) Feeds() []string { return f.node.table.View().BlockFeeds() }

// Blocks returns the blocks of a feed, by target.
func (f feedBlocks) Blocks(feed string) map[protocol.BlockTarget]blockfeed.Entry {
	all := map[protocol.BlockTarget]blockfeed.Entry{}
	f.node.table.View().FeedBlocks(feed, func(b *store.Block) bool {
		all[b.Target] = blockfeed.Entry{Target: b.Target, Written: b.Written, Reason: b.Reason, Until: b.Until}
		return true
	})
	return all
}

// Room returns how many blocks feeds may still add.
func (f feedBlocks) Room() int { return store.MaxFeedBlocks - f.node.table.View().CountBlocks() }

// Change removes blocks of a feed and adds or replaces others.
func (f feedBlocks) Change(ctx context.Context, feed string, remove []protocol.BlockTarget, add []blockfeed.Entry) error {
	c := &storev1.ChangeFeed{Feed: feed}
	for _, target := range remove {
		c.Remove = append(c.Remove, target.String())
	}
	for _, e := range add {
		b := store.Block{Target: e.Target, Written: e.Written, Reason: e.Reason, Until: e.Until}
		c.Add = append(c.Add, b.Entry())
	}
	return f.propose(ctx, c)
}

// Drop removes all blocks of a feed.
func (f feedBlocks) Drop(ctx context.Context, feed string) error {
	return f.propose(ctx, &storev1.ChangeFeed{Feed: feed, Drop: true})
}

func (f feedBlocks) propose(ctx context.Context, c *storev1.ChangeFeed) error {
	ctx, cancel := context.WithTimeout(ctx, proposeTimeout)
	defer cancel()
	results, err := f.node.cluster.Propose(ctx, &storev1.Change{Kind: &storev1.Change_ChangeFeed{ChangeFeed: c}})
	if err != nil {
		return err
	}
	if r := results[0]; r.Refusal != store.None {
		return fmt.Errorf("the table refused it: %s", r.Detail)
	}
	return nil
}
