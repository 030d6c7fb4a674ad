package store_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	storev1 "simpd/proto/simp/store/v1"
	"simpd/store"
)

// What a schema wrote, every later version reads, to the same table. The files
// are written by -update for the newest schema, and then never again.
func goldenFile(schema int, of string) string {
	return fmt.Sprintf("testdata/golden/schema%d.%s", schema, of)
}

// goldenStory has every kind of change of schema 1, goldenStory2 of schema 2,
// and so on.
const goldenStory = `history h1
restore zoe@example.com piece=first
restore yan@example.com piece=last
history h2 index=100 keep
up n1 boot=1
up n.2 boot=2
account alice@example.com password=a
account bob@example.com password=b
account carol@example.com password=c
account "d+e,"@example.com password=d
listen alice@example.com n1.102.1 state=away note=Zoë
listen alice@example.com n.2.103.1 state=busy note=dnd
listen bob@example.com n1.102.2 exclusive
listen carol@example.com n1.102.3
state alice@example.com n1.102.1 available note=
release carol@example.com n1.102.3
rule alice@example.com @example.org message=deny presence=allow
rule alice@example.com eve@example.org presence=deny
contact alice@example.com bob@example.com name=Bob
contact alice@example.com eve@example.com
contact alice@example.com eve@example.com remove
disable "d+e,"@example.com
delete carol@example.com
account bob@example.com mode=replace password=bb keep=n1.102.2
drain n1 epoch=102
drain n1 off epoch=102
down n1 epoch=102
reap n1 limit=1
up n1 boot=3
listen bob@example.com n1.102.2 epoch=126 rebind=110
up n3 boot=1
down n3 epoch=128
remove n3
schema to=1
digest number=1
listen zoe@example.com n1.126.9
down n.2 epoch=103`

const goldenStory2 = goldenStory + `
schema to=2
certificate n1 of=1
certificate n1 of=2
exclude n1 of=3
exclude n4 of=4
admit n4
disable bob@example.com
enable bob@example.com
disable zoe@example.com
down n1 epoch=126
reap n1 limit=1024
remove n1`

const goldenStory3 = goldenStory2 + `
schema to=3
up n5 boot=1
app bob@example.com name=phone password=p1 salt=bb
app bob@example.com name=télé password=p2 salt=bb until=1900000000000
app alice@example.com name=phone password=p3 salt=a
app yan@example.com name=phone password=p4 salt=restored
used bob@example.com id=147 day=20833
listen bob@example.com n5.146.1 app=147
listen bob@example.com n5.146.2
account bob@example.com mode=replace password=bbb salt=bb
unapp bob@example.com id=148
account yan@example.com mode=replace password=aaa apps=drop
disable yan@example.com`

const goldenStory4 = goldenStory3 + `
schema to=4
key bob@example.com seed=1 name=laptop
key bob@example.com seed=2 name=télé by=1
key alice@example.com seed=3
revoke bob@example.com seed=1
revoke alice@example.com seed=3 operator
key alice@example.com seed=4
register dora@example.com corp password=x
register erik@example.com corp password=y
register alice@example.com club password=z if=104
app dora@example.com name=phone password=p5 salt=x
leave erik@example.com corp
leave dora@example.com corp
register dora@example.com corp password=x
invite domain=example.com code=c1 uses=2 until=1900000000000 contact=bob@example.com by=operator
invite domain=example.org code=c2 uses=1 until=1900000000000
invite domain=example.com code=c3 uses=5 until=1900000000000 contact=eve@example.net
invite domain=example.com code=c4 uses=1 until=1900000000000
join dave@example.com code=c1 password=d
join erin@example.com code=c3 password=e
join frank@example.com code=c4 password=f
uninvite id=173`

const goldenStory5 = goldenStory4 + `
schema to=5
block spam@example.net reason=spam until=1900000000000 by=operator
block @spam.example
block 192.0.2.0/24
block mallory@example.com
unblock mallory@example.com
feed f1 add=@a.example,@b.example,198.51.100.7 reason=listed
feed f2 add=@a.example
feed f1 remove=@b.example add=@c.example until=1800000100000
endblocks until=1800000100000
feed f2 drop
seal acme/account of=first until=1900000000000
seal acme/http-01/abc of=second until=1900000000000
seal acme/account of=third until=1900000000000
unseal acme/http-01/abc
group corp cn=sales,dc=example name=Sales alice@example.com/Alice bob@example.com
group corp cn=sales,dc=example name=Sales alice@example.com/Alice bob@example.com/Bób carol@example.com
group corp cn=all,dc=example name=All alice@example.com bob@example.com
group club members name=Sales bob@example.com/Bobby
group club old name=Old bob@example.com
ungroup club old
use-link one until=1800000400000
use-link two until=1800000300000
revoke-console generation=0
use-link three until=1800000500000 generation=1
report alice@example.com about=spam@example.net reason=1 text=spam
report eve@example.net about=bob@example.com reason=2 via=example.net entity=hello signature=1
report alice@example.com about=bob@example.com reason=3
resolve 206 text=blocked by=operator
passedon 206 status=200
dropreports before=1800000000000`

func TestGolden(t *testing.T) {
	if *update {
		writeGolden(t, store.NewestSchema, goldenStory5)
	}
	for schema := store.OldestSchema; schema <= store.NewestSchema; schema++ {
		t.Run(fmt.Sprint("schema ", schema), func(t *testing.T) { checkGolden(t, schema) })
	}
}

func checkGolden(t *testing.T, schema int) {
	want, err := os.ReadFile(goldenFile(schema, "digest"))
	if err != nil {
		t.Fatal(err)
	}
	lines, err := os.ReadFile(goldenFile(schema, "entries")) // one entry a line, in hex
	if err != nil {
		t.Fatal(err)
	}
	replayed := store.New(store.Config{})
	for line := range strings.Lines(string(lines)) {
		b, err := hex.DecodeString(strings.TrimSpace(line))
		if err != nil {
			t.Fatal(err)
		}
		e, err := store.DecodeEntry(b)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := replayed.Apply(e); err != nil {
			t.Fatal(err)
		}
	}
	snapshot := goldenSnapshot(t, schema)
	read := store.New(store.Config{})
	if err := read.Restore(bytes.NewReader(snapshot)); err != nil {
		t.Fatal(err)
	}
	for name, table := range map[string]*store.Table{"entries": replayed, "snapshot": read} {
		if got := digestLine(table); got != string(want) {
			t.Errorf("of the %s comes %s, want %s", name, got, want)
		}
	}
	compareEvents(t, replayed, read, 100)
}

// goldenSnapshot reads a snapshot; those after schema 1's are in hex.
func goldenSnapshot(tb testing.TB, schema int) []byte {
	snapshot, err := os.ReadFile(goldenFile(schema, "snapshot"))
	if err == nil && schema > 1 {
		snapshot, err = hex.AppendDecode(nil, snapshot)
	}
	if err != nil {
		tb.Fatal(err)
	}
	return snapshot
}

func digestLine(t *store.Table) string {
	p := t.Position()
	return fmt.Sprintf("%s %d %x\n", p.History, p.Index, t.View().Digest())
}

func writeGolden(t *testing.T, schema int, story string) {
	if err := os.MkdirAll(filepath.Dir(goldenFile(schema, "entries")), 0o755); err != nil {
		t.Fatal(err)
	}
	table := store.New(store.Config{})
	var entries strings.Builder
	for i, e := range goldenChanges(story) {
		fmt.Fprintf(&entries, "%x\n", store.EncodeEntry(e))
		if r, err := table.Apply(e); err != nil || r[0].Results[0].Refusal != store.None {
			t.Fatalf("entry %d: %v %v", i+1, r, err)
		}
	}
	for name, octets := range map[string][]byte{
		"entries": []byte(entries.String()), "snapshot": hex.AppendEncode(nil, octets(table)), "digest": []byte(digestLine(table)),
	} {
		if err := os.WriteFile(goldenFile(schema, name), octets, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func goldenChanges(story string) (entries []*storev1.Entry) {
	clock := int64(1_800_000_000_000)
	for line := range strings.Lines(story) {
		clock += 1000
		line = strings.TrimSpace(line)
		entries = append(entries, &storev1.Entry{MinSchema: 1, Batch: []*storev1.Batch{
			{Origin: "n1", Incarnation: 1, Number: uint64(len(entries)), TimeMs: clock, Change: []*storev1.Change{parseWords(line).change()}},
		}})
	}
	return entries
}

// TestGoldenHasEveryKind: a kind of change that is added belongs to the story.
func TestGoldenHasEveryKind(t *testing.T) {
	var kinds []string
	for _, e := range goldenChanges(goldenStory5) {
		kinds = append(kinds, fmt.Sprintf("%T", e.Batch[0].Change[0].Kind))
	}
	slices.Sort(kinds)
	fields := (&storev1.Change{}).ProtoReflect().Descriptor().Oneofs().ByName("kind").Fields().Len()
	if n := len(slices.Compact(kinds)); n != fields {
		t.Errorf("the golden story has %d kinds of change, and there are %d", n, fields)
	}
}

func goldenSeeds(tb testing.TB) (entry, snapshot []byte) {
	snapshot = goldenSnapshot(tb, store.NewestSchema)
	return store.EncodeEntry(goldenChanges(goldenStory)[7]), snapshot
}

// TestDamage: whatever octet is changed, and wherever the end is cut off, it
// is an error, and the table stays as it was.
func TestDamage(t *testing.T) {
	entry, snapshot := goldenSeeds(t)
	table := store.New(store.Config{})
	before := table.View().Digest()
	damage(entry, func(b []byte, what string) {
		if _, err := store.DecodeEntry(b); !errors.Is(err, store.ErrCorrupt) {
			t.Errorf("an entry, %s: %v", what, err)
		}
	})
	damage(snapshot, func(b []byte, what string) {
		if err := table.Restore(bytes.NewReader(b)); !errors.Is(err, store.ErrCorrupt) && !errors.Is(err, store.ErrSchema) {
			t.Errorf("a snapshot, %s: %v", what, err)
		}
	})
	if err := table.Restore(bytes.NewReader(append(slices.Clone(snapshot), 0))); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("a snapshot with something behind it: %v", err)
	}
	if table.View().Digest() != before || table.Index() != 0 {
		t.Error("a damaged snapshot changed the table")
	}
}

// damage calls try with b, one bit of each octet flipped, and cut at each place.
func damage(b []byte, try func(b []byte, what string)) {
	for i := range b {
		flipped := slices.Clone(b)
		flipped[i] ^= 1 << (i % 8)
		try(flipped, fmt.Sprintf("octet %d flipped", i))
		try(b[:i], fmt.Sprintf("cut at %d", i))
	}
}

func FuzzDecodeEntry(f *testing.F) {
	entry, _ := goldenSeeds(f)
	f.Add(entry)
	f.Add(entry[:4])
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= 4 { // the sum is made right, so that what it covers is looked at too
			binary.BigEndian.PutUint32(b, crc32.Checksum(b[4:], crc32.MakeTable(crc32.Castagnoli)))
		}
		checkMemory(t, len(b), func() {
			if e, err := store.DecodeEntry(b); err == nil {
				store.New(store.Config{}).Apply(e) // refused or applied, never a panic
			}
		})
	})
}

// checkMemory fails if f takes more memory than a small multiple of an input of
// that many octets.
func checkMemory(t *testing.T, octets int, f func()) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	if taken := after.TotalAlloc - before.TotalAlloc; taken > 8<<20+64*uint64(octets) {
		t.Errorf("%d octets took %d octets of memory", octets, taken)
	}
}

// FuzzRestore makes the sums right, so that what they cover is looked at too.
func FuzzRestore(f *testing.F) {
	_, snapshot := goldenSeeds(f)
	f.Add(snapshot)
	f.Fuzz(func(t *testing.T, b []byte) {
		table := store.New(store.Config{})
		before := table.View().Digest()
		sealed := resealed(b)
		checkMemory(t, len(b), func() {
			if table.Restore(bytes.NewReader(sealed)) != nil && table.View().Digest() != before {
				t.Error("a snapshot that is not in order changed the table")
			}
			_ = store.New(store.Config{}).Restore(bytes.NewReader(b))
		})
		again := octets(table)
		if err := store.New(store.Config{}).Restore(bytes.NewReader(again)); err != nil {
			t.Errorf("what was restored can't be restored again: %v", err)
		}
	})
}

// resealed returns the records of b as far as they can be read, with a
// trailer that fits them.
func resealed(b []byte) []byte {
	const magic = 8
	end, n := min(magic, len(b)), uint64(0)
	for end < len(b) {
		size, head := binary.Uvarint(b[end:])
		if head <= 0 || size > uint64(len(b)-end-head) {
			break
		}
		var r storev1.Record
		if proto.Unmarshal(b[end+head:end+head+int(size)], &r) != nil || r.GetTrailer() != nil {
			break
		}
		end, n = end+head+int(size), n+1
	}
	trailer, _ := proto.Marshal(&storev1.Record{Kind: &storev1.Record_Trailer{Trailer: &storev1.Trailer{
		Records: n, Crc32C: crc32.Checksum(b[:end], crc32.MakeTable(crc32.Castagnoli)),
	}}})
	return append(binary.AppendUvarint(bytes.Clone(b[:end]), uint64(len(trailer))), trailer...)
}
