package console

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	simpv1 "simpd/proto/simp/v1"
)

// How many blocks and reports a page shows.
const (
	pageOfBlocks  = 50
	pageOfReports = 50
)

// blocksView is one page of the list of blocks.
type blocksView struct {
	Blocks []json.RawMessage `json:"blocks"`
	More   bool              `json:"more"`
}

func readBlocks(ctx context.Context, q *request) (any, error) {
	resp, err := simpv1.NewBlockServiceClient(q.services()).List(ctx, &simpv1.ListBlocksRequest{
		Matching: strings.TrimSpace(q.query("matching")), After: q.query("after"), AfterFeed: q.query("feed"), PageSize: pageOfBlocks + 1, NoToken: true,
	})
	if err != nil {
		return nil, err
	}
	v := blocksView{More: len(resp.Block) > pageOfBlocks}
	v.Blocks, err = marshalAll(resp.Block[:min(len(resp.Block), pageOfBlocks)])
	return v, err
}

// reportsView is one page of the list of reports, the newest first.
type reportsView struct {
	Reports []json.RawMessage `json:"reports"`
	More    bool              `json:"more"`
}

func readReports(ctx context.Context, q *request) (any, error) {
	after, err := q.reportID("after")
	if err != nil {
		return nil, err
	}
	resp, err := simpv1.NewReportServiceClient(q.services()).List(ctx, &simpv1.ListReportsRequest{
		Resolved: q.query("all") != "", Reported: strings.TrimSpace(q.query("reported")), After: after, NewestFirst: true, PageSize: pageOfReports + 1, NoToken: true,
	})
	if err != nil {
		return nil, err
	}
	v := reportsView{More: len(resp.Report) > pageOfReports}
	v.Reports, err = marshalAll(resp.Report[:min(len(resp.Report), pageOfReports)])
	return v, err
}

// reportID returns a parameter of the address that is the id of a report; 0 if
// it is absent.
func (q *request) reportID(name string) (uint64, error) {
	value := q.query(name)
	if value == "" {
		return 0, nil
	}
	id, err := strconv.ParseUint(value, 10, 64)
	if err != nil {
		return 0, status.Errorf(codes.InvalidArgument, "%s must be the id of a report", name)
	}
	return id, nil
}

// reportView is the page of one report.
type reportView struct {
	Report json.RawMessage `json:"report"`
	// Message reports whether the role may see the message, if there is one.
	Message bool `json:"message"`
}

// readReport returns a report, with its message if the role may see that.
func readReport(ctx context.Context, q *request) (any, error) {
	id, err := q.reportID("id")
	if err != nil {
		return nil, err
	}
	v := reportView{Message: q.may(simpv1.ReportService_Get_FullMethodName)}
	report, err := q.findReport(ctx, id, v.Message)
	if err != nil {
		return nil, err
	}
	v.Report, err = marshal(report)
	return v, err
}

// findReport returns the report with that id. Without its message, it is the
// first of a list that starts there.
func (q *request) findReport(ctx context.Context, id uint64, message bool) (*simpv1.Report, error) {
	reports := simpv1.NewReportServiceClient(q.services())
	if message {
		resp, err := reports.Get(ctx, &simpv1.GetReportRequest{Id: id})
		return resp.GetReport(), err
	}
	resp, err := reports.List(ctx, &simpv1.ListReportsRequest{Resolved: true, After: max(id, 1) - 1, PageSize: 1, NoToken: true})
	if err != nil {
		return nil, err
	}
	if len(resp.Report) == 0 || resp.Report[0].Id != id {
		return nil, status.Errorf(codes.NotFound, "there is no report %d", id)
	}
	return resp.Report[0], nil
}
