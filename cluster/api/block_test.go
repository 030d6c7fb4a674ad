package api_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"simpd/cluster/api"
	storev1 "simpd/proto/simp/store/v1"
	simpv1 "simpd/proto/simp/v1"
)

// block adds a block at the newest schema.
func (s *testSite) block(target string) {
	s.t.Helper()
	s.goOn()
	s.propose(&storev1.Change{Kind: &storev1.Change_AddBlock{AddBlock: &storev1.AddBlock{Block: &storev1.BlockEntry{Target: target}}}})
}

func (s *testSite) listBlocks(r *simpv1.ListBlocksRequest) (targets []string) {
	s.t.Helper()
	resp, err := s.blocks.List(s.t.Context(), r)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, b := range resp.Block {
		targets = append(targets, b.Feed+" "+b.Target)
	}
	return targets
}

func TestABlocksLife(t *testing.T) {
	var log bytes.Buffer
	s := newSite(t, func(c *api.Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	_, err := s.blocks.Add(t.Context(), &simpv1.AddBlockRequest{Target: "@spam.example"})
	wantReason(t, err, codes.Unavailable, "UNAVAILABLE")
	s.goOn()
	until := time.Now().Add(time.Hour).UTC().Truncate(time.Millisecond)
	added, err := s.blocks.Add(t.Context(), &simpv1.AddBlockRequest{Target: "@SPAM.example", Reason: "spam", End: &simpv1.AddBlockRequest_Until{Until: timestamppb.New(until)}})
	if err != nil {
		t.Fatal(err)
	}
	if b := added.Block; b.Target != "@spam.example" || b.Reason != "spam" || !b.Until.AsTime().Equal(until) || b.By == "" || b.Feed != "" || added.Position.Index != s.table.Index() {
		t.Errorf("added %v", added)
	}
	for target, want := range map[string]string{
		"Eve@two.example": "Eve@two.example", "Bob@Example.com": "bob@example.com", "::ffff:192.0.2.0/120": "192.0.2.0/24",
	} {
		added, err := s.blocks.Add(t.Context(), &simpv1.AddBlockRequest{Target: target, End: &simpv1.AddBlockRequest_Expires{Expires: durationpb.New(time.Minute)}})
		if err != nil || added.Block.Target != want || added.Block.Until == nil {
			t.Errorf("%s: %v, %v", target, added, err)
		}
	}
	all := []string{" 192.0.2.0/24", " @spam.example", " bob@example.com", " Eve@two.example"}
	if got := s.listBlocks(&simpv1.ListBlocksRequest{}); !slices.Equal(got, all) {
		t.Errorf("listed %q, want %q", got, all)
	}
	for matching, want := range map[string][]string{
		"eve@TWO.example": {" Eve@two.example"}, "any@spam.example": {" @spam.example"}, "@spam.example": {" @spam.example"},
		"192.0.2.9": {" 192.0.2.0/24"}, "::ffff:192.0.2.9": {" 192.0.2.0/24"}, "192.0.3.9": nil, "any@sub.spam.example": nil, "BOB@example.com": {" bob@example.com"},
	} {
		if got := s.listBlocks(&simpv1.ListBlocksRequest{Matching: matching}); !slices.Equal(got, want) {
			t.Errorf("matching %s: %q, want %q", matching, got, want)
		}
	}
	if _, err := s.blocks.Remove(t.Context(), &simpv1.RemoveBlockRequest{Target: "EVE@two.example"}); err != nil {
		t.Error(err)
	}
	_, err = s.blocks.Remove(t.Context(), &simpv1.RemoveBlockRequest{Target: "eve@two.example"})
	wantReason(t, err, codes.NotFound, "NO_BLOCK")
	for _, part := range []string{"BlockService/Add", "@SPAM.example", "BlockService/Remove", "EVE@two.example"} {
		if !strings.Contains(log.String(), part) {
			t.Errorf("%q is not in the audit log:\n%s", part, log.String())
		}
	}
}

func TestBlocksOfFeedsAreListed(t *testing.T) {
	s := newSite(t)
	s.goOn()
	for _, feed := range []string{"two", "one"} {
		c := &storev1.ChangeFeed{Feed: feed}
		for i := range 150 {
			c.Add = append(c.Add, &storev1.BlockEntry{Target: fmt.Sprintf("@d%03d.example", i), Reason: "listed"})
		}
		s.propose(&storev1.Change{Kind: &storev1.Change_ChangeFeed{ChangeFeed: c}})
	}
	s.block("@zzz.example")
	var got []string
	r := &simpv1.ListBlocksRequest{PageSize: 100}
	for {
		resp, err := s.blocks.List(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range resp.Block {
			got = append(got, b.Feed+" "+b.Target)
		}
		if r.PageToken = resp.NextPageToken; r.PageToken == "" {
			break
		}
	}
	if len(got) != 301 || got[0] != " @zzz.example" || got[1] != "one @d000.example" || got[151] != "two @d000.example" || !slices.IsSorted(got) {
		t.Errorf("%d blocks: %q, %q, ...", len(got), got[:2], got[150:152])
	}
	if n := len(s.listBlocks(&simpv1.ListBlocksRequest{Feed: "two", PageSize: 1000})); n != 150 {
		t.Errorf("%d blocks of a feed", n)
	}
	_, err := s.blocks.Remove(t.Context(), &simpv1.RemoveBlockRequest{Target: "@d001.example"})
	wantReason(t, err, codes.NotFound, "NO_BLOCK")
}

// A list can go on after a block without a token: also after one that is gone.
func TestBlocksGoOnWithoutAToken(t *testing.T) {
	s := newSite(t)
	s.goOn()
	c := &storev1.ChangeFeed{Feed: "one", Add: []*storev1.BlockEntry{{Target: "@b.example"}, {Target: "@d.example"}}}
	s.propose(&storev1.Change{Kind: &storev1.Change_ChangeFeed{ChangeFeed: c}})
	for _, target := range []string{"@a.example", "Eve@two.example", "192.0.2.0/24"} {
		if _, err := s.blocks.Add(t.Context(), &simpv1.AddBlockRequest{Target: target}); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	r := &simpv1.ListBlocksRequest{PageSize: 1, NoToken: true}
	for {
		resp, err := s.blocks.List(t.Context(), r)
		if err != nil || resp.NextPageToken != "" {
			t.Fatalf("%v, %v", resp, err)
		}
		if len(resp.Block) == 0 {
			break
		}
		b := resp.Block[0]
		got = append(got, b.Feed+" "+b.Target)
		r.After, r.AfterFeed = b.Target, b.Feed
	}
	if want := []string{" 192.0.2.0/24", " @a.example", " Eve@two.example", "one @b.example", "one @d.example"}; !slices.Equal(got, want) {
		t.Errorf("one by one: %q, want %q", got, want)
	}
	if got := s.listBlocks(&simpv1.ListBlocksRequest{After: "@c.example", AfterFeed: "one"}); !slices.Equal(got, []string{"one @d.example"}) {
		t.Errorf("after a block that is not there: %q", got)
	}
	// A token goes on where its page ended, and not at after once more.
	first, err := s.blocks.List(t.Context(), &simpv1.ListBlocksRequest{After: "192.0.2.0/24", PageSize: 1})
	if err != nil || first.NextPageToken == "" {
		t.Fatalf("%v, %v", first, err)
	}
	if got := s.listBlocks(&simpv1.ListBlocksRequest{After: "192.0.2.0/24", PageSize: 1, PageToken: first.NextPageToken}); !slices.Equal(got, []string{" Eve@two.example"}) {
		t.Errorf("by token: %q", got)
	}
	if _, err = s.blocks.List(t.Context(), &simpv1.ListBlocksRequest{After: "nobody"}); err == nil || !strings.Contains(err.Error(), "desc = after: ") {
		t.Errorf("after what is no target: %v", err)
	}
}

func TestBlocksNameWhatIsWrong(t *testing.T) {
	s := newSite(t)
	s.goOn()
	for name, r := range map[string]*simpv1.AddBlockRequest{
		"target":  {Target: "*"},
		"reason":  {Target: "@a.example", Reason: strings.Repeat("x", 257)},
		"until":   {Target: "@a.example", End: &simpv1.AddBlockRequest_Until{Until: timestamppb.New(time.Now().Add(-time.Second))}},
		"expires": {Target: "@a.example", End: &simpv1.AddBlockRequest_Expires{Expires: durationpb.New(time.Millisecond)}},
	} {
		if _, err := s.blocks.Add(t.Context(), r); err == nil || !strings.Contains(err.Error(), "desc = "+name+": ") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := s.blocks.List(t.Context(), &simpv1.ListBlocksRequest{Matching: "nobody"}); err == nil || !strings.Contains(err.Error(), "matching: ") {
		t.Errorf("got %v", err)
	}
}
