package store

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"

	"google.golang.org/protobuf/proto"

	storev1 "simpd/proto/simp/store/v1"
)

// The formats of a snapshot. Before schema 2 a site may have nodes that can
// read only format 1.
const (
	snapshotMagic = "SIMPSNAP"
	formatWhole   = 1 // each event has the whole listener, the oldest event first
	formatUndo    = 2 // each event has the difference from the next, the newest first
	schemaOfUndos = 2
	eventsAtOnce  = 256 // batch size of format 1
)

// Snapshot is a table at one index with its events. Making one takes constant
// time, and it can be written while the table changes.
type Snapshot struct {
	view View
	ring ringSpan
}

// Snapshot returns the current table.
func (t *Table) Snapshot() *Snapshot {
	t.mu.Lock()
	defer t.mu.Unlock()
	return &Snapshot{view: t.viewLocked(), ring: t.ring.ringSpan}
}

// View returns the table that was captured.
func (s *Snapshot) View() View { return s.view }

// WriteTo writes the snapshot record by record (see store.proto).
func (s *Snapshot) WriteTo(w io.Writer) (int64, error) {
	rw := &recordWriter{w: bufio.NewWriterSize(w, 64<<10)}
	rw.write([]byte(snapshotMagic))
	rw.writeRecord(&storev1.Record{Kind: &storev1.Record_Header{Header: s.header()}})
	s.view.nodes.Scan(func(_ string, n *Node) bool { return rw.writeRecord(nodeProto(n)) })
	s.view.removed.Scan(func(_ string, r *RemovedNode) bool { return rw.writeRecord(removedNodeProto(r)) })
	s.view.accounts.ascend("", func(_ string, a *Account) bool { return rw.writeRecord(accountProto(a)) })
	s.view.rules.ascend("", func(owner string, l *ACL) bool { return rw.writeRecord(RulesRecord(owner, l.rules)) })
	s.view.contacts.ascend("", func(owner string, c []Contact) bool { return rw.writeRecord(ContactsRecord(owner, c)) })
	s.view.invitations.Scan(func(_ string, i *Invitation) bool { return rw.writeRecord(i.Record()) })
	s.view.Blocks("", func(b *Block) bool { return rw.writeRecord(b.Record()) })
	s.view.sealed.Scan(func(_ string, v *SealedValue) bool { return rw.writeRecord(v.record()) })
	s.view.groups.Scan(func(_ string, g *ContactGroup) bool { return rw.writeRecord(g.Record()) })
	if s.view.console != nil {
		rw.writeRecord(consoleRecord(s.view.console))
	}
	s.view.Reports(0, func(r *Report) bool { return rw.writeRecord(r.Record()) })
	var l Listener
	s.view.listeners.ascend("", func(p packed) bool {
		p.unpackInto(&l)
		return rw.writeRecord(&storev1.Record{Kind: &storev1.Record_Listener{Listener: listenerProto(&l)}})
	})
	s.writeEvents(rw)
	rw.writeRecord(&storev1.Record{Kind: &storev1.Record_Trailer{Trailer: &storev1.Trailer{Records: rw.records, Crc32C: rw.crc}}})
	return rw.finish()
}

// format returns the newest format that all nodes of the site can read.
func (s *Snapshot) format() uint32 {
	if s.view.schema < schemaOfUndos {
		return formatWhole
	}
	return formatUndo
}

func (s *Snapshot) header() *storev1.Header {
	return &storev1.Header{
		Format: s.format(), Schema: s.view.schema, History: s.view.history, Index: s.view.index,
		Secret: s.view.secret, HistoryFloor: s.ring.floor, Restoring: s.view.restoring,
	}
}

// recordWriter writes records, counts them and computes their checksum. After
// an error it writes nothing more.
type recordWriter struct {
	w       *bufio.Writer
	buf     []byte
	records uint64
	crc     uint32
	n       int64
	err     error
}

// writeRecord writes a record and reports whether to continue.
func (w *recordWriter) writeRecord(r *storev1.Record) bool {
	w.buf = binary.AppendUvarint(w.buf[:0], uint64(proto.Size(r)))
	var err error
	if w.buf, err = (proto.MarshalOptions{UseCachedSize: true}).MarshalAppend(w.buf, r); err != nil {
		w.err = fmt.Errorf("encoding a record: %w", err)
		return false
	}
	w.write(w.buf)
	w.records++
	return w.err == nil
}

func (w *recordWriter) write(b []byte) {
	if w.err != nil {
		return
	}
	w.crc = crc32.Update(w.crc, castagnoli, b)
	n, err := w.w.Write(b)
	w.n, w.err = w.n+int64(n), err
}

func (w *recordWriter) finish() (int64, error) {
	if w.err == nil {
		w.err = w.w.Flush()
	}
	if w.err != nil {
		return w.n, fmt.Errorf("writing a snapshot: %w", w.err)
	}
	return w.n, nil
}

func nodeProto(n *Node) *storev1.Record {
	return &storev1.Record{Kind: &storev1.Record_Node{Node: &storev1.Node{
		Node: n.ID, Epoch: n.Epoch, Down: n.Down, Draining: n.Draining, Incarnation: n.Incarnation, Version: n.Version,
		MinSchema: n.MinSchema, MaxSchema: n.MaxSchema, Dirty: n.NeedsReap, Reaped: n.reapedThrough,
		Certificate: fingerprintsToBytes(n.Certificates),
	}}}
}

func accountProto(a *Account) *storev1.Record {
	return &storev1.Record{Kind: &storev1.Record_Account{Account: &storev1.Account{
		Address: a.Address.String(), Disabled: a.Disabled, Credential: a.Credential, Exclusive: a.Exclusive,
		CreatedMs: a.Created.UnixMilli(), LastDisabled: a.LastDisabled, AppPassword: a.AppPasswordRecords(), Key: a.KeyRecords(),
		Source: a.Source(), LeftSource: a.HasLeftSource(),
		Verifier: VerifierProto(&a.Verifier),
	}}}
}

func listenerProto(l *Listener) *storev1.Listener {
	r := &storev1.Listener{
		Address: l.Address.String(), SinceMs: l.Since.UnixMilli(), Index: l.Index, Binding: make([]*storev1.Binding, len(l.Bindings)),
	}
	for i := range l.Bindings {
		b := &l.Bindings[i]
		r.Binding[i] = &storev1.Binding{
			Session: SessionProto(b.Session),
			Epoch:   b.Epoch, State: StateProto(b.State), Note: b.Note, SinceMs: b.Since.UnixMilli(),
			Index: b.Index, Bound: b.Bound, Agent: b.Agent, Client: b.Client,
		}
	}
	return r
}
