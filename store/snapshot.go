package store

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"

	"google.golang.org/protobuf/proto"

	storev1 "simpd/proto/simp/store/v1"
	"simpd/protocol"
)

const (
	snapshotMagic  = "SIMPSNAP"
	snapshotFormat = 1
)

// Snapshot is a table at one index with the events that it keeps. It is made
// at once and written while the table goes on.
type Snapshot struct {
	view View
	ring ring
}

// Snapshot returns the table as it is now.
func (t *Table) Snapshot() *Snapshot {
	t.mu.Lock()
	defer t.mu.Unlock()
	return &Snapshot{view: t.viewLocked(), ring: t.ring}
}

// View returns the table that the snapshot is of.
func (s *Snapshot) View() View { return s.view }

// WriteTo writes the snapshot, record by record (see store.proto).
func (s *Snapshot) WriteTo(w io.Writer) (int64, error) {
	rw := &recordWriter{w: bufio.NewWriterSize(w, 64<<10)}
	rw.octets([]byte(snapshotMagic))
	rw.record(&storev1.Record{Kind: &storev1.Record_Header{Header: s.header()}})
	s.view.nodes.Scan(func(_ string, n *Node) bool { return rw.record(nodeRecord(n)) })
	s.view.removed.Scan(func(_ string, r *RemovedNode) bool { return rw.record(removedRecord(r)) })
	s.view.accounts.ascend("", func(_ string, a *Account) bool { return rw.record(accountRecord(a)) })
	s.view.rules.ascend("", func(owner string, r []Rule) bool { return rw.record(rulesRecord(owner, r)) })
	s.view.contacts.ascend("", func(owner string, c []Contact) bool { return rw.record(contactsRecord(owner, c)) })
	s.view.listeners.ascend("", func(p packed) bool {
		return rw.record(&storev1.Record{Kind: &storev1.Record_Listener{Listener: listenerRecord(p)}})
	})
	for i := s.ring.floor + 1; i <= s.ring.index; i++ {
		if !rw.record(eventRecord(i, s.ring.at(i))) {
			break
		}
	}
	rw.record(&storev1.Record{Kind: &storev1.Record_Trailer{Trailer: &storev1.Trailer{Records: rw.records, Crc32C: rw.crc}}})
	return rw.end()
}

func (s *Snapshot) header() *storev1.Header {
	return &storev1.Header{
		Format: snapshotFormat, Schema: s.view.schema, History: s.view.history, Index: s.view.index,
		Secret: s.view.secret, HistoryFloor: s.ring.floor, Restoring: s.view.restoring,
	}
}

// recordWriter writes records and counts and sums what it wrote. After an
// error it writes nothing more.
type recordWriter struct {
	w       *bufio.Writer
	buf     []byte
	records uint64
	crc     uint32
	n       int64
	err     error
}

// record tells whether to go on.
func (w *recordWriter) record(r *storev1.Record) bool {
	w.buf = binary.AppendUvarint(w.buf[:0], uint64(proto.Size(r)))
	var err error
	if w.buf, err = (proto.MarshalOptions{UseCachedSize: true}).MarshalAppend(w.buf, r); err != nil {
		w.err = fmt.Errorf("encoding a record: %w", err)
		return false
	}
	w.octets(w.buf)
	w.records++
	return w.err == nil
}

func (w *recordWriter) octets(b []byte) {
	if w.err != nil {
		return
	}
	w.crc = crc32.Update(w.crc, castagnoli, b)
	n, err := w.w.Write(b)
	w.n, w.err = w.n+int64(n), err
}

func (w *recordWriter) end() (int64, error) {
	if w.err == nil {
		w.err = w.w.Flush()
	}
	if w.err != nil {
		return w.n, fmt.Errorf("writing a snapshot: %w", w.err)
	}
	return w.n, nil
}

func nodeRecord(n *Node) *storev1.Record {
	return &storev1.Record{Kind: &storev1.Record_Node{Node: &storev1.Node{
		Node: n.ID, Epoch: n.Epoch, Down: n.Down, Draining: n.Draining, Boot: n.Boot, Version: n.Version,
		MinSchema: n.MinSchema, MaxSchema: n.MaxSchema, Dirty: n.Dirty, Reaped: n.reaped,
		Certificate: fingerprintOctets(n.Certificates),
	}}}
}

func accountRecord(a *Account) *storev1.Record {
	return &storev1.Record{Kind: &storev1.Record_Account{Account: &storev1.Account{
		Address: a.Address.String(), Disabled: a.Disabled, Credential: a.Credential, Exclusive: a.Exclusive,
		CreatedMs: a.Created.UnixMilli(),
		Verifier: &storev1.Verifier{
			Salt: a.Verifier.Salt, Iterations: a.Verifier.Iterations,
			StoredKey: a.Verifier.StoredKey, ServerKey: a.Verifier.ServerKey,
		},
	}}}
}

func rulesRecord(owner string, rules []Rule) *storev1.Record {
	r := &storev1.Rules{Owner: owner, Rule: make([]*storev1.SetRule, len(rules))}
	for i, rule := range rules {
		r.Rule[i] = &storev1.SetRule{
			Pattern: rule.Who.String(), Message: storev1.Permission(rule.Message), Presence: storev1.Permission(rule.Presence),
			Written: rule.Written.String(),
		}
	}
	return &storev1.Record{Kind: &storev1.Record_Rules{Rules: r}}
}

func contactsRecord(owner string, contacts []Contact) *storev1.Record {
	c := &storev1.Contacts{Owner: owner, Contact: make([]*storev1.SetContact, len(contacts))}
	for i, contact := range contacts {
		c.Contact[i] = &storev1.SetContact{Address: contact.Address.String(), Name: contact.Name}
	}
	return &storev1.Record{Kind: &storev1.Record_Contacts{Contacts: c}}
}

func listenerRecord(p packed) *storev1.Listener {
	if p.deaf() {
		return nil
	}
	var head Listener
	c, n := p.open(&head)
	l := &storev1.Listener{
		Address: head.Address.String(), SinceMs: head.Since.UnixMilli(), Index: head.Index,
		Binding: make([]*storev1.Binding, n),
	}
	for i := range l.Binding {
		b := c.binding()
		l.Binding[i] = &storev1.Binding{
			Session: &storev1.Session{Node: b.Session.Node, Epoch: b.Session.Epoch, Number: b.Session.Number},
			Epoch:   b.Epoch, State: stateRecord(b.State), Note: b.Note, SinceMs: b.Since.UnixMilli(),
			Index: b.Index, Bound: b.Bound, Agent: b.Agent, Client: b.Client,
		}
	}
	return l
}

func stateRecord(s protocol.State) storev1.State {
	switch s {
	case protocol.Available:
		return storev1.State_STATE_AVAILABLE
	case protocol.Busy:
		return storev1.State_STATE_BUSY
	case protocol.Away:
		return storev1.State_STATE_AWAY
	}
	return storev1.State_STATE_UNSPECIFIED
}

func eventRecord(index uint64, e entry) *storev1.Record {
	return &storev1.Record{Kind: &storev1.Record_Event{Event: &storev1.Event{
		Index: index, Kind: uint32(e.kind), Address: e.address, Node: e.node, Visible: e.visible, After: listenerRecord(e.after),
	}}}
}
