package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"simpd/cmd/internal/cli"
	simpv1 "simpd/proto/simp/v1"
)

const reportLong = `Report shows what users have reported, with the message if they gave it. For a
signed message it says whether the signature proves that the reported user wrote
it. Reports are kept for 30 days.

    simpctl report list
    simpctl report show 1042
    simpctl report resolve 1042 --text "blocked for a month"`

func (a *app) reportCommand() *cobra.Command {
	var request simpv1.ListReportsRequest
	var reason, text string
	list := &cobra.Command{
		Use: "list", Short: "List the reports that are not resolved", Args: cli.ArgumentCount(0, 0, "no argument"),
		RunE: func(c *cobra.Command, _ []string) error { return a.listReports(c.Context(), &request, reason) },
	}
	f := list.Flags()
	f.StringVar(&request.Reported, "reported", "", "only reports about this `IMA`")
	f.StringVar(&request.Reporter, "reporter", "", "only reports by this `IMA`")
	f.StringVar(&reason, "reason", "", "only reports for this reason: spam, abuse or other")
	f.BoolVar(&request.Resolved, "all", false, "also reports that are resolved")
	show := &cobra.Command{
		Use: "show ID", Short: "Show a report with its message", Args: cli.ArgumentCount(1, 1, "the id that report list shows"),
		RunE: func(c *cobra.Command, args []string) error { return a.showReport(c.Context(), args[0]) },
	}
	resolve := &cobra.Command{
		Use: "resolve ID", Short: "Record that a report has been dealt with", Args: cli.ArgumentCount(1, 1, "the id that report list shows"),
		RunE: func(c *cobra.Command, args []string) error { return a.resolveReport(c.Context(), args[0], text) },
	}
	resolve.Flags().StringVar(&text, "text", "", "what was done, for other operators: at most 1024 octets of `TEXT`")
	return cli.CommandGroup("report", "See and resolve what users have reported", reportLong, list, show, resolve)
}

func parseReportID(id string) (uint64, error) {
	number, err := strconv.ParseUint(id, 10, 64)
	if err != nil {
		return 0, cli.UsageErrorf("%q is not the id of a report; report list shows them", id)
	}
	return number, nil
}

func (a *app) listReports(ctx context.Context, r *simpv1.ListReportsRequest, reason string) error {
	if reason != "" {
		number, ok := simpv1.ReportReason_value["REPORT_REASON_"+strings.ToUpper(reason)]
		if !ok || number == 0 {
			return cli.UsageErrorf("invalid --reason %q: must be spam, abuse or other", reason)
		}
		r.Reason = simpv1.ReportReason(number)
	}
	s, err := a.connect()
	if err != nil {
		return err
	}
	all := &simpv1.ListReportsResponse{}
	err = eachPage(func(token string) (string, error) {
		r.PageSize, r.PageToken = pageSize, token
		resp, err := unaryCall(ctx, s.reports.List, r)
		if err != nil {
			return "", err
		}
		all.Report, all.Position = append(all.Report, resp.Report...), resp.Position
		return resp.NextPageToken, nil
	})
	if err != nil {
		return err
	}
	if a.printsJSON() {
		return a.printJSON(all)
	}
	t := &table{head: []string{"ID", "MADE", "REASON", "REPORTED", "REPORTER", "MESSAGE", "TEXT"}}
	for _, one := range all.Report {
		t.rows = append(t.rows, plainCells(strconv.FormatUint(one.Id, 10), formatIfSet(one.Created, "2006-01-02 15:04"), enumWord(one.Reason.String(), "REPORT_REASON_"),
			one.Reported, one.Reporter, describeEvidence(one.Evidence), dashIfEmpty(one.Text)))
	}
	return a.printTable(t)
}

// enumWord returns the value of an enum in small letters without its prefix.
func enumWord(value, prefix string) string {
	return strings.ToLower(strings.TrimPrefix(value, prefix))
}

func describeEvidence(e simpv1.Evidence) string {
	switch e {
	case simpv1.Evidence_EVIDENCE_UNSPECIFIED:
		return "none"
	case simpv1.Evidence_EVIDENCE_VERIFIED:
		return "signature verified"
	case simpv1.Evidence_EVIDENCE_BAD:
		return "bad signature"
	case simpv1.Evidence_EVIDENCE_UNCHECKED:
		return "signature not checked"
	}
	return "unsigned"
}

func (a *app) showReport(ctx context.Context, id string) error {
	number, err := parseReportID(id)
	if err != nil {
		return err
	}
	s, err := a.connect()
	if err != nil {
		return err
	}
	resp, err := unaryCall(ctx, s.reports.Get, &simpv1.GetReportRequest{Id: number})
	if err != nil {
		return err
	}
	if a.printsJSON() {
		return a.printJSON(resp)
	}
	return a.printReport(resp.Report)
}

func (a *app) printReport(r *simpv1.Report) error {
	line := func(name, value string) { fmt.Fprintf(a.out, "%-10s  %s\n", name, cli.Escape(dashIfEmpty(value))) }
	line("report", strconv.FormatUint(r.GetId(), 10))
	line("made", formatIfSet(r.GetCreated(), "2006-01-02 15:04"))
	line("reason", enumWord(r.GetReason().String(), "REPORT_REASON_"))
	line("reported", r.GetReported())
	line("reporter", r.GetReporter())
	if r.GetVia() != "" {
		line("via", r.GetVia())
	}
	line("text", r.GetText())
	line("message", r.GetMessageId())
	line("evidence", describeEvidence(r.GetEvidence()))
	if r.GetPassedOn() != 0 {
		line("passed on", strings.TrimSpace(fmt.Sprintf("%d %s", r.GetPassedOn(), r.GetPassedOnText())))
	}
	if r.GetResolved() != nil {
		line("resolved", formatIfSet(r.GetResolved(), "2006-01-02 15:04")+" by "+r.GetResolvedBy()+": "+r.GetResolution())
	}
	if len(r.GetEntity()) == 0 {
		return nil
	}
	fmt.Fprintln(a.out)
	for text := range strings.Lines(strings.ReplaceAll(string(r.GetEntity()), "\r\n", "\n")) {
		if _, err := fmt.Fprintf(a.out, "  | %s\n", cli.Escape(strings.TrimSuffix(text, "\n"))); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) resolveReport(ctx context.Context, id, text string) error {
	number, err := parseReportID(id)
	if err != nil {
		return err
	}
	s, err := a.connect()
	if err != nil {
		return err
	}
	resp, err := unaryCall(ctx, s.reports.Resolve, &simpv1.ResolveReportRequest{Id: number, Resolution: text})
	if err != nil {
		return err
	}
	return a.printSentence(resp, "the report %d is resolved", number)
}
