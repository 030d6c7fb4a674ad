package storage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
)

// A bolt file is a tree of pages. Bolt itself trusts every page: a wrong one
// makes it lose its newest transaction without a word, run in circles, or
// bring the process down. So the tree is walked before bolt sees it.
const (
	pageHeader = 16 // number u64, flags u16, elements u16, further pages u32
	pageBranch = 0x01
	pageLeaf   = 0x02
	element    = 16 // leaf: flags, position, key, value, u32 each; branch: position, key u32, page u64
	leafBucket = 0x01

	metaLength   = 64
	metaMagic    = 0xED0CDAED
	metaPageSize = 8
	metaRoot     = 16
	metaPages    = 40 // how many pages there are
	metaTx       = 48
	metaSum      = 56

	bucketHeader = 16 // root page u64 (0: what follows is the page itself), sequence u64
)

var native = binary.NativeEndian

// boltPages are the pages of one file.
type boltPages struct {
	r    io.ReaderAt
	size int64  // of a page
	n    uint64 // how many there are
	seen map[uint64]bool
}

// checkBoltFile checks the pages of a bolt file, and that the keys of its
// logs are consecutive numbers.
func checkBoltFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	p, root, err := openPages(f)
	if err != nil {
		return fmt.Errorf("%s: %w", logFile, err)
	}
	if uint64(info.Size())/uint64(p.size) < p.n {
		return fmt.Errorf("%s is cut off: it has %d octets, and should have at least %d", logFile, info.Size(), p.n*uint64(p.size))
	}
	if err := p.buckets(root); err != nil {
		return fmt.Errorf("%s: %w", logFile, err)
	}
	return nil
}

// openPages checks both meta pages, and returns the root of the newer one.
func openPages(r io.ReaderAt) (*boltPages, uint64, error) {
	first, err := readMeta(r, 0)
	if err != nil {
		return nil, 0, fmt.Errorf("first meta page: %w", err)
	}
	size := int64(native.Uint32(first[metaPageSize:]))
	newer, err := readMeta(r, size)
	if err != nil {
		return nil, 0, fmt.Errorf("second meta page: %w", err)
	}
	if native.Uint64(first[metaTx:]) > native.Uint64(newer[metaTx:]) {
		newer = first
	}
	p := &boltPages{r: r, size: size, n: native.Uint64(newer[metaPages:]), seen: make(map[uint64]bool)}
	return p, native.Uint64(newer[metaRoot:]), nil
}

// readMeta reads and checks the meta page at an offset.
func readMeta(r io.ReaderAt, offset int64) ([]byte, error) {
	b := make([]byte, metaLength)
	if _, err := r.ReadAt(b, offset+pageHeader); err != nil {
		return nil, errors.New("the file is cut off")
	}
	sum := fnv.New64a()
	sum.Write(b[:metaSum])
	if native.Uint32(b) != metaMagic || native.Uint64(b[metaSum:]) != sum.Sum64() || native.Uint32(b[metaPageSize:]) < 512 {
		return nil, errors.New("it fails its checksum")
	}
	return b, nil
}

// buckets walks the tree of buckets, and each of them.
func (p *boltPages) buckets(root uint64) error {
	return p.walk(root, inOrder(func(name, value []byte, flags uint32) error {
		if flags != leafBucket || len(value) < bucketHeader {
			return fmt.Errorf("%q is not a bucket", name)
		}
		check := inOrder(func([]byte, []byte, uint32) error { return nil })
		if string(name) == "logs" {
			check = inSequence()
		}
		if root := native.Uint64(value); root != 0 {
			return p.walk(root, check)
		}
		return leaf(value[bucketHeader:], check)
	}))
}

// visit is called for each element of the leaves, in order.
type visit func(key, value []byte, flags uint32) error

// inOrder checks that the keys ascend.
func inOrder(then visit) visit {
	var last []byte
	return func(key, value []byte, flags uint32) error {
		if last != nil && bytes.Compare(last, key) >= 0 {
			return fmt.Errorf("the key %x comes after %x", key, last)
		}
		last = bytes.Clone(key)
		return then(key, value, flags)
	}
}

// inSequence checks that the keys are consecutive numbers.
func inSequence() visit {
	var last uint64
	return func(key, _ []byte, _ uint32) error {
		if len(key) != 8 {
			return fmt.Errorf("an entry has the number %x", key)
		}
		n := binary.BigEndian.Uint64(key)
		if last != 0 && n != last+1 {
			return fmt.Errorf("entry %d comes after entry %d", n, last)
		}
		last = n
		return nil
	}
}

// walk visits the tree below a page. No page may occur twice.
func (p *boltPages) walk(number uint64, v visit) error {
	b, err := p.read(number)
	if err != nil {
		return err
	}
	switch native.Uint16(b[8:]) {
	case pageLeaf:
		err = leaf(b, v)
	case pageBranch:
		err = p.branch(b, v)
	default:
		err = errors.New("it is not a page of a tree")
	}
	if err != nil {
		return fmt.Errorf("page %d: %w", number, err)
	}
	return nil
}

// read reads a page with its overflow pages.
func (p *boltPages) read(number uint64) ([]byte, error) {
	head := make([]byte, pageHeader)
	if number < 2 || number >= p.n {
		return nil, fmt.Errorf("page %d does not exist", number)
	}
	if _, err := p.r.ReadAt(head, int64(number)*p.size); err != nil {
		return nil, err
	}
	more := uint64(native.Uint32(head[12:]))
	if native.Uint64(head) != number || more >= p.n-number {
		return nil, fmt.Errorf("page %d says that it is page %d with %d more", number, native.Uint64(head), more)
	}
	for i := number; i <= number+more; i++ {
		if p.seen[i] {
			return nil, fmt.Errorf("page %d is used twice", i)
		}
		p.seen[i] = true
	}
	b := make([]byte, int64(more+1)*p.size)
	_, err := p.r.ReadAt(b, int64(number)*p.size)
	return b, err
}

func (p *boltPages) branch(b []byte, v visit) error {
	for i := range int(native.Uint16(b[10:])) {
		at := pageHeader + i*element
		if at+element > len(b) {
			return errors.New("it has more elements than room")
		}
		if err := p.walk(native.Uint64(b[at+8:]), v); err != nil {
			return err
		}
	}
	return nil
}

// leaf visits the elements of a leaf page.
func leaf(b []byte, v visit) error {
	if len(b) < pageHeader {
		return errors.New("it is cut off")
	}
	for i := range int(native.Uint16(b[10:])) {
		at := pageHeader + i*element
		if at+element > len(b) {
			return errors.New("it has more elements than room")
		}
		key := uint64(at) + uint64(native.Uint32(b[at+4:]))
		value := key + uint64(native.Uint32(b[at+8:]))
		end := value + uint64(native.Uint32(b[at+12:]))
		if end > uint64(len(b)) {
			return fmt.Errorf("its element %d reaches out of it", i)
		}
		if err := v(b[key:value], b[value:end], native.Uint32(b[at:])); err != nil {
			return err
		}
	}
	return nil
}
