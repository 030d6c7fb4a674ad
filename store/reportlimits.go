package store

import "time"

// The limits on reports. Each reporter, and each domain that passes reports on,
// has a share.
const (
	MaxReports      = 10_000
	maxReportOctets = 32 << 20

	maxUserReports      = 100
	maxUserReportOctets = 1 << 20
	domainReportFactor  = 10 // the share of a domain, in shares of one user

	// reportSize is what a report without its texts counts as. It decides what is
	// replicated, and so does not depend on the platform or the version.
	reportSize = 384

	// ReportLife is how long a report is kept.
	ReportLife = 30 * 24 * time.Hour
)

// party returns whose share the report takes.
func (r *Report) party() string {
	if r.Via != "" {
		return r.Via
	}
	return r.Reporter.String()
}

// octets is the memory that a report takes in the limits on reports.
func (r *Report) octets() int {
	return reportSize + len(r.Entity) + len(r.Text) + len(r.Reporter.String()) + len(r.Reported.String()) + len(r.Resolution) + len(r.PassedOnText)
}

// CheckReportShare refuses a report of somebody whose share is used up. Reports
// that are resolved do not count. The reports that domains passed on for which
// isSame returns true count as passed on by the same domain.
func (v View) CheckReportShare(added *Report, isSame func(via string) bool) Result {
	n, octets := 0, added.octets()
	v.reports.Scan(func(_ uint64, r *Report) bool {
		if r.Resolved.IsZero() && (r.party() == added.party() || r.Via != "" && added.Via != "" && isSame(r.Via)) {
			n, octets = n+1, octets+r.octets()
		}
		return true
	})
	factor := 1
	if added.Via != "" {
		factor = domainReportFactor
	}
	if n >= factor*maxUserReports || octets > factor*maxUserReportOctets {
		return refuse(TooManyReports, "there are %d reports of %s that operators have not looked at", n, added.party())
	}
	return Result{}
}

// evictReports removes reports until the rest are within the limits. It keeps the
// report with that ID.
func (v *View) evictReports(kept uint64) {
	for v.reports.Len() > MaxReports || v.reportOctets > maxReportOctets {
		if !v.deleteReport(v.leastReport(kept)) {
			return // it is the only one
		}
	}
}

// leastReport returns the report that makes room for others: the oldest that is
// resolved, and without one the oldest of those who have reported most, in octets
// if it is octets that are lacking. It never returns kept; 0 if there is no other.
func (v *View) leastReport(kept uint64) uint64 {
	resolved, used := uint64(0), map[string]int{}
	v.reports.Scan(func(id uint64, r *Report) bool {
		switch {
		case id == kept:
		case !r.Resolved.IsZero():
			resolved = id
		case v.reportOctets > maxReportOctets:
			used[r.party()] += r.octets()
		default:
			used[r.party()]++
		}
		return resolved == 0
	})
	if resolved != 0 {
		return resolved
	}
	most, least := 0, uint64(0)
	for _, n := range used {
		most = max(most, n)
	}
	v.reports.Scan(func(id uint64, r *Report) bool {
		if id != kept && used[r.party()] == most {
			least = id
		}
		return least == 0
	})
	return least
}
