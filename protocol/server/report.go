package server

import (
	"context"

	"simpd/protocol"
	"simpd/protocol/rate"
)

// reportLimit limits the reports of a user, and of a remote domain to ten times as
// many.
var reportLimit = rate.NewLimit(0.2, 20)

const domainReports = 10

// handleReport tells the operators about somebody (SIMP.md, section 16). Other sites
// are asked for keys apart from what follows.
func (s *session) handleReport(ctx context.Context, r *request) error {
	q, err := s.decodeReport(r)
	if err != nil {
		return err
	}
	limit := reportLimit
	if s.client.Domain != "" {
		limit = limit.Divide(domainReports)
	}
	if wait := s.reserveTokens(limit, 1, 0, func(p *tenant) *rate.Bucket { return &p.reports }); wait > 0 {
		return rateError("reports", wait)
	}
	user := s.user
	return s.answerAside(ctx, r, func(ctx context.Context, r *request) error {
		if err := user.Report(ctx, q); err != nil {
			return err
		}
		s.respondOK(r)
		return nil
	})
}

func (s *session) decodeReport(r *request) (q protocol.Report, err error) {
	about, err := s.addresses(nil, r, "ima")
	if err != nil {
		return q, err
	}
	by, err := s.watcherParams(r)
	if err != nil {
		return q, err
	}
	if len(about) != 1 || len(by) > 1 {
		return q, protocol.Errorf(protocol.StatusBadRequest, "REPORT is about one user: REPORT ima=IMA reason=spam|abuse|other")
	}
	if err := s.checkLocalTargets(about); err != nil {
		return q, err
	}
	q = protocol.Report{By: s.client.User, About: about[0], Via: s.client.Domain}
	if s.client.Domain != "" {
		q.By = by[0]
	}
	return q, decodeReportContent(r, &q)
}

// decodeReportContent decodes what a report says.
func decodeReportContent(r *request, q *protocol.Report) error {
	reason, given := r.line.Get("reason")
	var ok bool
	if q.Reason, ok = protocol.ParseReportReason(reason); !given || !ok {
		return protocol.Errorf(protocol.StatusBadRequest, "invalid reason %s: must be spam, abuse or other", protocol.Quote(reason))
	}
	id, given := r.line.Get("id")
	if given && !protocol.ValidID(id) {
		return protocol.Errorf(protocol.StatusBadRequest, "invalid id %s: must be 1 to 64 letters, digits, -, _ and .", protocol.Quote(id))
	}
	if r.tooLarge {
		return protocol.Errorf(protocol.StatusTooLarge, "the message has %d octets: %d are allowed", r.line.Literal, protocol.MaxEntity)
	}
	if len(r.line.Text) > protocol.MaxReportText {
		return protocol.Errorf(protocol.StatusTooLarge, "the text has %d octets: %d are allowed", len(r.line.Text), protocol.MaxReportText)
	}
	q.ID, q.Text = id, r.line.Text
	if r.line.Literal >= 0 {
		q.Entity = append([]byte{}, r.literal...)
	}
	return nil
}
