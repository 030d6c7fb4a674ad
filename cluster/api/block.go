package api

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	storev1 "simpd/proto/simp/store/v1"
	simpv1 "simpd/proto/simp/v1"
	"simpd/protocol"
	"simpd/store"
)

// The shortest and the longest time for which a block can be added.
const (
	minBlock = time.Second
	maxBlock = 100 * 366 * 24 * time.Hour
)

// blockService keeps the site's blocks.
type blockService struct {
	simpv1.UnimplementedBlockServiceServer
	Config
	pages *pages
}

// errNoBlocks refuses a block that older nodes could not read.
var errNoBlocks = unavailable(reasonUnavailable, "the site is being upgraded; blocks work once all nodes are upgraded")

// Add blocks somebody.
func (s *blockService) Add(ctx context.Context, r *simpv1.AddBlockRequest) (*simpv1.AddBlockResponse, error) {
	entry, err := s.checkBlock(r)
	setAuditTarget(ctx, r.Target)
	if err != nil {
		return nil, err
	}
	if err := s.inTouch(false); err != nil {
		return nil, err
	}
	if !s.Table.HasBlocks() {
		return nil, errNoBlocks
	}
	at, err := s.proposeEverywhere(ctx, &storev1.Change{Kind: &storev1.Change_AddBlock{
		AddBlock: &storev1.AddBlock{Block: entry, By: inviterName(ctx)},
	}})
	if err != nil {
		return nil, err
	}
	added := s.Table.View().Block("", protocol.CanonicalBlockTarget(entry.Target))
	if added == nil { // it has been removed again
		return nil, &refused{store.NoBlock, fmt.Sprintf("the block of %s was removed at once", entry.Target)}
	}
	return &simpv1.AddBlockResponse{Block: blockMessage(added), Position: at}, nil
}

// checkBlock returns the block that a request asks for.
func (s *blockService) checkBlock(r *simpv1.AddBlockRequest) (*storev1.BlockEntry, error) {
	f := &fields{domains: s.Domains}
	target, written := f.blockTarget("target", r.Target)
	entry := &storev1.BlockEntry{Target: target.String(), Written: written.String(), Reason: r.Reason}
	if len(r.Reason) > store.MaxBlockReason {
		f.addViolation("reason", "has %d octets; at most %d", len(r.Reason), store.MaxBlockReason)
	}
	now := time.Now()
	switch end := r.End.(type) {
	case *simpv1.AddBlockRequest_Until:
		if err := end.Until.CheckValid(); err != nil || !end.Until.AsTime().After(now) || end.Until.AsTime().After(now.Add(maxBlock)) {
			f.addViolation("until", "is not in the next 100 years")
		}
		entry.UntilMs = end.Until.AsTime().UnixMilli()
	case *simpv1.AddBlockRequest_Expires:
		entry.UntilMs = now.Add(f.durationWithin("expires", end.Expires, 0, minBlock, maxBlock)).UnixMilli()
	}
	return entry, f.err()
}

// blockTarget reads whom a block concerns: in the form in which targets compare,
// and as it was given, if that differs.
func (f *fields) blockTarget(field, value string) (target, written protocol.BlockTarget) {
	given, err := protocol.ParseBlockTarget(value)
	if err != nil {
		f.addViolation(field, "%s", textWithoutStatus(err))
		return target, written
	}
	own := false
	if p, ok := given.Pattern(); ok {
		a, _ := p.Address()
		own = slices.Contains(f.domains, a.Domain())
	}
	if target = given.Key(own); target != given && !own {
		written = given
	}
	return target, written
}

// Remove ends a block.
func (s *blockService) Remove(ctx context.Context, r *simpv1.RemoveBlockRequest) (*simpv1.RemoveBlockResponse, error) {
	setAuditTarget(ctx, r.Target)
	f := &fields{domains: s.Domains}
	target, _ := f.blockTarget("target", r.Target)
	if err := f.err(); err != nil {
		return nil, err
	}
	if err := s.inTouch(false); err != nil {
		return nil, err
	}
	if !s.Table.HasBlocks() {
		return nil, &refused{store.NoBlock, fmt.Sprintf("there is no block of %s", target)}
	}
	at, err := s.proposeEverywhere(ctx, &storev1.Change{Kind: &storev1.Change_RemoveBlock{RemoveBlock: &storev1.RemoveBlock{Target: target.String()}}})
	if err != nil {
		return nil, err
	}
	return &simpv1.RemoveBlockResponse{Position: at}, nil
}

// List tells of all blocks, page by page.
func (s *blockService) List(ctx context.Context, r *simpv1.ListBlocksRequest) (*simpv1.ListBlocksResponse, error) {
	f := &fields{domains: s.Domains}
	size := f.pageSize(r.PageSize)
	matches := f.blockMatcher("matching", r.Matching)
	v, last, err := s.listPage(ctx, f, r)
	if err != nil {
		return nil, err
	}
	resp, now := &simpv1.ListBlocksResponse{Position: positionOf(v)}, time.Now()
	v.Blocks(last, func(b *store.Block) bool {
		if b.HasEnded(now) || r.Feed != "" && b.Feed != r.Feed || !matches(b) {
			return true
		}
		if len(resp.Block) == size {
			if !r.NoToken {
				resp.NextPageToken = s.pages.nextToken(v, last, r)
			}
			return false
		}
		found := blockMessage(b)
		if err = reserveAnswer(ctx, found); err != nil {
			return false
		}
		resp.Block, last = append(resp.Block, found), b.Key()
		return true
	})
	if err != nil {
		return nil, err
	}
	return resp, nil
}

// listPage returns the table that a page is of, and the key of the block after
// which it starts.
func (s *blockService) listPage(ctx context.Context, f *fields, r *simpv1.ListBlocksRequest) (v store.View, last string, err error) {
	if r.After != "" {
		target, _ := f.blockTarget("after", r.After)
		last = store.BlockKey(r.AfterFeed, target)
	}
	if err := f.err(); err != nil {
		return v, "", err
	}
	v, err = s.tableView(ctx, false)
	if err != nil || r.PageToken == "" {
		return v, last, err
	}
	return s.pages.resumeAfter(ctx, f, r.PageToken, r)
}

// blockMatcher returns what finds the blocks that concern an address, @domain or
// IP address; all, if value is empty.
func (f *fields) blockMatcher(field, value string) func(*store.Block) bool {
	if value == "" {
		return func(*store.Block) bool { return true }
	}
	if source, err := netip.ParseAddr(value); err == nil {
		source = source.Unmap().WithZone("")
		return func(b *store.Block) bool {
			r, ok := b.Target.Range()
			return ok && r.Contains(source)
		}
	}
	target, _ := f.blockTarget(field, value)
	_, domain, _ := strings.Cut(target.String(), "@")
	if p, ok := target.Pattern(); ok {
		if a, isAddress := p.Address(); isAddress {
			domain = a.Domain()
		}
	}
	whole := "@" + domain
	return func(b *store.Block) bool { return b.Target == target || b.Target.String() == whole }
}

func blockMessage(b *store.Block) *simpv1.Block {
	m := &simpv1.Block{Target: b.Display().String(), Reason: b.Reason, Created: timestamppb.New(b.Created), By: b.By, Feed: b.Feed}
	if !b.Until.IsZero() {
		m.Until = timestamppb.New(b.Until)
	}
	return m
}
