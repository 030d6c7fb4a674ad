package store

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"

	"google.golang.org/protobuf/proto"

	storev1 "simpd/proto/simp/store/v1"
)

// maxRecord bounds one record: 1000 contacts with long names are half a MiB.
const maxRecord = 4 << 20

// Restore replaces the table by a snapshot, with the events that it kept.
// Nothing is replaced before all of it was read and found to be in order.
// Errors wrap ErrCorrupt, ErrSchema or what r returned.
func (t *Table) Restore(r io.Reader) error {
	b := &restorer{newest: t.newest, view: newView(), ring: newRing(t.ring.keep, t.ring.most), tally: map[string]*tally{}}
	if err := ReadSnapshot(r, b.add); err != nil {
		return err
	}
	if err := b.finish(); err != nil {
		return err
	}
	t.mu.Lock()
	b.view.replaced = t.now.replaced + replacedTable
	t.now, t.view, t.ring, t.tally = b.view, nil, b.ring, b.tally
	t.mu.Unlock()
	t.shapes.take(&b.shapes)
	t.publish()
	return nil
}

// ReadSnapshot calls add for each record of a snapshot, the header first, but
// not for the trailer, which it checks. The record is add's to keep. An error
// of add's ends it. Only when ReadSnapshot returned nil was the snapshot whole.
func ReadSnapshot(r io.Reader, add func(*storev1.Record) error) error {
	rr := &recordReader{r: bufio.NewReaderSize(r, 64<<10)}
	if err := rr.magic(); err != nil {
		return fmt.Errorf("reading a snapshot: %w", err)
	}
	for {
		before := rr.crc
		record, err := rr.next()
		if err != nil {
			return fmt.Errorf("reading a snapshot, record %d: %w", rr.records, err)
		}
		if t := record.GetTrailer(); t != nil {
			return rr.end(t, before)
		}
		if err := add(record); err != nil {
			return fmt.Errorf("reading a snapshot, record %d: %w", rr.records, err)
		}
		rr.records++
	}
}

// replacedTable is what PinnedBy says of a view of a table that a snapshot has
// replaced, at least: enough for nobody to keep it.
const replacedTable = 1 << 40

type recordReader struct {
	r       *bufio.Reader
	buf     []byte
	records uint64
	crc     uint32
}

func (r *recordReader) magic() error {
	r.buf = make([]byte, len(snapshotMagic))
	if _, err := io.ReadFull(r.r, r.buf); err != nil {
		return whole(err)
	}
	if string(r.buf) != snapshotMagic {
		return fmt.Errorf("not a snapshot: %w", ErrCorrupt)
	}
	r.crc = crc32.Update(0, castagnoli, r.buf)
	return nil
}

func (r *recordReader) next() (*storev1.Record, error) {
	n, err := r.length()
	if err != nil {
		return nil, err
	}
	head := len(r.buf)
	if err := r.read(n); err != nil {
		return nil, err
	}
	r.crc = crc32.Update(r.crc, castagnoli, r.buf)
	record := &storev1.Record{}
	if err := decode(r.buf[head:], record); err != nil {
		return nil, err
	}
	if record.GetTrailer() != nil && !isExact(record, r.buf[head:]) {
		return nil, corrupt("a snapshot's trailer is not as it was written")
	}
	return record, nil
}

// isExact reports whether b is how a record is written. A trailer, which has no
// sum, might else be read as before with some bits flipped.
func isExact(r *storev1.Record, b []byte) bool {
	written, err := proto.Marshal(r)
	return err == nil && bytes.Equal(written, b)
}

// readAtOnce is how many octets are made room for before they have come.
const readAtOnce = 64 << 10

// read appends n octets to buf. How many were announced makes no room: only
// those that come do.
func (r *recordReader) read(n int) error {
	announced := n
	for n > 0 {
		end, piece := len(r.buf), min(n, readAtOnce)
		r.buf = slices.Grow(r.buf, piece)[:end+piece]
		if _, err := io.ReadFull(r.r, r.buf[end:]); err != nil {
			return fmt.Errorf("a record of %d octets: %w", announced, whole(err))
		}
		n -= piece
	}
	return nil
}

// length reads a record's length, and leaves its octets in buf to be summed.
func (r *recordReader) length() (int, error) {
	r.buf = r.buf[:0]
	for len(r.buf) < binary.MaxVarintLen32 {
		octet, err := r.r.ReadByte()
		if err != nil {
			return 0, whole(err)
		}
		if r.buf = append(r.buf, octet); octet < 0x80 {
			break
		}
	}
	n, ok := binary.Uvarint(r.buf)
	if ok <= 0 || n > maxRecord {
		return 0, corrupt("a record is said to have %d octets, more than %d", n, maxRecord)
	}
	return int(n), nil
}

// end checks the trailer; crc is of what stands before it.
func (r *recordReader) end(t *storev1.Trailer, crc uint32) error {
	switch _, err := r.r.ReadByte(); {
	case t.GetRecords() != r.records:
		return fmt.Errorf("a snapshot has %d records, and says %d: %w", r.records, t.GetRecords(), ErrCorrupt)
	case t.GetCrc32C() != crc:
		return fmt.Errorf("a snapshot has the checksum %08x, and says %08x: %w", crc, t.GetCrc32C(), ErrCorrupt)
	case err == nil:
		return fmt.Errorf("something follows a snapshot's end: %w", ErrCorrupt)
	case err != io.EOF:
		return fmt.Errorf("reading a snapshot's end: %w", err)
	}
	return nil
}

// whole maps io.EOF to ErrCorrupt: a snapshot must not end early.
func whole(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("it ends too soon: %w", ErrCorrupt)
	}
	return err
}
