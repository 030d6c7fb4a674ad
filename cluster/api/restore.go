package api

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"simpd/cluster/api/backup"
	storev1 "simpd/proto/simp/store/v1"
	simpv1 "simpd/proto/simp/v1"
	"simpd/protocol"
	"simpd/store"
)

// Sizes of a restore.
const (
	maxPiece    = 512 << 10 // octets of a request's data
	restoreSize = 48 << 10  // octets of records proposed at once
)

// Restore replaces accounts, rules, contacts, invitations and operators' blocks by
// a backup's. The file is kept aside until it has come whole and is sound; only then the site changes.
func (s *clusterService) Restore(stream grpc.ClientStreamingServer[simpv1.RestoreRequest, simpv1.RestoreResponse]) error {
	file, err := os.CreateTemp(s.TempDir, "simp-restore-*")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	defer file.Close()
	allowEmpty, err := receiveFile(stream, file)
	if err != nil {
		return err
	}
	contents, err := s.verifyBackup(file)
	setAuditTarget(stream.Context(), fmt.Sprintf("%s/%d, %d accounts", contents.History, contents.Index, contents.Accounts))
	if err != nil {
		return err
	}
	if contents.Accounts == 0 && !allowEmpty {
		return errEmptyBackup
	}
	// From here on it is better to come to the end than to be left half done.
	at, err := s.proposeRestore(context.WithoutCancel(stream.Context()), file, contents)
	if err != nil {
		return err
	}
	return stream.SendAndClose(&simpv1.RestoreResponse{
		Position: at, Accounts: contents.Accounts, Rules: contents.Rules, Contacts: contents.Contacts,
		Invitations: contents.Invitations, Blocks: contents.Blocks, Reports: contents.Reports,
	})
}

// receiveFile writes the pieces of the file, and returns whether it may hold no
// accounts.
func receiveFile(stream grpc.ClientStreamingServer[simpv1.RestoreRequest, simpv1.RestoreResponse], w io.Writer) (allowEmpty bool, err error) {
	var offset uint64
	for {
		r, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return allowEmpty, nil
		}
		if err != nil {
			return false, err
		}
		if err := checkPiece(r, offset); err != nil {
			return false, err
		}
		if _, err := w.Write(r.Data); err != nil {
			return false, err
		}
		allowEmpty = allowEmpty || r.AllowEmpty
		offset += uint64(len(r.Data))
	}
}

func checkPiece(r *simpv1.RestoreRequest, offset uint64) error {
	f := &fields{}
	if r.Offset != offset {
		f.addViolation("offset", "is %d; the next piece is that of %d", r.Offset, offset)
	}
	if len(r.Data) > maxPiece {
		f.addViolation("data", "has %d octets; at most %d", len(r.Data), maxPiece)
	}
	if r.Crc32C != backup.Sum(r.Data) {
		f.addViolation("crc32c", "is not that of data")
	}
	return f.err()
}

// verifyBackup reads the file through: its checksum, that the table takes every
// record with all that it holds, and that every user in it may be one.
func (s *clusterService) verifyBackup(file *os.File) (c backup.Contents, err error) {
	f := &fields{domains: s.Domains}
	b, err := reopenBackup(file)
	if err != nil {
		return c, damagedBackup(err)
	}
	c = backup.Contents{History: b.Header.History, Index: b.Header.Index}
	schema, needed := s.Table.Schema(), uint32(0) // the site's may only rise meanwhile
	for {
		r, err := b.Next()
		if errors.Is(err, io.EOF) {
			return c, cmp.Or(f.err(), checkSchema(schema, needed))
		}
		if err == nil {
			err = c.Add(r)
		}
		if err == nil {
			err = store.CheckBackupRecord(r)
		}
		if err != nil {
			return c, damagedBackup(err)
		}
		if needed < store.NewestSchema && schema < store.NewestSchema {
			needed = max(needed, store.NeededSchema(r))
		}
		if a := r.GetAccount(); a != nil {
			f.restoredUser(fmt.Sprintf("data: account %d", c.Accounts), a.Address)
		}
	}
}

// checkSchema refuses a backup of which the site, at its schema, would lose
// something.
func checkSchema(schema, needed uint32) error {
	if schema >= needed {
		return nil
	}
	return statusWithDetails(codes.FailedPrecondition, fmt.Sprintf(
		"the backup holds what needs schema %d of the log, such as app passwords, keys or invitations, and the site's schema is %d, so it would be lost; "+
			"nothing was changed. Upgrade all nodes (simpctl upgrade check), wait until simpctl status shows schema %d, about a minute later, and restore then", needed, schema, needed),
		reasonRefused.errorInfo())
}

// restoredUser checks the address of a user of this site, who would not be found
// if it were not in canonical form.
func (f *fields) restoredUser(field, value string) {
	if a := f.localUser(field, value); !a.IsZero() && a.String() != value {
		f.addViolation(field, "%s is not in canonical form, which is %s", protocol.Quote(value), a)
	}
}

func damagedBackup(err error) error {
	f := &fields{}
	f.addViolation("data", "%s", textWithoutStatus(err))
	return f.err()
}

func reopenBackup(file *os.File) (*backup.Reader, error) {
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	return backup.NewReader(file)
}

// proposeRestore proposes the records, and then the new history.
func (s *clusterService) proposeRestore(ctx context.Context, file *os.File, c backup.Contents) (*simpv1.Position, error) {
	b, err := reopenBackup(file)
	if err != nil {
		return nil, damagedBackup(err)
	}
	if err := s.restoreRecords(ctx, b); err != nil {
		return nil, err
	}
	setDone(ctx, "the accounts are restored, but the history is not a new one; repeat the restore")
	history := newHistory(c.Index)
	at, err := s.proposeEverywhere(ctx, &storev1.Change{Kind: &storev1.Change_NewHistory{NewHistory: history}})
	if err != nil {
		return nil, err
	}
	at.History = history.History
	return at, nil
}

// restoreRecords proposes all records in pieces. The last is marked, so each
// waits until the next is known.
func (s *clusterService) restoreRecords(ctx context.Context, b *backup.Reader) error {
	piece, size := &storev1.RestoreAccounts{First: true}, 0
	for {
		r, err := b.Next()
		if errors.Is(err, io.EOF) {
			piece.Last = true
			return s.restorePiece(ctx, piece)
		}
		if err != nil {
			return damagedBackup(err)
		}
		if size += proto.Size(r); size > restoreSize && len(piece.Record) > 0 {
			if err := s.restorePiece(ctx, piece); err != nil {
				return err
			}
			piece, size = &storev1.RestoreAccounts{}, proto.Size(r)
		}
		piece.Record = append(piece.Record, r)
	}
}

func (s *clusterService) restorePiece(ctx context.Context, piece *storev1.RestoreAccounts) error {
	_, err := s.proposeChanges(ctx, &storev1.Change{Kind: &storev1.Change_RestoreAccounts{RestoreAccounts: piece}})
	if err == nil || errors.Is(err, store.ErrUnknown) {
		setDone(ctx, "the accounts are restored in part, and no user can listen; repeat the restore")
	}
	return err
}

// newHistory names a history that never was, with a secret of its own: what
// was promised under the old one is void.
func newHistory(index uint64) *storev1.NewHistory {
	name, secret := make([]byte, 8), make([]byte, 32)
	rand.Read(name)
	rand.Read(secret)
	return &storev1.NewHistory{History: hex.EncodeToString(name), Secret: secret, Index: index}
}
