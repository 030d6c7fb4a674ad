package store

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	storev1 "simpd/proto/simp/store/v1"
	"simpd/protocol"
)

func blockChange(target, reason string) *storev1.Change {
	return &storev1.Change{Kind: &storev1.Change_AddBlock{AddBlock: &storev1.AddBlock{Block: &storev1.BlockEntry{Target: target, Reason: reason}, By: "op"}}}
}

// applyChanges applies changes in one batch at 1000 s since 1970.
func applyChanges(t testing.TB, table *Table, changes ...*storev1.Change) []Result {
	t.Helper()
	r, err := table.Apply(&storev1.Entry{MinSchema: 1, Batch: []*storev1.Batch{{Origin: "n1", TimeMs: 1_000_000, Change: changes}}})
	if err != nil {
		t.Fatal(err)
	}
	return r[0].Results
}

// tableWithBlocks returns a table of the newest schema.
func tableWithBlocks(t testing.TB) *Table {
	table := New(Config{})
	applyChanges(t, table, &storev1.Change{Kind: &storev1.Change_SetSchema{SetSchema: &storev1.SetSchema{Schema: NewestSchema}}})
	return table
}

func parseAddress(t testing.TB, s string) protocol.Address {
	a, err := protocol.ParseAddress(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestBlocksAreFound(t *testing.T) {
	table := tableWithBlocks(t)
	for _, target := range []string{"spam@example.net", "@evil.example", "192.0.2.0/24", "2001:db8::/32", "198.51.100.7"} {
		if r := applyChanges(t, table, blockChange(target, "")); !r[0].Applied {
			t.Fatalf("%s: %+v", target, r[0])
		}
	}
	for user, want := range map[string]bool{
		"spam@example.net": true, "SPAM@example.net": true, "spam@sub.example.net": false, "ham@example.net": false,
		"anybody@evil.example": true, "anybody@sub.evil.example": false, "anybody@notevil.example": false,
	} {
		if got := table.BlocksUser(parseAddress(t, user).RuleKey(false), false); got != want {
			t.Errorf("%s: %t", user, got)
		}
	}
	for source, want := range map[string]bool{
		"192.0.2.1": true, "::ffff:192.0.2.1": true, "192.0.3.1": false, "2001:db8:1::1": true, "2001:db9::1": false,
		"198.51.100.7": true, "198.51.100.8": false, "2001:db8::5%eth0": true,
	} {
		if got := table.BlocksSource(netip.MustParseAddr(source)); got != want {
			t.Errorf("%s: %t", source, got)
		}
	}
	if table.BlocksSource(netip.Addr{}) {
		t.Error("the zero address is blocked")
	}
	if !table.BlocksDomain("evil.example") || table.BlocksDomain("example.net") {
		t.Error("domains are not found as they should be")
	}
}

// TestOwnUsersCompareAsTheirNames: addresses of the site's own users fold by
// PRECIS, those of others by case.
func TestOwnUsersCompareAsTheirNames(t *testing.T) {
	table := tableWithBlocks(t)
	applyChanges(t, table, blockChange("ａｎｎ@example.com", ""))
	for _, c := range []struct {
		key     string
		isLocal bool
		want    bool
	}{{"ann@example.com", true, true}, {"ann@example.com", false, false}, {"ａｎｎ@example.com", false, true}, {"ａｎｎ@example.com", true, false}} {
		if got := table.BlocksUser(protocol.CanonicalAddress(c.key), c.isLocal); got != c.want {
			t.Errorf("%+v: %t", c, got)
		}
	}
	applyChanges(t, table, &storev1.Change{Kind: &storev1.Change_RemoveBlock{RemoveBlock: &storev1.RemoveBlock{Target: "ａｎｎ@example.com"}}})
	if len(table.blocks.addresses) != 0 || table.blocks.count.Load() != 0 {
		t.Errorf("left %v", table.blocks.addresses)
	}
}

func TestBlocksOfFeedsAreKeptApart(t *testing.T) {
	table := tableWithBlocks(t)
	feed := func(name string, drop bool, remove []string, add ...string) Result {
		c := &storev1.ChangeFeed{Feed: name, Drop: drop, Remove: remove}
		for _, target := range add {
			c.Add = append(c.Add, &storev1.BlockEntry{Target: target})
		}
		return applyChanges(t, table, &storev1.Change{Kind: &storev1.Change_ChangeFeed{ChangeFeed: c}})[0]
	}
	blocked := func() bool { return table.BlocksDomain("evil.example") }
	applyChanges(t, table, blockChange("@evil.example", ""))
	feed("a", false, nil, "@evil.example", "@other.example")
	feed("b", false, nil, "@evil.example")
	if table.View().CountBlocks() != 4 {
		t.Errorf("%d blocks", table.View().CountBlocks())
	}
	if got := table.View().BlockFeeds(); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("the feeds are %q", got)
	}
	for name, want := range map[string]int{"": 1, "a": 2, "b": 1, "c": 0} {
		n := 0
		table.View().FeedBlocks(name, func(*Block) bool { n++; return true })
		if n != want {
			t.Errorf("feed %q has %d blocks, not %d", name, n, want)
		}
	}
	feed("a", false, []string{"@evil.example"})
	if r := applyChanges(t, table, &storev1.Change{Kind: &storev1.Change_RemoveBlock{RemoveBlock: &storev1.RemoveBlock{Target: "@other.example"}}})[0]; r.Refusal != NoBlock {
		t.Errorf("an operator removes a feed's block: %+v", r)
	}
	applyChanges(t, table, &storev1.Change{Kind: &storev1.Change_RemoveBlock{RemoveBlock: &storev1.RemoveBlock{Target: "@evil.example"}}})
	if !blocked() {
		t.Error("the block of feed b went with that of operators")
	}
	feed("b", true, nil)
	if blocked() || !table.BlocksDomain("other.example") {
		t.Error("dropping feed b left its block, or took another's")
	}
	if r := feed("a", true, nil, "@third.example"); !r.Applied || table.BlocksDomain("other.example") || !table.BlocksDomain("third.example") {
		t.Errorf("feed a was not replaced: %+v", r)
	}
	if r := feed("", false, nil, "@x.example"); r.Refusal != Malformed {
		t.Errorf("a feed without a name: %+v", r)
	}
}

func TestBlocksEndByTheProposersClock(t *testing.T) {
	table := tableWithBlocks(t)
	c := blockChange("@evil.example", "")
	c.GetAddBlock().Block.UntilMs = 2_000_000
	applyChanges(t, table, c, blockChange("@stays.example", ""))
	if end := table.View().NextBlockEnd(); end.UnixMilli() != 2_000_000 {
		t.Errorf("ends at %v", end)
	}
	end := func(ms int64) Result {
		return applyChanges(t, table, &storev1.Change{Kind: &storev1.Change_EndBlocks{EndBlocks: &storev1.EndBlocks{UntilMs: ms}}})[0]
	}
	version := table.BlocksVersion()
	if r := end(1_999_999); r.Applied || !table.BlocksDomain("evil.example") || table.BlocksVersion() != version {
		t.Errorf("ended too soon: %+v", r)
	}
	if r := end(2_000_000); !r.Applied || table.BlocksDomain("evil.example") || !table.BlocksDomain("stays.example") || table.BlocksVersion() == version {
		t.Errorf("did not end: %+v", r)
	}
	if !table.View().NextBlockEnd().IsZero() {
		t.Error("a block without an end ends")
	}
}

func TestBlocksAreBounded(t *testing.T) {
	table := tableWithBlocks(t)
	for from := 0; from < MaxFeedBlocks; from += 1000 {
		c := &storev1.ChangeFeed{Feed: "f"}
		for i := from; i < from+1000; i++ {
			c.Add = append(c.Add, &storev1.BlockEntry{Target: fmt.Sprintf("user%d@evil.example", i)})
		}
		if r := applyChanges(t, table, &storev1.Change{Kind: &storev1.Change_ChangeFeed{ChangeFeed: c}})[0]; !r.Applied {
			t.Fatalf("%d: %+v", from, r)
		}
	}
	more := &storev1.Change{Kind: &storev1.Change_ChangeFeed{ChangeFeed: &storev1.ChangeFeed{
		Feed: "g", Add: []*storev1.BlockEntry{{Target: "@one.example"}},
	}}}
	if r := applyChanges(t, table, more)[0]; r.Refusal != TooManyBlocks {
		t.Errorf("a feed goes beyond its share: %+v", r)
	}
	same := &storev1.Change{Kind: &storev1.Change_ChangeFeed{ChangeFeed: &storev1.ChangeFeed{
		Feed: "f", Add: []*storev1.BlockEntry{{Target: "user1@evil.example", Reason: "new"}},
	}}}
	if r := applyChanges(t, table, same)[0]; !r.Applied {
		t.Errorf("a block of a full feed can't be changed: %+v", r)
	}
	for i := range MaxBlocks - MaxFeedBlocks {
		if r := applyChanges(t, table, blockChange(fmt.Sprintf("@d%d.example", i), ""))[0]; !r.Applied {
			t.Fatalf("operators' block %d: %+v", i, r)
		}
	}
	if r := applyChanges(t, table, blockChange("@one.example", ""))[0]; r.Refusal != TooManyBlocks {
		t.Errorf("block %d: %+v", MaxBlocks+1, r)
	}
	less := &storev1.Change{Kind: &storev1.Change_ChangeFeed{ChangeFeed: &storev1.ChangeFeed{Feed: "f", Remove: []string{"user2@evil.example"}}}}
	if r := applyChanges(t, table, less)[0]; !r.Applied || table.View().CountBlocks() != MaxBlocks-1 {
		t.Errorf("a feed can't be shortened while there are more blocks than feeds may fill: %+v", r)
	}
	if r := applyChanges(t, table, more)[0]; r.Refusal != TooManyBlocks {
		t.Errorf("a feed takes the room of operators: %+v", r)
	}
	restored := restoreOf(t, table)
	if restored.View().Digest() != table.View().Digest() || restored.View().blockOctets != table.View().blockOctets || !restored.BlocksDomain("d5.example") {
		t.Error("a full table is not restored as it was")
	}
}

// restoreOf returns a table restored from a snapshot of another.
func restoreOf(t testing.TB, table *Table) *Table {
	t.Helper()
	var b bytes.Buffer
	if _, err := table.Snapshot().WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	restored := New(Config{})
	if err := restored.Restore(&b); err != nil {
		t.Fatal(err)
	}
	return restored
}

func TestBlocksRefuseWhatIsWrong(t *testing.T) {
	table := tableWithBlocks(t)
	for name, target := range map[string]string{"empty": "", "no range": "192.0.2", "long": "@" + strings.Repeat("a", maxAddress), "break": "a\n@b.example"} {
		if r := applyChanges(t, table, blockChange(target, ""))[0]; r.Refusal != Malformed {
			t.Errorf("%s: %+v", name, r)
		}
	}
	if r := applyChanges(t, table, blockChange("@a.example", strings.Repeat("x", MaxBlockReason+1)))[0]; r.Refusal != Malformed {
		t.Errorf("a long reason: %+v", r)
	}
	old := New(Config{})
	applyChanges(t, old, &storev1.Change{Kind: &storev1.Change_SetSchema{SetSchema: &storev1.SetSchema{Schema: blockSchema - 1}}})
	if r := applyChanges(t, old, blockChange("@a.example", ""))[0]; r.Refusal != WrongSchema || old.HasBlocks() {
		t.Errorf("before schema %d: %+v", blockSchema, r)
	}
	applyChanges(t, table, blockChange("@a.example", "x"))
	if r := applyChanges(t, table, blockChange("@a.example", "x"))[0]; r.Applied || r.Refusal != None {
		t.Errorf("the same again: %+v", r)
	}
	if r := applyChanges(t, table, blockChange("@a.example", "y"))[0]; !r.Applied || table.View().CountBlocks() != 1 {
		t.Errorf("another reason: %+v", r)
	}
}

// TestARestoreReplacesOperatorsBlocks: those of feeds are fetched again anyway.
func TestARestoreReplacesOperatorsBlocks(t *testing.T) {
	table := tableWithBlocks(t)
	applyChanges(t, table, blockChange("@old.example", ""), &storev1.Change{Kind: &storev1.Change_ChangeFeed{ChangeFeed: &storev1.ChangeFeed{
		Feed: "f", Add: []*storev1.BlockEntry{{Target: "@fed.example"}},
	}}})
	kept := tableWithBlocks(t)
	applyChanges(t, kept, blockChange("@new.example", "why"))
	var records []*storev1.Record
	kept.View().Blocks("", func(b *Block) bool { records = append(records, b.Record()); return true })
	if err := CheckBackupRecord(records[0]); err != nil {
		t.Error(err)
	}
	applyChanges(t, table, &storev1.Change{Kind: &storev1.Change_RestoreAccounts{RestoreAccounts: &storev1.RestoreAccounts{First: true, Last: true, Record: records}}})
	for domain, want := range map[string]bool{"old.example": false, "new.example": true, "fed.example": true} {
		if table.BlocksDomain(domain) != want {
			t.Errorf("%s: %t", domain, !want)
		}
	}
	fed := (&Block{Target: protocol.CanonicalBlockTarget("@x.example"), Feed: "f"}).Record()
	if CheckBackupRecord(fed) == nil {
		t.Error("a backup may hold a feed's block")
	}
}

// BenchmarkBlocksUser compares look-ups without and with many blocks, in one run.
func BenchmarkBlocksUser(b *testing.B) {
	for _, n := range []int{0, 1, 90_000} {
		table := tableWithBlocks(b)
		for from := 0; from < n; from += 1000 {
			c := &storev1.ChangeFeed{Feed: "f"}
			for i := from; i < min(from+1000, n); i++ {
				c.Add = append(c.Add, &storev1.BlockEntry{Target: fmt.Sprintf("user%d@evil.example", i)})
			}
			applyChanges(b, table, &storev1.Change{Kind: &storev1.Change_ChangeFeed{ChangeFeed: c}})
		}
		key := parseAddress(b, "alice@example.net")
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				if table.BlocksUser(key, false) {
					b.Fatal("blocked")
				}
			}
		})
	}
}
