// Package backup is the file that ClusterService.Backup makes and Restore
// takes: accounts, rules, contacts, invitations, operators' blocks, groups and
// reports at one position. It holds no password, only what verifies one, and neither
// sessions nor the site's secret.
//
// The file begins with the eight octets of Magic. Records follow: each is its
// length as an unsigned varint (Protocol Buffers' base 128) and a
// simp.store.v1.Record. The first is a header, which names the format and the
// position; the last a trailer, with the number of records before it and the
// CRC-32C of all octets before it; nothing comes after. In between stand, in
// the order of the addresses, an account, and then, if it has any, its rules
// and its contacts; and after all accounts, the invitations, the blocks, the groups
// and the reports.
package backup

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"google.golang.org/protobuf/proto"

	storev1 "simpd/proto/simp/store/v1"
)

// Magic starts every backup.
const Magic = "SIMPBAK\n"

// Format is the newest format, and the one that is written.
const Format = 1

// maxRecord bounds a record. The longest are a user's 1000 rules or contacts,
// which have some 530,000 octets; the site's log takes records of up to
// 768 KiB.
const maxRecord = 704 << 10

// ErrDamaged says that a file is not, or not all of, what was written.
var ErrDamaged = errors.New("the backup is damaged")

// castagnoli is made anew for each use: the package crc32 keeps the one table.
func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// Sum is the CRC-32C of a piece of a file.
func Sum(data []byte) uint32 { return crc32.Checksum(data, castagnoli()) }

// Writer writes a backup. It is for one goroutine.
type Writer struct {
	w       io.Writer
	records uint64
	sum     uint32
	buf     []byte
}

// NewWriter begins a backup of a position: the header's format is filled in.
func NewWriter(w io.Writer, header *storev1.Header) (*Writer, error) {
	b := &Writer{w: w}
	header.Format = Format
	if err := b.write([]byte(Magic)); err != nil {
		return nil, err
	}
	return b, b.Write(&storev1.Record{Kind: &storev1.Record_Header{Header: header}})
}

// Write adds a record.
func (b *Writer) Write(r *storev1.Record) error {
	b.buf = binary.AppendUvarint(b.buf[:0], uint64(proto.Size(r)))
	var err error
	if b.buf, err = (proto.MarshalOptions{Deterministic: true}).MarshalAppend(b.buf, r); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	b.records++
	return b.write(b.buf)
}

func (b *Writer) write(p []byte) error {
	b.sum = crc32.Update(b.sum, castagnoli(), p)
	_, err := b.w.Write(p)
	return err
}

// Close ends the backup. The writer below it is the caller's to close.
func (b *Writer) Close() error {
	return b.Write(trailer(b.records, b.sum))
}

func trailer(records uint64, sum uint32) *storev1.Record {
	t := &storev1.Trailer{Records: records, Crc32C: sum}
	return &storev1.Record{Kind: &storev1.Record_Trailer{Trailer: t}}
}

// Reader reads a backup. It is for one goroutine. What it has returned is
// known to be sound only once Next has returned io.EOF.
type Reader struct {
	Header *storev1.Header

	r       *bufio.Reader
	records uint64
	sum     uint32
	order   order
}

// order is where a reader has got to in the order of the records.
type order struct {
	account string // the last one's address
	kind    int    // of its last record
}

// The records of an account, in their order.
const (
	kindNone = iota // no account yet
	kindAccount
	kindRules
	kindContacts
)

// add returns an error if an account does not follow the last one, or if rules
// or contacts are not those of the last account, or its second.
func (o *order) add(r *storev1.Record) error {
	next := order{}
	switch k := r.Kind.(type) {
	case *storev1.Record_Account:
		next = order{k.Account.GetAddress(), kindAccount}
	case *storev1.Record_Rules:
		next = order{k.Rules.GetOwner(), kindRules}
	case *storev1.Record_Contacts:
		next = order{k.Contacts.GetOwner(), kindContacts}
	default:
		return nil
	}
	follows := o.kind != kindNone && next.account == o.account && next.kind > o.kind
	if next.kind == kindAccount {
		follows = next.account > o.account
	}
	if !follows {
		return fmt.Errorf("%w: the record of %q is not where it should be", ErrDamaged, next.account)
	}
	*o = next
	return nil
}

// NewReader reads the header. Errors wrap ErrDamaged, or are of r.
func NewReader(r io.Reader) (*Reader, error) {
	b := &Reader{r: bufio.NewReaderSize(r, 64<<10)}
	magic := make([]byte, len(Magic))
	if _, err := io.ReadFull(b.r, magic); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if string(magic) != Magic {
		return nil, fmt.Errorf("%w: it does not begin as one", ErrDamaged)
	}
	b.sum = Sum(magic)
	first, err := b.Next()
	if err != nil {
		return nil, err
	}
	if b.Header = first.GetHeader(); b.Header == nil {
		return nil, fmt.Errorf("%w: it has no header", ErrDamaged)
	}
	if b.Header.Format != Format {
		return nil, fmt.Errorf("the backup has the format %d; this program reads %d", b.Header.Format, Format)
	}
	return b, nil
}

// Next returns the next record, or io.EOF once all were read and are sound.
func (b *Reader) Next() (*storev1.Record, error) {
	before := b.sum
	raw, err := b.next()
	if err != nil {
		return nil, err
	}
	r := &storev1.Record{}
	if err := proto.Unmarshal(raw, r); err != nil {
		return nil, fmt.Errorf("%w: record %d: %v", ErrDamaged, b.records, err)
	}
	if r.GetTrailer() != nil {
		return nil, b.end(raw, before)
	}
	if err := b.order.add(r); err != nil {
		return nil, err
	}
	b.records++
	return r, nil
}

func (b *Reader) next() ([]byte, error) {
	size, err := binary.ReadUvarint(b.r)
	if err != nil || size > maxRecord {
		return nil, b.cut(err)
	}
	var raw bytes.Buffer // it grows as octets come, whatever was announced
	if n, err := io.CopyN(&raw, b.r, int64(size)); err != nil || uint64(n) < size {
		return nil, b.cut(err)
	}
	b.sum = crc32.Update(b.sum, castagnoli(), binary.AppendUvarint(nil, size))
	b.sum = crc32.Update(b.sum, castagnoli(), raw.Bytes())
	return raw.Bytes(), nil
}

// cut says where a file stops to make sense.
func (b *Reader) cut(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: it is cut off after %d records", ErrDamaged, b.records)
	}
	return fmt.Errorf("%w: record %d has no sensible length", ErrDamaged, b.records)
}

// end checks the trailer, which no checksum covers: it has to be, to the
// octet, the one that belongs here.
func (b *Reader) end(raw []byte, sum uint32) error {
	want, err := proto.MarshalOptions{Deterministic: true}.Marshal(trailer(b.records, sum))
	if err != nil || !bytes.Equal(raw, want) {
		return fmt.Errorf("%w: its checksum does not fit", ErrDamaged)
	}
	if _, err := b.r.ReadByte(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: something follows its end", ErrDamaged)
	}
	return io.EOF
}

// Contents counts the records of a backup.
type Contents struct {
	History  string
	Index    uint64
	Accounts uint64
	Disabled uint64 // of the accounts
	Rules    uint64
	Contacts uint64

	Invitations uint64
	Blocks      uint64
	Groups      uint64 // of directories
	Reports     uint64
}

// Inspect reads a backup to its end, and checks it.
func Inspect(r io.Reader) (Contents, error) {
	b, err := NewReader(r)
	if err != nil {
		return Contents{}, err
	}
	c := Contents{History: b.Header.History, Index: b.Header.Index}
	for {
		record, err := b.Next()
		if errors.Is(err, io.EOF) {
			return c, nil
		}
		if err != nil {
			return Contents{}, err
		}
		if err := c.Add(record); err != nil {
			return Contents{}, err
		}
	}
}

// Add counts a record; one that no backup holds is an error.
func (c *Contents) Add(r *storev1.Record) error {
	switch k := r.Kind.(type) {
	case *storev1.Record_Account:
		c.Accounts++
		if k.Account.Disabled {
			c.Disabled++
		}
	case *storev1.Record_Rules:
		c.Rules += uint64(len(k.Rules.Rule))
	case *storev1.Record_Contacts:
		c.Contacts += uint64(len(k.Contacts.Contact))
	case *storev1.Record_Invitation:
		c.Invitations++
	case *storev1.Record_Block:
		c.Blocks++
	case *storev1.Record_ContactGroup:
		c.Groups++
	case *storev1.Record_Report:
		c.Reports++
	default:
		return fmt.Errorf("%w: a record that no backup has", ErrDamaged)
	}
	return nil
}
