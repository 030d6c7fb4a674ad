package store

import (
	"fmt"
	"strings"
	"testing"

	storev1 "simpd/proto/simp/store/v1"
	"simpd/protocol"
)

func reportChange(by, via string, entity int) *storev1.Change {
	return &storev1.Change{Kind: &storev1.Change_AddReport{AddReport: &storev1.AddReport{Report: &storev1.Report{
		Reporter: by, Via: via, Reported: "spam@example.net", Reason: uint32(protocol.ReportSpam), Entity: make([]byte, entity),
	}}}}
}

func (t *Table) addOne(tb testing.TB, c *storev1.Change) Result { return applyChanges(tb, t, c)[0] }

func TestReportsAreKeptAndResolved(t *testing.T) {
	table := tableWithBlocks(t)
	first, second := table.addOne(t, reportChange("alice@example.com", "", 5)), table.addOne(t, reportChange("eve@two.example", "two.example", 0))
	if first.Report == 0 || second.Report <= first.Report || table.View().Report(first.Report).Index != first.Index {
		t.Fatalf("got %+v, %+v", first, second)
	}
	resolve := func(id uint64, text string) Result {
		return table.addOne(t, &storev1.Change{Kind: &storev1.Change_ResolveReport{ResolveReport: &storev1.ResolveReport{Id: id, By: "op", Resolution: text}}})
	}
	if r := resolve(first.Report, "blocked"); !r.Applied || table.View().ReportsIndex() != r.Index {
		t.Errorf("got %+v", r)
	}
	if r := resolve(first.Report, "blocked"); r.Applied || r.Refusal != None {
		t.Errorf("again: %+v", r)
	}
	if r := resolve(99, ""); r.Refusal != NoReport {
		t.Errorf("an unknown one: %+v", r)
	}
	if got := table.View().Report(first.Report); got.ResolvedBy != "op" || got.Resolved.IsZero() || len(got.Entity) != 5 {
		t.Errorf("got %+v", got)
	}
	restored := restoreOf(t, table)
	if restored.View().Digest() != table.View().Digest() || restored.View().ReportsIndex() != table.View().ReportsIndex() {
		t.Error("not restored as it was")
	}
	drop := func(ms int64) Result {
		return table.addOne(t, &storev1.Change{Kind: &storev1.Change_DropReports{DropReports: &storev1.DropReports{BeforeMs: ms}}})
	}
	if r := drop(1_000_000); r.Applied {
		t.Errorf("dropped too soon: %+v", r)
	}
	if r := drop(1_000_001); !r.Applied || !table.View().OldestReport().IsZero() || table.current.reportOctets != 0 {
		t.Errorf("not dropped: %+v, %d octets", r, table.current.reportOctets)
	}
}

func TestReportsAreBounded(t *testing.T) {
	table := tableWithBlocks(t)
	for range maxUserReports {
		if r := table.addOne(t, reportChange("alice@example.com", "", 0)); !r.Applied {
			t.Fatalf("got %+v", r)
		}
	}
	if r := table.addOne(t, reportChange("alice@example.com", "", 0)); r.Refusal != TooManyReports {
		t.Errorf("a share in number: %+v", r)
	}
	for i := 0; ; i++ {
		if r := table.addOne(t, reportChange("bob@example.com", "", 60_000)); r.Refusal == TooManyReports {
			if i < 10 || i > maxUserReportOctets/60_000 {
				t.Errorf("a share in octets: %d reports", i)
			}
			break
		}
	}
	for i := range MaxReports/maxUserReports + 3 {
		for range maxUserReports {
			table.addOne(t, reportChange(fmt.Sprintf("u%d@example.com", i), "", 0))
		}
	}
	v := table.View()
	if v.reports.Len() != MaxReports || v.reportOctets > maxReportOctets {
		t.Errorf("%d reports, %d octets", v.reports.Len(), v.reportOctets)
	}
	counted := 0
	v.Reports(0, func(r *Report) bool { counted += r.octets(); return true })
	if counted != v.reportOctets {
		t.Errorf("%d octets are counted, %d are there", v.reportOctets, counted)
	}
}

// fillReports adds reports of many users until there is room for one more at most. It
// returns the ID of the newest.
func fillReports(t *testing.T, table *Table) (newest uint64) {
	for i := 0; table.current.reportOctets+2*protocol.MaxEntity < maxReportOctets; i++ {
		r := table.addOne(t, reportChange(fmt.Sprintf("u%d@example.com", i/10), "", protocol.MaxEntity))
		if !r.Applied {
			t.Fatalf("got %+v", r)
		}
		newest = r.Report
	}
	return newest
}

// What operators and other sites say of reports counts, and makes room for itself.
func TestChangedReportsStayWithinTheLimits(t *testing.T) {
	table := tableWithBlocks(t)
	newest := fillReports(t, table)
	text := strings.Repeat("x", protocol.MaxLine)
	var ids []uint64
	table.View().Reports(0, func(r *Report) bool { ids = append(ids, r.ID); return true })
	for _, id := range ids {
		table.addOne(t, &storev1.Change{Kind: &storev1.Change_MarkReportPassedOn{MarkReportPassedOn: &storev1.MarkReportPassedOn{Id: id, Status: 403, Text: text}}})
		r := table.addOne(t, &storev1.Change{Kind: &storev1.Change_ResolveReport{ResolveReport: &storev1.ResolveReport{Id: id, By: "op", Resolution: text}}})
		if v := table.View(); v.reportOctets > maxReportOctets || r.Applied != (v.Report(id) != nil) {
			t.Fatalf("%d of %d octets, %+v", v.reportOctets, maxReportOctets, r)
		}
	}
	if r := table.View().Report(newest); r == nil || r.Resolution != text {
		t.Errorf("the newest: %+v", r)
	}
	if restored := restoreOf(t, table); restored.View().Digest() != table.View().Digest() {
		t.Error("not restored as it was")
	}
}

// A snapshot with more than the limits, as another version may make, is read.
func TestSnapshotsMayExceedTheLimits(t *testing.T) {
	table := tableWithBlocks(t)
	fillReports(t, table)
	for i := range uint64(MaxReports) {
		r := reportFromProto(reportChange("alice@example.com", "", 0).GetAddReport().Report)
		r.ID, r.Created = maxIndex+i, table.batchTime
		table.current.setReport(r)
	}
	for i := range MaxBlocks + 1 {
		b, _ := table.newBlock(&storev1.BlockEntry{Target: fmt.Sprintf("s%d@example.net", i), Reason: strings.Repeat("x", MaxBlockReason)}, "", "op")
		table.setBlock(b)
	}
	if table.current.reportOctets <= maxReportOctets || table.current.blockOctets <= maxBlockOctets {
		t.Fatal("the limits are not exceeded")
	}
	if restored := restoreOf(t, table); restored.View().Digest() != table.View().Digest() {
		t.Error("not restored as it was")
	}
}

// Reports of whoever takes most octets make room if octets are lacking.
func TestTheLargestShareMakesRoom(t *testing.T) {
	table := tableWithBlocks(t)
	var small []uint64
	for range 30 {
		small = append(small, table.addOne(t, reportChange("small@example.com", "", 0)).Report)
	}
	fillReports(t, table)
	for range 10 {
		table.addOne(t, reportChange("late@example.com", "", protocol.MaxEntity))
	}
	for _, id := range small {
		if table.View().Report(id) == nil {
			t.Errorf("%d of those who reported little is gone", id)
		}
	}
	if octets := table.View().reportOctets; octets > maxReportOctets {
		t.Errorf("%d octets", octets)
	}
}

// A backup's reports and blocks have the limits of the site, and none are added
// meanwhile.
func TestRestoredReportsAreBounded(t *testing.T) {
	table := tableWithBlocks(t)
	restore := func(piece *storev1.RestoreAccounts) Result {
		return table.addOne(t, &storev1.Change{Kind: &storev1.Change_RestoreAccounts{RestoreAccounts: piece}})
	}
	reports := func(from, n, entity int) (all []*storev1.Record) {
		for i := range n {
			r := reportChange("alice@example.com", "", entity).GetAddReport().Report
			r.Id, r.CreatedMs = uint64(from+i), 1
			all = append(all, &storev1.Record{Kind: &storev1.Record_Report{Report: r}})
		}
		return all
	}
	if r := restore(&storev1.RestoreAccounts{First: true, Record: reports(1, 1000, protocol.MaxEntity)}); !r.Applied {
		t.Fatalf("got %+v", r)
	}
	if v := table.View(); v.reportOctets > maxReportOctets || v.Report(1) != nil || v.Report(1000) == nil {
		t.Errorf("%d octets", v.reportOctets)
	}
	if r := table.addOne(t, reportChange("bob@example.com", "", 0)); r.Refusal != Restoring {
		t.Errorf("while accounts are restored: %+v", r)
	}
	if r := restore(&storev1.RestoreAccounts{Record: reports(2000, MaxReports, 0)}); r.Refusal != TooManyReports {
		t.Errorf("too many reports: %+v", r)
	}
	var blocks []*storev1.Record
	for i := range MaxBlocks + 1 {
		blocks = append(blocks, &storev1.Record{Kind: &storev1.Record_Block{Block: &storev1.Block{Entry: &storev1.BlockEntry{Target: fmt.Sprintf("s%d@example.net", i)}}}})
	}
	if r := restore(&storev1.RestoreAccounts{Record: blocks}); r.Refusal != TooManyBlocks {
		t.Errorf("too many blocks: %+v", r)
	}
	if r := restore(&storev1.RestoreAccounts{Last: true}); !r.Applied {
		t.Errorf("the last piece: %+v", r)
	}
	if restored := restoreOf(t, table); restored.View().Digest() != table.View().Digest() {
		t.Error("not restored as it was")
	}
}

func TestReportsRefuseWhatIsWrong(t *testing.T) {
	table := tableWithBlocks(t)
	for name, change := range map[string]func(*storev1.Report){
		"no reporter": func(r *storev1.Report) { r.Reporter = "" }, "no reported": func(r *storev1.Report) { r.Reported = "x" },
		"reason": func(r *storev1.Report) { r.Reason = 4 }, "no reason": func(r *storev1.Report) { r.Reason = 0 },
		"entity": func(r *storev1.Report) { r.Entity = make([]byte, protocol.MaxEntity+1) }, "evidence": func(r *storev1.Report) { r.Signature = 9 },
	} {
		c := reportChange("alice@example.com", "", 0)
		change(c.GetAddReport().Report)
		if r := table.addOne(t, c); r.Refusal != Malformed {
			t.Errorf("%s: %+v", name, r)
		}
	}
	old := New(Config{})
	applyChanges(t, old, &storev1.Change{Kind: &storev1.Change_SetSchema{SetSchema: &storev1.SetSchema{Schema: reportSchema - 1}}})
	if r := old.addOne(t, reportChange("alice@example.com", "", 0)); r.Refusal != WrongSchema {
		t.Errorf("before the schema: %+v", r)
	}
}
