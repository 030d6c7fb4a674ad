package store

import (
	"strings"
	"time"

	storev1 "simpd/proto/simp/store/v1"
	"simpd/protocol"
)

// Block keeps somebody from sending to others and from watching them. It must
// not be changed.
type Block struct {
	Target  protocol.BlockTarget // in the form in which it compares
	Written protocol.BlockTarget // as it was given, if that differs; for display
	Feed    string               // the feed that it comes from; "": operators added it
	Reason  string
	Created time.Time
	Until   time.Time // when it ends; zero: never
	By      string    // who added it, for display
}

// Display returns the target as it was given.
func (b *Block) Display() protocol.BlockTarget {
	if b.Written.IsZero() {
		return b.Target
	}
	return b.Written
}

// HasEnded reports whether the block ends at or before now.
func (b *Block) HasEnded(now time.Time) bool { return !b.Until.IsZero() && !now.Before(b.Until) }

// blockSchema is the first schema with blocks.
const blockSchema = 5

// The limits on blocks. What is above those of feeds is for operators, so that no
// feed keeps them from adding blocks.
const (
	MaxBlocks     = 100_000
	MaxFeedBlocks = MaxBlocks - 10_000

	maxBlockOctets = 32 << 20
	maxFeedOctets  = maxBlockOctets - 8<<20

	// MaxBlockReason is how many octets the reason of a block may have.
	MaxBlockReason = 256
	// MaxFeedName is how many octets the name of a feed may have.
	MaxFeedName = 64
)

// HasBlocks reports whether the log may hold blocks.
func (t *Table) HasBlocks() bool { return t.Schema() >= blockSchema }

// blockSize is what a block without its texts counts as. It decides what is
// replicated, and so does not depend on the platform or the version.
const blockSize = 256

// octets is the memory that a block takes in the limits on blocks.
func (b *Block) octets() int {
	return blockSize + len(b.Target.String()) + len(b.Written.String()) + len(b.Feed) + len(b.Reason) + len(b.By)
}

// Key returns the place of the block in the order of blocks: by feed, those of
// operators first, and then by target.
func (b *Block) Key() string { return blockKey(b.Feed, b.Target.String()) }

// BlockKey returns the key of a feed's block ("": of operators) of that target, in
// the form in which targets compare.
func BlockKey(feed string, target protocol.BlockTarget) string {
	return blockKey(feed, target.String())
}

func blockKey(feed, target string) string { return feed + "\x00" + target }

// Blocks calls yield for each block after that key, in the order of keys, until
// yield returns false.
func (v View) Blocks(after string, yield func(*Block) bool) {
	v.blocks.Ascend(after, func(key string, b *Block) bool {
		return key == after || yield(b)
	})
}

// FeedBlocks calls yield for each block of a feed ("": of operators), in the order
// of targets, until yield returns false.
func (v View) FeedBlocks(feed string, yield func(*Block) bool) {
	v.Blocks(blockKey(feed, ""), func(b *Block) bool { return b.Feed == feed && yield(b) })
}

// BlockFeeds returns the names of the feeds that have blocks.
func (v View) BlockFeeds() (names []string) {
	for after := blockKey("", afterTargets); ; after = blockKey(names[len(names)-1], afterTargets) {
		found := false
		v.Blocks(after, func(b *Block) bool {
			names, found = append(names, b.Feed), true
			return false
		})
		if !found {
			return names
		}
	}
}

// afterTargets follows every target in the order of keys: targets are UTF-8.
const afterTargets = "\xff"

// Block returns the block of a feed ("": of operators) with that target; nil if
// there is none.
func (v View) Block(feed string, target protocol.BlockTarget) *Block {
	b, _ := v.blocks.Get(blockKey(feed, target.String()))
	return b
}

// CountBlocks returns the number of blocks.
func (v View) CountBlocks() int { return v.blocks.Len() }

// addBlock adds or replaces an operators' block.
func (t *Table) addBlock(c *storev1.AddBlock) Result {
	if t.current.schema < blockSchema {
		return refuse(WrongSchema, "the site's schema is %d", t.current.schema)
	}
	added, ok := t.newBlock(c.GetBlock(), "", c.GetBy())
	if !ok {
		return refuse(Malformed, "a block without a target, or with a text that is too long")
	}
	old := t.current.Block("", added.Target)
	if old != nil && old.saysSame(added) {
		return Result{}
	}
	if r := t.checkBlockRoom(old, added, MaxBlocks, maxBlockOctets); r.Refusal != None {
		return r
	}
	t.setBlock(added)
	return t.commitEvent(entry{kind: EventBlocks})
}

// newBlock returns the block that an entry describes, and whether it is valid.
func (t *Table) newBlock(e *storev1.BlockEntry, feed, by string) (*Block, bool) {
	b := blockFromEntry(e)
	b.Feed, b.Created, b.By = feed, t.batchTime, by
	return b, b.isValid()
}

func blockFromEntry(e *storev1.BlockEntry) *Block {
	b := &Block{
		Target: protocol.CanonicalBlockTarget(e.GetTarget()), Written: protocol.CanonicalBlockTarget(e.GetWritten()), Reason: e.GetReason(),
	}
	if e.GetUntilMs() != 0 {
		b.Until = fromMilli(e.GetUntilMs())
	}
	return b
}

func (b *Block) isValid() bool {
	return validTarget(b.Target) && len(b.Written.String()) <= maxAddress && len(b.Feed) <= MaxFeedName && !strings.ContainsAny(b.Feed, "\x00\r\n") &&
		len(b.Reason) <= MaxBlockReason && len(b.By) <= maxName && (b.Until.IsZero() || b.Until.UnixMilli() > 0)
}

// validTarget checks only for what would break the table; see validAddress.
func validTarget(t protocol.BlockTarget) bool {
	_, isPattern := t.Pattern()
	_, isRange := t.Range()
	return len(t.String()) <= maxAddress && (isPattern || isRange) && !strings.ContainsAny(t.String(), "\x00\r\n")
}

// saysSame reports whether a new block would change nothing but who added it, and
// when.
func (b *Block) saysSame(added *Block) bool {
	return b.Reason == added.Reason && b.Until.Equal(added.Until)
}

// checkBlockRoom refuses a block for which there is no room.
func (t *Table) checkBlockRoom(old, added *Block, most, mostOctets int) Result {
	n, octets := t.current.blocks.Len()+1, t.current.blockOctets+added.octets()
	if old != nil {
		n, octets = n-1, octets-old.octets()
	}
	if n > most || octets > mostOctets {
		return refuse(TooManyBlocks, "there are %d blocks already, which take %d octets; %d blocks and %d octets are allowed",
			t.current.blocks.Len(), t.current.blockOctets, most, mostOctets)
	}
	return Result{}
}

// setBlock stores a block.
func (t *Table) setBlock(b *Block) {
	if old, replaced := t.current.setBlock(b); replaced {
		t.blocks.remove(old)
	}
	t.blocks.add(b)
}

// deleteBlock removes a block, and reports whether there was one.
func (t *Table) deleteBlock(key string) bool {
	old, ok := t.current.deleteBlock(key)
	if ok {
		t.blocks.remove(old)
	}
	return ok
}

func (v *View) setBlock(b *Block) (old *Block, replaced bool) {
	old, replaced = v.blocks.Set(b.Key(), b)
	v.blockOctets += b.octets()
	if replaced {
		v.blockOctets -= old.octets()
	}
	return old, replaced
}

func (v *View) deleteBlock(key string) (old *Block, ok bool) {
	if old, ok = v.blocks.Delete(key); ok {
		v.blockOctets -= old.octets()
	}
	return old, ok
}

// removeBlock removes an operators' block.
func (t *Table) removeBlock(c *storev1.RemoveBlock) Result {
	if !t.deleteBlock(blockKey("", c.GetTarget())) {
		return refuse(NoBlock, "there is no block of %s", c.GetTarget())
	}
	return t.commitEvent(entry{kind: EventBlocks})
}

// changeFeed changes the blocks that come from a feed.
func (t *Table) changeFeed(c *storev1.ChangeFeed) Result {
	if t.current.schema < blockSchema {
		return refuse(WrongSchema, "the site's schema is %d", t.current.schema)
	}
	added, r := t.newFeedBlocks(c)
	if r.Refusal != None {
		return r
	}
	changed := 0
	for _, key := range t.keysRemovedFrom(c) {
		if t.deleteBlock(key) {
			changed++
		}
	}
	for _, b := range added {
		if old := t.current.Block(b.Feed, b.Target); old == nil || !old.saysSame(b) {
			t.setBlock(b)
			changed++
		}
	}
	if changed == 0 {
		return Result{}
	}
	return t.commitEvent(entry{kind: EventBlocks, list: changed * blockSize})
}

// newFeedBlocks returns the blocks that a change adds to a feed, or why it is
// refused.
func (t *Table) newFeedBlocks(c *storev1.ChangeFeed) ([]*Block, Result) {
	if c.GetFeed() == "" {
		return nil, refuse(Malformed, "a feed without a name")
	}
	before, octetsBefore := t.current.blocks.Len(), t.current.blockOctets
	n, octets := before, octetsBefore
	added := make([]*Block, 0, len(c.GetAdd()))
	for _, e := range c.GetAdd() {
		b, ok := t.newBlock(e, c.GetFeed(), "")
		if !ok {
			return nil, refuse(Malformed, "a block of the feed %s without a target, or with a text that is too long", c.GetFeed())
		}
		if old := t.current.Block(b.Feed, b.Target); old != nil {
			n, octets = n-1, octets-old.octets()
		}
		added, n, octets = append(added, b), n+1, octets+b.octets()
	}
	if n > max(MaxFeedBlocks, before) || octets > max(maxFeedOctets, octetsBefore) { // operators may have more
		return nil, refuse(TooManyBlocks, "with the feed %s there would be %d blocks, which take %d octets; feeds may fill %d blocks and %d octets",
			c.GetFeed(), n, octets, MaxFeedBlocks, maxFeedOctets)
	}
	return added, Result{}
}

// keysRemovedFrom returns the keys of the blocks that a change of a feed removes.
func (t *Table) keysRemovedFrom(c *storev1.ChangeFeed) (keys []string) {
	for _, target := range c.GetRemove() {
		keys = append(keys, blockKey(c.GetFeed(), target))
	}
	if c.GetDrop() {
		t.current.FeedBlocks(c.GetFeed(), func(b *Block) bool {
			keys = append(keys, b.Key())
			return true
		})
	}
	return keys
}

// endBlocks removes the blocks that have ended by the clock of the proposer,
// which is in the log and so the same on all nodes.
func (t *Table) endBlocks(c *storev1.EndBlocks) Result {
	var ended []string
	t.current.Blocks("", func(b *Block) bool {
		if b.HasEnded(fromMilli(c.GetUntilMs())) {
			ended = append(ended, b.Key())
		}
		return true
	})
	for _, key := range ended {
		t.deleteBlock(key)
	}
	if len(ended) == 0 {
		return Result{}
	}
	return t.commitEvent(entry{kind: EventBlocks, list: len(ended) * blockSize})
}

// NextBlockEnd returns when the first block ends; the zero time if none does. It
// reads every block.
func (v View) NextBlockEnd() (first time.Time) {
	v.blocks.Scan(func(_ string, b *Block) bool {
		if !b.Until.IsZero() && (first.IsZero() || b.Until.Before(first)) {
			first = b.Until
		}
		return true
	})
	return first
}
