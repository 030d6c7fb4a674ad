package api

import (
	"context"
	"log/slog"
	"strings"
	"sync"

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
func (r *record) write(l *slog.Logger, who, path string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	attrs := []any{
		slog.String("who", who),
		slog.String("what", strings.TrimPrefix(path, "/simp.v1.")),
		slog.String("whom", r.whom),
		slog.String("outcome", status.Code(err).String()),
	}
	if err != nil {
		attrs = append(attrs, slog.String("why", status.Convert(err).Message()))
	}
	l.Info("audit", slog.Group("audit", attrs...))
}
