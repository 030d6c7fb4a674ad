package api

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/status"
)

// record describes, in the log, a call that changes something.
type record struct {
	mu   sync.Mutex
	whom string
}

type recordKey struct{}

// setAuditTarget says on whom or what the call of ctx acts.
func setAuditTarget(ctx context.Context, whom string) {
	if r, ok := ctx.Value(recordKey{}).(*record); ok {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.whom = whom
	}
}

// write logs the record: who, what, on whom, outcome. No password and no
// token is ever part of it.
func (r *record) write(g *gate, who *caller, path string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	g.writeAudit(AuditRecord{
		Who: who.name, Via: who.via, What: strings.TrimPrefix(path, "/simp.v1."), Whom: r.whom,
		Outcome: status.Code(err).String(), Why: status.Convert(err).Message(),
	})
}

// AuditRecord describes an act of an operator or a program that changes
// something, or that was refused.
type AuditRecord struct {
	Time    time.Time
	Who     string // the name in the certificate or the token
	Via     string // "console", or empty: gRPC
	What    string // the service and the method
	Whom    string // on whom or what
	Outcome string // a code of gRPC, such as OK
	Why     string // of an outcome other than OK
}

// writeAudit logs a record and keeps it for a while.
func (g *gate) writeAudit(r AuditRecord) {
	r.Time = time.Now()
	g.audit.add(r)
	attrs := []any{
		slog.String("who", r.Who),
		slog.String("what", r.What),
		slog.String("whom", r.Whom),
		slog.String("outcome", r.Outcome),
	}
	if r.Via != "" {
		attrs = append(attrs, slog.String("via", r.Via))
	}
	if r.Why != "" {
		attrs = append(attrs, slog.String("why", r.Why))
	}
	g.logger.Info("audit", slog.Group("audit", attrs...))
}

// Audit writes a record of an act that is not a call, such as to sign in to the
// console. It fills in the time.
func (s *Server) Audit(r AuditRecord) { s.gate.writeAudit(r) }

// RecentAudit returns the newest records of this process, the oldest first: at
// most maxAudit, and at most maxAuditOctets of them.
func (s *Server) RecentAudit() []AuditRecord { return s.gate.audit.list() }

// Limits of what is kept of the audit log in memory. The log itself has all.
const (
	maxAudit       = 500
	maxAuditOctets = 256 << 10
	maxAuditText   = 1024 // octets of one field
)

// recentAudit keeps the newest records. Methods may be called from any
// goroutine.
type recentAudit struct {
	mu      sync.Mutex
	records []AuditRecord
	octets  int
}

func (a *recentAudit) add(r AuditRecord) {
	for _, field := range []*string{&r.Who, &r.What, &r.Whom, &r.Why} {
		if len(*field) > maxAuditText {
			*field = strings.ToValidUTF8((*field)[:maxAuditText], "") + "…"
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.records = append(a.records, r)
	a.octets += r.size()
	for len(a.records) > maxAudit || a.octets > maxAuditOctets {
		a.octets -= a.records[0].size()
		a.records[0] = AuditRecord{}
		a.records = a.records[1:]
	}
}

func (a *recentAudit) list() []AuditRecord {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]AuditRecord(nil), a.records...)
}

// size returns about how many octets the record takes.
func (r *AuditRecord) size() int {
	return 128 + len(r.Who) + len(r.Via) + len(r.What) + len(r.Whom) + len(r.Outcome) + len(r.Why)
}
