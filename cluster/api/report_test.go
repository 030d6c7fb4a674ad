package api_test

import (
	"context"
	"slices"
	"testing"

	"google.golang.org/grpc/codes"

	storev1 "simpd/proto/simp/store/v1"
	simpv1 "simpd/proto/simp/v1"
)

// report adds a report of alice's about spam@example.net, as change says, at the
// newest schema.
func (s *testSite) report(change func(*storev1.Report)) (id uint64) {
	s.t.Helper()
	s.goOn()
	r := &storev1.Report{Reporter: "alice@example.com", Reported: "spam@example.net", Reason: 1, Entity: []byte("\r\nbuy"), Signature: 1}
	if change != nil {
		change(r)
	}
	return s.propose(&storev1.Change{Kind: &storev1.Change_AddReport{AddReport: &storev1.AddReport{Report: r}}}).Report
}

// newestReport returns the id of the newest report.
func (s *testSite) newestReport() (id uint64) {
	resp, err := s.reports.List(context.Background(), &simpv1.ListReportsRequest{Resolved: true})
	if err != nil {
		s.t.Fatal(err)
	}
	for _, r := range resp.Report {
		id = r.Id
	}
	return id
}

func TestReportsAreListedAndResolved(t *testing.T) {
	s := newSite(t)
	first := s.report(nil)
	second := s.report(func(r *storev1.Report) { r.Reason, r.Reported, r.Entity, r.Signature = 2, "Eve@two.example", nil, 0 })
	list := func(r *simpv1.ListReportsRequest) (ids []uint64) {
		t.Helper()
		for {
			resp, err := s.reports.List(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			for _, one := range resp.Report {
				if len(one.Entity) > 0 {
					t.Error("a list tells a message")
				}
				ids = append(ids, one.Id)
			}
			if r.PageToken = resp.NextPageToken; r.PageToken == "" {
				return ids
			}
		}
	}
	wantIDs := func(what string, got []uint64, want ...uint64) {
		t.Helper()
		if len(got) != len(want) || len(got) > 0 && (got[0] != want[0] || got[len(got)-1] != want[len(want)-1]) {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	wantIDs("all", list(&simpv1.ListReportsRequest{PageSize: 1}), first, second)
	wantIDs("about", list(&simpv1.ListReportsRequest{Reported: "eve@TWO.example"}), second)
	wantIDs("for a reason", list(&simpv1.ListReportsRequest{Reason: simpv1.ReportReason_REPORT_REASON_SPAM}), first)
	wantIDs("by nobody", list(&simpv1.ListReportsRequest{Reporter: "bob@example.com"}))
	got, err := s.reports.Get(t.Context(), &simpv1.GetReportRequest{Id: first})
	if err != nil || string(got.Report.Entity) != "\r\nbuy" || got.Report.EntitySize != 5 || got.Report.Evidence != simpv1.Evidence_EVIDENCE_UNSIGNED {
		t.Errorf("got %v, %v", got, err)
	}
	resolved, err := s.reports.Resolve(t.Context(), &simpv1.ResolveReportRequest{Id: first, Resolution: "blocked"})
	if err != nil || resolved.Report.Resolution != "blocked" || resolved.Report.ResolvedBy == "" || resolved.Report.Resolved == nil {
		t.Errorf("got %v, %v", resolved, err)
	}
	wantIDs("open", list(&simpv1.ListReportsRequest{}), second)
	wantIDs("with the resolved", list(&simpv1.ListReportsRequest{Resolved: true}), first, second)
	_, err = s.reports.Resolve(t.Context(), &simpv1.ResolveReportRequest{Id: 99})
	wantReason(t, err, codes.NotFound, "NO_REPORT")
	_, err = s.reports.Get(t.Context(), &simpv1.GetReportRequest{Id: 99})
	wantReason(t, err, codes.NotFound, "NO_REPORT")
}

// Reports can be listed the newest first, and a list can go on without a token.
func TestReportsAreListedTheNewestFirst(t *testing.T) {
	s := newSite(t)
	var ids, backward []uint64
	for range 5 {
		ids = append(ids, s.report(nil))
	}
	for _, id := range slices.Backward(ids) {
		backward = append(backward, id)
	}
	// walk lists page by page, as next sets up each request from the page before.
	walk := func(r *simpv1.ListReportsRequest, next func(*simpv1.ListReportsResponse)) (found []uint64) {
		t.Helper()
		for {
			resp, err := s.reports.List(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			for _, one := range resp.Report {
				found = append(found, one.Id)
			}
			if next(resp); len(resp.Report) < 2 {
				return found
			}
		}
	}
	for _, newest := range []bool{false, true} {
		want := ids
		if newest {
			want = backward
		}
		r := &simpv1.ListReportsRequest{PageSize: 2, NewestFirst: newest}
		if got := walk(r, func(page *simpv1.ListReportsResponse) { r.PageToken = page.NextPageToken }); !slices.Equal(got, want) {
			t.Errorf("newest first %v, by token: %v, want %v", newest, got, want)
		}
		r = &simpv1.ListReportsRequest{PageSize: 2, NewestFirst: newest, NoToken: true}
		got := walk(r, func(page *simpv1.ListReportsResponse) {
			if page.NextPageToken != "" {
				t.Error("there is a token")
			}
			r.After = page.Report[len(page.Report)-1].Id
		})
		if !slices.Equal(got, want) {
			t.Errorf("newest first %v, without a token: %v, want %v", newest, got, want)
		}
	}
}

// A watch goes on after a position, and misses no report.
func TestReportsAreWatched(t *testing.T) {
	s := newSite(t)
	first := s.report(nil)
	stream, err := s.reports.Watch(t.Context(), &simpv1.WatchReportsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	next := func(stream interface {
		Recv() (*simpv1.WatchReportsResponse, error)
	}) *simpv1.WatchReportsResponse {
		t.Helper()
		r, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	began := next(stream)
	if began.Event != nil {
		t.Fatalf("it begins with %v", began)
	}
	second := s.report(nil)
	if r := next(stream); r.GetReport().GetId() != second || r.Position.Index != s.table.Index() {
		t.Errorf("got %v", r)
	}
	s.listen("alice@example.com", available, "") // another change is no report
	if _, err := s.reports.Resolve(t.Context(), &simpv1.ResolveReportRequest{Id: first, Resolution: "done"}); err != nil {
		t.Fatal(err)
	}
	if r := next(stream); r.GetReport().GetId() != first || r.GetReport().GetResolution() != "done" {
		t.Errorf("got %v", r)
	}
	again, err := s.reports.Watch(t.Context(), &simpv1.WatchReportsRequest{After: began.Position})
	if err != nil {
		t.Fatal(err)
	}
	if a, b := next(again), next(again); a.GetReport().GetId() != second || b.GetReport().GetId() != first || b.Position.Index <= a.Position.Index {
		t.Errorf("after a position: %v, %v", a, b)
	}
	other, err := s.reports.Watch(t.Context(), &simpv1.WatchReportsRequest{After: &simpv1.Position{History: "other", Index: 5}})
	if err != nil {
		t.Fatal(err)
	}
	if a, b := next(other), next(other); a.GetReset_() == nil || b.GetReport().GetId() != second {
		t.Errorf("of another history: %v, %v", a, b)
	}
}
