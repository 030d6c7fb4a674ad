package store

import (
	"fmt"
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
