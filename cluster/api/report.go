package api

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	storev1 "simpd/proto/simp/store/v1"
	simpv1 "simpd/proto/simp/v1"
	"simpd/protocol"
	"simpd/store"
)

// reportService shows operators what users have reported.
type reportService struct {
	simpv1.UnimplementedReportServiceServer
	Config
	pages   *pages
	closing context.Context // ends every Watch
}

// List tells of reports without their messages, page by page.
func (s *reportService) List(ctx context.Context, r *simpv1.ListReportsRequest) (*simpv1.ListReportsResponse, error) {
	f := &fields{domains: s.Domains}
	size := f.pageSize(r.PageSize)
	matches := f.reportMatcher(r)
	v, last, err := s.listPage(ctx, f, r)
	if err != nil {
		return nil, err
	}
	resp := &simpv1.ListReportsResponse{Position: positionOf(v)}
	walk := v.Reports
	if r.NewestFirst {
		walk = v.ReportsBackward
	}
	walk(last, func(report *store.Report) bool {
		if report.ID == last || !matches(report) {
			return true
		}
		if len(resp.Report) == size {
			if !r.NoToken {
				resp.NextPageToken = s.pages.nextToken(v, strconv.FormatUint(resp.Report[size-1].Id, 10), r)
			}
			return false
		}
		found := reportMessage(report)
		err = reserveAnswer(ctx, found)
		resp.Report = append(resp.Report, found)
		return err == nil
	})
	return resp, err
}

// listPage returns the table that a page is of, and the id of the report after
// which it starts.
func (s *reportService) listPage(ctx context.Context, f *fields, r *simpv1.ListReportsRequest) (v store.View, last uint64, err error) {
	if err := f.err(); err != nil {
		return v, 0, err
	}
	last = r.After
	if last == 0 && r.NewestFirst {
		last = math.MaxUint64
	}
	v, err = s.tableView(ctx, false)
	if err != nil || r.PageToken == "" {
		return v, last, err
	}
	v, text, err := s.pages.resumeAfter(ctx, f, r.PageToken, r)
	if err != nil {
		return v, 0, err
	}
	last, err = strconv.ParseUint(text, 10, 64)
	if err != nil {
		f.addViolation("page_token", "is not a token of this service")
	}
	return v, last, f.err()
}

// reportMatcher returns what finds the reports that a request asks for.
func (f *fields) reportMatcher(r *simpv1.ListReportsRequest) func(*store.Report) bool {
	var reported, reporter protocol.Address
	if r.Reported != "" {
		reported = f.anyAddress("reported", r.Reported).CaseFold()
	}
	if r.Reporter != "" {
		reporter = f.anyAddress("reporter", r.Reporter).CaseFold()
	}
	return func(report *store.Report) bool {
		return (r.Resolved || report.Resolved.IsZero()) && (r.Reason == 0 || uint8(r.Reason) == uint8(report.Reason)) &&
			(reported.IsZero() || report.Reported.CaseFold() == reported) && (reporter.IsZero() || report.Reporter.CaseFold() == reporter)
	}
}

// Get tells one report with its message.
func (s *reportService) Get(ctx context.Context, r *simpv1.GetReportRequest) (*simpv1.GetReportResponse, error) {
	v, err := s.tableView(ctx, false)
	if err != nil {
		return nil, err
	}
	found := v.Report(r.Id)
	if found == nil {
		return nil, noSuchReport(r.Id)
	}
	m := reportMessage(found)
	m.Entity = found.Entity
	return &simpv1.GetReportResponse{Report: m, Position: positionOf(v)}, nil
}

func noSuchReport(id uint64) error {
	return &refused{store.NoReport, fmt.Sprintf("there is no report %d", id)}
}

// Resolve records that a report has been dealt with.
func (s *reportService) Resolve(ctx context.Context, r *simpv1.ResolveReportRequest) (*simpv1.ResolveReportResponse, error) {
	setAuditTarget(ctx, fmt.Sprintf("report %d", r.Id))
	f := &fields{}
	if len(r.Resolution) > protocol.MaxReportText {
		f.addViolation("resolution", "has %d octets; at most %d", len(r.Resolution), protocol.MaxReportText)
	}
	if err := f.err(); err != nil {
		return nil, err
	}
	if err := s.inTouch(false); err != nil {
		return nil, err
	}
	found := s.Table.View().Report(r.Id)
	if found == nil {
		return nil, noSuchReport(r.Id)
	}
	setAuditTarget(ctx, fmt.Sprintf("report %d about %s", r.Id, found.Reported))
	at, err := s.proposeEverywhere(ctx, &storev1.Change{Kind: &storev1.Change_ResolveReport{
		ResolveReport: &storev1.ResolveReport{Id: r.Id, By: inviterName(ctx), Resolution: r.Resolution},
	}})
	if err != nil {
		return nil, err
	}
	if found = s.Table.View().Report(r.Id); found == nil { // its time was over
		return nil, noSuchReport(r.Id)
	}
	return &simpv1.ResolveReportResponse{Report: reportMessage(found), Position: at}, nil
}

// reportMessage tells of a report without its message.
func reportMessage(r *store.Report) *simpv1.Report {
	m := &simpv1.Report{
		Id: r.ID, Reporter: r.Reporter.String(), Via: r.Via, Reported: r.Reported.String(), Reason: simpv1.ReportReason(r.Reason),
		MessageId: r.MessageID, Text: r.Text, EntitySize: uint32(len(r.Entity)), Evidence: simpv1.Evidence(r.Signature), KeyId: r.KeyID,
		Created: timestamppb.New(r.Created), ResolvedBy: r.ResolvedBy, Resolution: r.Resolution,
		PassedOn: uint32(r.PassedOn), PassedOnText: r.PassedOnText,
	}
	if !r.Resolved.IsZero() {
		m.Resolved = timestamppb.New(r.Resolved)
	}
	return m
}

// Watch tells each report that is made or changed, until the caller goes away or
// the node does.
func (s *reportService) Watch(r *simpv1.WatchReportsRequest, stream grpc.ServerStreamingServer[simpv1.WatchReportsResponse]) error {
	f := &fields{}
	if r.After != nil && r.After.History == "" {
		f.addViolation("after.history", "has to be given")
	}
	if err := f.err(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(stream.Context())
	defer cancel(nil)
	defer context.AfterFunc(s.closing, func() { cancel(errClosing) })()
	w := &reportWatch{reportService: s, stream: stream}
	if err := w.start(ctx, r.After); err != nil {
		return err
	}
	for {
		if err := w.sendNext(ctx); err != nil {
			return cmp.Or(context.Cause(ctx), err)
		}
	}
}

// reportWatch is one Watch under way.
type reportWatch struct {
	*reportService
	stream grpc.ServerStreamingServer[simpv1.WatchReportsResponse]
	at     store.Position // everything up to here has been told
}

// start goes on after a position, or begins now.
func (w *reportWatch) start(ctx context.Context, after *simpv1.Position) error {
	if err := w.inTouch(false); err != nil {
		return err
	}
	if err := w.confirmTable(ctx); err != nil {
		return err
	}
	w.at = w.Table.Position()
	if after == nil {
		return w.stream.Send(w.response())
	}
	if after.History != w.at.History {
		w.at.Index = 0
		resp := w.response()
		resp.Event = &simpv1.WatchReportsResponse_Reset_{Reset_: &simpv1.Reset{Reason: resetHistory}}
		return w.stream.Send(resp)
	}
	if after.Index > w.at.Index {
		return unavailable(reasonBehind, "this node has not reached that position; try again, or another node")
	}
	w.at.Index = after.Index
	return nil
}

func (w *reportWatch) response() *simpv1.WatchReportsResponse {
	return &simpv1.WatchReportsResponse{Position: &simpv1.Position{History: w.at.History, Index: w.at.Index}}
}

// sendNext tells what has changed, or waits for a change, and then says that the
// watch lives.
func (w *reportWatch) sendNext(ctx context.Context) error {
	if err := w.inTouch(false); err != nil {
		return err
	}
	v := w.Table.View()
	if v.History() != w.at.History {
		w.at = store.Position{History: v.History()}
		resp := w.response()
		resp.Event = &simpv1.WatchReportsResponse_Reset_{Reset_: &simpv1.Reset{Reason: resetHistory}}
		return w.stream.Send(resp)
	}
	if v.ReportsIndex() > w.at.Index {
		return w.sendChanged(v)
	}
	w.at.Index = v.Index()
	return w.await(ctx, v.Index())
}

// await returns when reports have changed, and from time to time.
func (w *reportWatch) await(ctx context.Context, after uint64) error {
	wait, cancel := context.WithTimeout(ctx, progressEvery)
	defer cancel()
	for {
		if err := w.Table.Wait(wait, after+1); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return w.stream.Send(w.response())
		}
		v := w.Table.View()
		if v.History() != w.at.History || v.ReportsIndex() > w.at.Index {
			return nil
		}
		after = v.Index()
		w.at.Index = after
	}
}

// sendChanged tells the reports that have changed, in the order of their changes.
func (w *reportWatch) sendChanged(v store.View) error {
	var changed []*store.Report
	v.Reports(0, func(r *store.Report) bool {
		if r.Index > w.at.Index {
			changed = append(changed, r)
		}
		return true
	})
	slices.SortFunc(changed, func(a, b *store.Report) int { return cmp.Or(cmp.Compare(a.Index, b.Index), cmp.Compare(a.ID, b.ID)) })
	for i, r := range changed {
		if i+1 == len(changed) || changed[i+1].Index > r.Index { // else the position is not reached yet
			w.at.Index = r.Index
		}
		resp := w.response()
		resp.Event = &simpv1.WatchReportsResponse_Report{Report: reportMessage(r)}
		if err := w.stream.Send(resp); err != nil {
			return err
		}
	}
	w.at.Index = v.Index()
	return nil
}
