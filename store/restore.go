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

// maxRecord limits the size of a record: 1000 contacts with long names take
// half a MiB.
const maxRecord = 4 << 20

// Restore replaces the table with a snapshot and its events. Nothing is
// replaced before the whole snapshot has been read and validated. Errors wrap
// ErrCorrupt, ErrSchema, or the error of r.
func (t *Table) Restore(r io.Reader) error {
	b := &restorer{newest: t.newest, view: newView(), ring: newRing(t.ring.minEntries, t.ring.maxOctets), counts: map[string]*nodeCounts{}}
	if err := ReadSnapshot(r, b.addRecord); err != nil {
		return err
	}
	if err := b.validate(); err != nil {
		return err
	}
	t.mu.Lock()
	b.view.replaced = t.current.replaced + restoredOctets
	t.current, t.view, t.ring, t.nodeCounts = b.view, nil, b.ring, b.counts
	t.blocks.reset(&t.current)
	t.rebuildGroupIndex()
	t.mu.Unlock()
	t.shapes.replaceAll(&b.shapes)
	t.publish()
	return nil
}

// ReadSnapshot calls add for each record of a snapshot, the header first. It
// checks the trailer itself and does not pass it to add. add may keep the
// record; an error of add ends the reading. The snapshot was complete only if
// ReadSnapshot returns nil.
func ReadSnapshot(r io.Reader, add func(*storev1.Record) error) error {
	rr := &recordReader{r: bufio.NewReaderSize(r, 64<<10)}
	if err := rr.readMagic(); err != nil {
		return fmt.Errorf("reading a snapshot: %w", err)
	}
	for {
		before := rr.crc
		record, err := rr.readRecord()
		if err != nil {
			return fmt.Errorf("reading a snapshot, record %d: %w", rr.records, err)
		}
		if t := record.GetTrailer(); t != nil {
			return rr.checkTrailer(t, before)
		}
		if err := add(record); err != nil {
			return fmt.Errorf("reading a snapshot, record %d: %w", rr.records, err)
		}
		rr.records++
	}
}

// restoredOctets is added to the count of replaced octets when a snapshot
// replaces the table, so that PinnedBy of an older view exceeds every limit.
const restoredOctets = 1 << 40

type recordReader struct {
	r       *bufio.Reader
	buf     []byte
	records uint64
	crc     uint32
}

func (r *recordReader) readMagic() error {
	r.buf = make([]byte, len(snapshotMagic))
	if _, err := io.ReadFull(r.r, r.buf); err != nil {
		return unexpectedEOF(err)
	}
	if string(r.buf) != snapshotMagic {
		return fmt.Errorf("not a snapshot: %w", ErrCorrupt)
	}
	r.crc = crc32.Update(0, castagnoli, r.buf)
	return nil
}

func (r *recordReader) readRecord() (*storev1.Record, error) {
	n, err := r.readLength()
	if err != nil {
		return nil, err
	}
	head := len(r.buf)
	if err := r.readOctets(n); err != nil {
		return nil, err
	}
	r.crc = crc32.Update(r.crc, castagnoli, r.buf)
	record := &storev1.Record{}
	if err := decode(r.buf[head:], record); err != nil {
		return nil, err
	}
	if record.GetTrailer() != nil && !isCanonical(record, r.buf[head:]) {
		return nil, corrupt("a snapshot's trailer is not as it was written")
	}
	return record, nil
}

// isCanonical reports whether b is the canonical encoding of r. Without this
// check a trailer, which no checksum covers, could be accepted with some bits
// flipped.
func isCanonical(r *storev1.Record, b []byte) bool {
	written, err := proto.Marshal(r)
	return err == nil && bytes.Equal(written, b)
}

// readAtOnce is how many octets are allocated before they have arrived.
const readAtOnce = 64 << 10

// readOctets appends n octets to buf. It allocates only for octets that
// arrive, not for the announced number.
func (r *recordReader) readOctets(n int) error {
	announced := n
	for n > 0 {
		end, piece := len(r.buf), min(n, readAtOnce)
		r.buf = slices.Grow(r.buf, piece)[:end+piece]
		if _, err := io.ReadFull(r.r, r.buf[end:]); err != nil {
			return fmt.Errorf("a record of %d octets: %w", announced, unexpectedEOF(err))
		}
		n -= piece
	}
	return nil
}

// readLength reads a record's length, and leaves its octets in buf for the
// checksum.
func (r *recordReader) readLength() (int, error) {
	r.buf = r.buf[:0]
	for len(r.buf) < binary.MaxVarintLen32 {
		octet, err := r.r.ReadByte()
		if err != nil {
			return 0, unexpectedEOF(err)
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

// checkTrailer checks the trailer. crc is the checksum of everything before
// it.
func (r *recordReader) checkTrailer(t *storev1.Trailer, crc uint32) error {
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

// unexpectedEOF maps io.EOF to ErrCorrupt: a snapshot must not end early.
func unexpectedEOF(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("it ends too soon: %w", ErrCorrupt)
	}
	return err
}
