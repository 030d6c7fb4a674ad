package store

import (
	"slices"
	"strings"
	"time"

	storev1 "simpd/proto/simp/store/v1"
	"simpd/protocol"
)

// Report is what a user has reported to the operators. It must not be changed.
type Report struct {
	ID       uint64 // unique in the site, never used again
	Index    uint64 // of the newest change of the report
	Reporter protocol.Address
	Via      string // the domain whose site passed the report on; "": the reporter is of this site
	Reported protocol.Address
	Reason   protocol.ReportReason

	MessageID string
	Text      string
	Entity    []byte // the message as it was received; nil: none was given
	Signature protocol.Evidence
	KeyID     string // of the key that signed the entity, if Signature is EvidenceVerified

	Created    time.Time
	Resolved   time.Time // zero: not yet
	ResolvedBy string
	Resolution string // what was done, for other operators

	PassedOn     protocol.Status // how the reported user's site answered; 0: it was not asked
	PassedOnText string
}

// reportSchema is the first schema with reports.
const reportSchema = 5

// HasReports reports whether the log may hold reports.
func (t *Table) HasReports() bool { return t.Schema() >= reportSchema }

// Reports calls yield for each report from that ID on, in the order of IDs, until
// yield returns false.
func (v View) Reports(from uint64, yield func(*Report) bool) {
	v.reports.Ascend(from, func(_ uint64, r *Report) bool { return yield(r) })
}

// ReportsBackward calls yield for each report from that ID down, the newest first,
// until yield returns false.
func (v View) ReportsBackward(from uint64, yield func(*Report) bool) {
	v.reports.Descend(from, func(_ uint64, r *Report) bool { return yield(r) })
}

// Report returns the report with that ID; nil if there is none.
func (v View) Report(id uint64) *Report {
	r, _ := v.reports.Get(id)
	return r
}

// ReportsIndex returns the index of the newest change of reports.
func (v View) ReportsIndex() uint64 { return v.reportsIndex }

func (r *Report) isValid() bool {
	return validAddress(r.Reporter.String()) && validAddress(r.Reported.String()) && r.Reason.IsValid() && len(r.Via) <= maxAddress &&
		len(r.MessageID) <= maxName && len(r.Text) <= protocol.MaxLine && len(r.Entity) <= protocol.MaxEntity && len(r.KeyID) <= maxName &&
		len(r.ResolvedBy) <= maxName && len(r.Resolution) <= protocol.MaxLine && len(r.PassedOnText) <= protocol.MaxLine &&
		!strings.ContainsAny(r.Via, "\x00\r\n") && r.Signature <= protocol.EvidenceUnchecked
}

// addReport stores a report.
func (t *Table) addReport(c *storev1.AddReport) Result {
	if t.current.schema < reportSchema {
		return refuse(WrongSchema, "the site's schema is %d", t.current.schema)
	}
	if t.current.restoring != 0 {
		return refuse(Restoring, "the accounts are being restored")
	}
	added := reportFromProto(c.GetReport())
	added.Created, added.Index = t.batchTime, t.nextIndex()
	added.ID = max(t.nextIndex(), t.newestReport()+1) // higher after a restore from a backup
	if !added.isValid() {
		return refuse(Malformed, "a report without a reporter, a reported user or a reason, or that is too long")
	}
	isSame := func(via string) bool { return via == added.Via } // which nodes of all versions find
	if r := t.current.CheckReportShare(added, isSame); r.Refusal != None {
		return r
	}
	t.current.setReport(added)
	t.current.evictReports(added.ID)
	r := t.commitReports(added.octets())
	r.Report = added.ID
	return r
}

// newestReport returns the highest ID of the reports; 0 if there are none.
func (t *Table) newestReport() uint64 {
	id, _, _ := t.current.reports.Max()
	return id
}

func (v *View) setReport(r *Report) {
	old, replaced := v.reports.Set(r.ID, r)
	v.reportOctets += r.octets()
	if replaced {
		v.reportOctets -= old.octets()
	}
}

func (v *View) deleteReport(id uint64) bool {
	old, ok := v.reports.Delete(id)
	if ok {
		v.reportOctets -= old.octets()
	}
	return ok
}

// commitReports commits a change of reports.
func (t *Table) commitReports(octets int) Result {
	r := t.commitEvent(entry{kind: EventReports, list: octets})
	t.current.reportsIndex = t.current.index
	return r
}

// changeReport replaces a report by a changed copy.
func (t *Table) changeReport(id uint64, change func(*Report)) Result {
	old := t.current.Report(id)
	if old == nil {
		return refuse(NoReport, "there is no report %d", id)
	}
	r := *old
	change(&r)
	r.Index = t.nextIndex()
	if !r.isValid() {
		return refuse(Malformed, "a text about a report is too long")
	}
	t.current.setReport(&r)
	t.current.evictReports(id) // the texts about it may be longer
	return t.commitReports(old.octets())
}

// resolveReport records that operators have dealt with a report. Another text
// replaces the first.
func (t *Table) resolveReport(c *storev1.ResolveReport) Result {
	if old := t.current.Report(c.GetId()); old != nil && !old.Resolved.IsZero() && old.Resolution == c.GetResolution() {
		return Result{}
	}
	return t.changeReport(c.GetId(), func(r *Report) {
		if r.Resolved.IsZero() {
			r.Resolved = t.batchTime
		}
		r.ResolvedBy, r.Resolution = c.GetBy(), c.GetResolution()
	})
}

// markReportPassedOn records how another site answered a report.
func (t *Table) markReportPassedOn(c *storev1.MarkReportPassedOn) Result {
	return t.changeReport(c.GetId(), func(r *Report) {
		r.PassedOn, r.PassedOnText = protocol.Status(c.GetStatus()), c.GetText()
	})
}

// dropReports removes reports that were made before a time.
func (t *Table) dropReports(c *storev1.DropReports) Result {
	var old []uint64
	t.current.reports.Scan(func(id uint64, r *Report) bool {
		if r.Created.Before(fromMilli(c.GetBeforeMs())) {
			old = append(old, id)
		}
		return true
	})
	for _, id := range old {
		t.current.deleteReport(id)
	}
	if len(old) == 0 {
		return Result{}
	}
	return t.commitReports(len(old) * reportSize)
}

// OldestReport returns when the oldest report was made; the zero time if there is
// none.
func (v View) OldestReport() (oldest time.Time) {
	v.reports.Scan(func(_ uint64, r *Report) bool {
		if oldest.IsZero() || r.Created.Before(oldest) {
			oldest = r.Created
		}
		return true
	})
	return oldest
}

// Record returns the report as the log, snapshots and backups hold it.
func (r *Report) Record() *storev1.Record {
	return &storev1.Record{Kind: &storev1.Record_Report{Report: r.Proto()}}
}

// Proto returns the report as the log has it.
func (r *Report) Proto() *storev1.Report {
	return &storev1.Report{
		Id: r.ID, Index: r.Index, Reporter: r.Reporter.String(), Via: r.Via, Reported: r.Reported.String(), Reason: uint32(r.Reason),
		MessageId: r.MessageID, Text: r.Text, Entity: r.Entity, Signature: uint32(r.Signature), KeyId: r.KeyID,
		CreatedMs: milliOrZero(r.Created), ResolvedMs: milliOrZero(r.Resolved), ResolvedBy: r.ResolvedBy, Resolution: r.Resolution,
		PassedOn: uint32(r.PassedOn), PassedOnText: r.PassedOnText,
	}
}

func reportFromProto(p *storev1.Report) *Report {
	r := &Report{
		ID: p.GetId(), Index: p.GetIndex(), Reporter: protocol.CanonicalAddress(p.GetReporter()), Via: p.GetVia(),
		Reported: protocol.CanonicalAddress(p.GetReported()), Reason: protocol.ReportReason(p.GetReason()),
		MessageID: p.GetMessageId(), Text: p.GetText(), Entity: p.GetEntity(), Signature: protocol.Evidence(p.GetSignature()), KeyID: p.GetKeyId(),
		Created: fromMilli(p.GetCreatedMs()), ResolvedBy: p.GetResolvedBy(), Resolution: p.GetResolution(),
		PassedOn: protocol.Status(p.GetPassedOn()), PassedOnText: p.GetPassedOnText(),
	}
	if p.GetResolvedMs() != 0 {
		r.Resolved = fromMilli(p.GetResolvedMs())
	}
	return r
}

// addReport restores a report from a snapshot. It accepts more reports than the
// table admits: the limits are for new ones.
func (b *restorer) addReport(record *storev1.Report) error {
	r := reportFromProto(record)
	if err := b.checkNumber(partReports, r.ID); err != nil {
		return err
	}
	if !r.isValid() || b.view.schema < reportSchema || r.ID > 2*maxIndex || r.Index > b.view.index {
		return corrupt("the report %d", r.ID)
	}
	b.view.reports.Load(r.ID, r)
	b.view.reportOctets += r.octets()
	b.view.reportsIndex = max(b.view.reportsIndex, r.Index)
	return nil
}

// restoreReport adds a report of a backup. Before schema 5 it ignores reports. It
// reports whether the record is in order: the ID has to leave room for higher
// ones.
func (v *View) restoreReport(record *storev1.Report, index uint64) bool {
	r := reportFromProto(record)
	r.Index = index
	ok := r.isValid() && r.ID > 0 && r.ID <= maxIndex
	if ok && v.schema >= reportSchema {
		v.setReport(r)
	}
	return ok
}

// addReports hashes reports. A table without any, as before schema 5, keeps its
// old hash.
func (d *digester) addReports(v View) {
	v.Reports(0, func(r *Report) bool {
		d.addNumbers(r.ID, r.Index, uint64(r.Reason), uint64(r.Signature), uint64(milliOrZero(r.Created)), uint64(milliOrZero(r.Resolved)), uint64(r.PassedOn))
		for _, s := range slices.Concat([]string{"report " + r.Reporter.String()}, []string{
			r.Via, r.Reported.String(), r.MessageID, r.Text, string(r.Entity), r.KeyID, r.ResolvedBy, r.Resolution, r.PassedOnText,
		}) {
			d.addString(s)
		}
		return true
	})
}
