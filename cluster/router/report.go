package router

import (
	"context"
	"errors"
	"strings"
	"time"

	storev1 "simpd/proto/simp/store/v1"
	"simpd/protocol"
	"simpd/protocol/netaddr"
	"simpd/protocol/signature"
	"simpd/store"
)

const (
	// reportRetry is after how many seconds somebody whose share of the reports is
	// used up may try again.
	reportRetry = 3600
	// oldReportInterval is how often the leader looks for reports that are too old.
	oldReportInterval = time.Hour
)

// Report stores a report for the operators, with what the signature of the message
// proves. If the reported user is of another site, it is passed on to that site in
// the background.
func (u *Connection) Report(ctx context.Context, q protocol.Report) error {
	r := u.r
	if !r.config.Table.HasReports() { // an older node could not read the change
		return protocol.Errorf(protocol.StatusUnavailable, "the site is being upgraded; reports can be made once all nodes are upgraded")
	}
	report := &store.Report{
		Reporter: q.By, Via: q.Via, Reported: q.About, Reason: q.Reason, MessageID: q.ID, Text: q.Text, Entity: q.Entity,
	}
	if err := r.checkReportShare(report); err != nil {
		return err
	}
	report.Signature, report.KeyID = u.examine(ctx, &q)
	res, err := r.proposeChange(ctx, &storev1.Change{Kind: &storev1.Change_AddReport{AddReport: &storev1.AddReport{Report: report.Proto()}}})
	if err != nil {
		return err
	}
	if r.isRemotePair(pair{by: q.By, of: q.About}) {
		r.running.Go(func() { r.passReportOn(res.Report, q) })
	}
	return nil
}

// checkReportShare refuses a report that the site would refuse as far as this node
// knows, before it is sent to all nodes. Here, all domains below one registrable
// domain have one share.
func (r *Router) checkReportShare(q *store.Report) error {
	registrable := netaddr.Registrable(q.Via)
	isSame := func(via string) bool {
		return strings.HasSuffix(via, registrable) && netaddr.Registrable(via) == registrable
	}
	if res := r.config.Table.View().CheckReportShare(q, isSame); res.Refusal != store.None {
		return refusalError(res)
	}
	return nil
}

// examine returns what the signature of a reported message proves, and the key
// that signed it.
func (u *Connection) examine(ctx context.Context, q *protocol.Report) (protocol.Evidence, string) {
	switch {
	case q.Entity == nil:
		return protocol.EvidenceNone, ""
	case !signature.HasSignature(q.Entity):
		return protocol.EvidenceUnsigned, ""
	}
	claims, signer, err := signature.ClaimsOf(q.Entity)
	if err != nil || claims.Time.After(time.Now().Add(signature.MaxSkew)) {
		return protocol.EvidenceBad, ""
	}
	keys, head, err := u.keysOfReported(ctx, q)
	if err != nil {
		return protocol.EvidenceUnchecked, ""
	}
	about := q.About.String()
	list, err := signature.NewKeyList(about, keys, head)
	if err != nil {
		return protocol.EvidenceUnchecked, ""
	}
	if _, listed := list.Key(signer); !listed && !u.r.Local(q.About) {
		return protocol.EvidenceUnchecked, "" // who is reported may forbid the reporter to see their keys
	}
	m := signature.Message{From: about, Recipient: q.By.String(), ID: q.ID, Time: claims.Time, Entity: q.Entity, SameUser: sameUser}
	if m.ID == "" {
		m.ID = claims.ID
	}
	if v := signature.Classify(m, list, signature.Knowledge{}); v.State == signature.Signed {
		return protocol.EvidenceVerified, v.KeyID
	}
	return protocol.EvidenceBad, ""
}

// sameUser reports whether two addresses differ in case alone.
func sameUser(a, b string) bool {
	first, err := protocol.ParseAddress(a)
	if err != nil {
		return false
	}
	second, err := protocol.ParseAddress(b)
	return err == nil && first.CaseFold() == second.CaseFold()
}

// keysOfReported returns the keys of a reported user, for which their site may be
// asked.
func (u *Connection) keysOfReported(ctx context.Context, q *protocol.Report) ([]signature.Key, signature.Head, error) {
	r := u.r
	if r.Local(q.About) {
		keys, head := r.keysOf(q.About)
		return keys, head, nil
	}
	if !r.isRemotePair(pair{by: q.By, of: q.About}) {
		return nil, signature.Head{}, errors.New("no site to ask")
	}
	ctx, cancel := context.WithTimeout(ctx, protocol.ReportTimeout)
	defer cancel()
	return r.config.Relay.Keys(ctx, protocol.KeysRequest{By: q.By, Of: q.About, Fresh: true})
}

// passReportOn passes a report on to the reported user's site, and records how it
// answered.
func (r *Router) passReportOn(id uint64, q protocol.Report) {
	ctx, cancel := context.WithTimeout(r.ctx, protocol.RequestTimeout)
	defer cancel()
	mark := &storev1.MarkReportPassedOn{Id: id, Status: uint32(protocol.StatusOK)}
	if err := r.config.Relay.Report(ctx, q); err != nil {
		mark.Status, mark.Text = uint32(protocol.StatusRemoteFailure), err.Error()
		var refused *protocol.Error
		if errors.As(err, &refused) {
			mark.Status, mark.Text = uint32(refused.Status), refused.Text
		}
	}
	ctx, cancel = context.WithTimeout(r.ctx, protocol.RequestTimeout)
	defer cancel()
	_, _ = r.directory.Propose(ctx, &storev1.Change{Kind: &storev1.Change_MarkReportPassedOn{MarkReportPassedOn: mark}})
}

// dropOldReports removes reports after store.ReportLife while this node leads, until
// the router shuts down.
func (r *Router) dropOldReports() {
	tick := time.NewTicker(oldReportInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			r.dropReportsBefore(time.Now().Add(-store.ReportLife))
		case <-r.ctx.Done():
			return
		}
	}
}

func (r *Router) dropReportsBefore(end time.Time) {
	oldest := r.config.Table.View().OldestReport()
	if oldest.IsZero() || !oldest.Before(end) || r.config.Leads == nil || !r.config.Leads() {
		return
	}
	ctx, cancel := context.WithTimeout(r.ctx, protocol.RequestTimeout)
	defer cancel()
	_, err := r.directory.Propose(ctx, &storev1.Change{Kind: &storev1.Change_DropReports{DropReports: &storev1.DropReports{BeforeMs: end.UnixMilli()}}})
	if err != nil && r.ctx.Err() == nil {
		r.config.Logger.Warn("old reports could not be removed", "error", err)
	}
}
