package api

import (
	"bufio"
	"fmt"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"simpd/cluster/api/backup"
	storev1 "simpd/proto/simp/store/v1"
	simpv1 "simpd/proto/simp/v1"
	"simpd/protocol"
	"simpd/store"
)

// chunkSize is the number of octets of a backup in one response.
const chunkSize = 256 << 10

// errEmptyBackup protects from a backup that would empty the site when it is
// restored.
var errEmptyBackup = statusWithDetails(codes.FailedPrecondition, "the backup would hold no accounts; it is made and restored only with allow_empty (simpctl: --allow-empty)", reasonEmptyBackup.errorInfo())

// Backup sends the site's accounts, rules, contacts, invitations, operators'
// blocks, groups and reports as one view of the table has them: the site works on meanwhile. Who reads too slowly while much
// is changed is sent away, as the copy of the table keeps what was changed.
func (s *clusterService) Backup(r *simpv1.BackupRequest, stream grpc.ServerStreamingServer[simpv1.BackupResponse]) error {
	v, err := s.tableView(stream.Context(), false)
	if err != nil {
		return err
	}
	if accounts, _ := v.Len(); accounts == 0 && !r.AllowEmpty {
		return errEmptyBackup
	}
	setAuditTarget(stream.Context(), fmt.Sprintf("%s/%d", v.History(), v.Index()))
	out := &chunkWriter{stream: stream}
	defer s.endSlowBackup(stream.Context(), v, out.sent.Load)()
	chunks := bufio.NewWriterSize(out, chunkSize)
	w, err := backup.NewWriter(chunks, &storev1.Header{Schema: v.Schema(), History: v.History(), Index: v.Index()})
	if err != nil {
		return err
	}
	v.Accounts(protocol.Address{}, func(a *store.Account) bool {
		err = writeUser(w, v, a)
		return err == nil
	})
	if err != nil {
		return err
	}
	for _, i := range v.Invitations() {
		if err := w.Write(i.Record()); err != nil {
			return err
		}
	}
	v.Blocks("", func(b *store.Block) bool {
		if b.Feed == "" {
			err = w.Write(b.Record())
		}
		return err == nil && b.Feed == ""
	})
	if err != nil {
		return err
	}
	for _, g := range v.ContactGroups() {
		if err := w.Write(g.Record()); err != nil {
			return err
		}
	}
	v.Reports(0, func(r *store.Report) bool {
		err = w.Write(r.Record())
		return err == nil
	})
	if err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return chunks.Flush()
}

// writeUser writes an account and what belongs to it.
func writeUser(w *backup.Writer, v store.View, a *store.Account) error {
	records := []*storev1.Record{accountRecord(a)}
	if rules := v.Rules(a.Address); len(rules) > 0 {
		records = append(records, store.RulesRecord(a.Address.String(), rules))
	}
	if contacts := v.Contacts(a.Address); len(contacts) > 0 {
		records = append(records, store.ContactsRecord(a.Address.String(), contacts))
	}
	for _, r := range records {
		if err := w.Write(r); err != nil {
			return err
		}
	}
	return nil
}

func accountRecord(a *store.Account) *storev1.Record {
	return &storev1.Record{Kind: &storev1.Record_Account{Account: &storev1.Account{
		Address:  a.Address.String(),
		Verifier: store.VerifierProto(&a.Verifier),
		Disabled: a.Disabled, Credential: a.Credential, CreatedMs: unixMilliseconds(a.Created),
		AppPassword: a.AppPasswordRecords(), Source: a.Source(), LeftSource: a.HasLeftSource(), Key: a.KeyRecords(),
	}}}
}

func unixMilliseconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// chunkWriter sends what is written as pieces of a file.
type chunkWriter struct {
	stream grpc.ServerStreamingServer[simpv1.BackupResponse]
	sent   atomic.Uint64 // octets, in all
}

// Write sends p as pieces; a response is encoded before Send returns.
func (w *chunkWriter) Write(p []byte) (n int, err error) {
	for n < len(p) {
		piece := p[n:min(n+chunkSize, len(p))]
		if err := w.stream.Send(&simpv1.BackupResponse{Offset: w.sent.Load(), Data: piece, Crc32C: backup.Sum(piece)}); err != nil {
			return n, err
		}
		n += len(piece)
		w.sent.Add(uint64(len(piece)))
	}
	return n, nil
}
