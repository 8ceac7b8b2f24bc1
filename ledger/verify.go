package ledger

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
)

// verifyPages checks the structure of a bbolt file by plain reads: the meta pages, the freelist, and every
// page of every bucket. bbolt trusts all of it and panics, or maps memory by a length it finds, when it is
// wrong; in goroutines of its own, where nobody can catch that. After verifyPages it has no reason to.
// What the pages say about records is not looked at here.
//
// The layout is that of bbolt 1.5 (internal/common: page.go, meta.go, bucket.go), in the machine's own
// byte order:
//
//	page    id u64, flags u16, count u16, overflow u32, then elements, then keys and values
//	meta    magic u32, version u32, page size u32, flags u32, root page u64, root sequence u64,
//	        freelist page u64, pages u64, tx u64, FNV-1a u64 over all before
//	branch  element: pos u32 (from the element), key size u32, page u64
//	leaf    element: flags u32 (1: bucket), pos u32, key size u32, value size u32
//	bucket  value: root page u64 (0: the page follows in the value), sequence u64
//	free    page ids u64; when count is 0xffff the first is the true count
func verifyPages(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%w: not a regular file", ErrNotLedger)
	}
	v := &verifier{r: f, size: info.Size()}
	if err := v.readMeta(); err != nil {
		return err
	}
	v.seen = make([]bool, v.pages)
	v.seen[0], v.seen[1] = true, true
	if err := v.file(); err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return nil
}

const (
	boltMagic   = 0xED0CDAED
	boltVersion = 2

	pageHeader    = 16
	elementSize   = 16
	metaSize      = 64
	bucketHeader  = 16
	flagBranch    = 0x01
	flagLeaf      = 0x02
	flagFreelist  = 0x10
	leafBucket    = 1
	maxTreeDepth  = 64
	smallBoltPage = 1 << 10
	largeBoltPage = 1 << 24
)

var native = binary.NativeEndian

type verifier struct {
	r        io.ReaderAt
	size     int64
	pageSize int64
	pages    uint64 // high water mark: ids are below it
	root     uint64
	freelist uint64
	tx       uint64
	seen     []bool
}

// readMeta finds the newest valid meta page.
func (v *verifier) readMeta() error {
	if v.size == 0 {
		return fmt.Errorf("%w: the file is empty", ErrDamaged)
	}
	magic := v.tryMeta(0)
	if v.pageSize != 0 {
		v.tryMeta(v.pageSize)
	} else {
		for size := int64(smallBoltPage); size <= largeBoltPage && size < v.size; size <<= 1 {
			magic = v.tryMeta(size) || magic
		}
	}
	switch {
	case v.pageSize != 0:
	case magic:
		return fmt.Errorf("%w: both meta pages are invalid", ErrDamaged)
	default:
		return ErrNotLedger
	}
	if v.pages < 4 || int64(v.pages) > v.size/v.pageSize {
		return fmt.Errorf("%w: the file has %d bytes and should have %d pages of %d", ErrDamaged, v.size, v.pages, v.pageSize)
	}
	return nil
}

// tryMeta takes the meta page at offset if it is valid and newer. It reports whether bbolt's magic is there.
func (v *verifier) tryMeta(offset int64) (magic bool) {
	b := make([]byte, pageHeader+metaSize)
	if _, err := v.r.ReadAt(b, offset); err != nil {
		return false
	}
	m := b[pageHeader:]
	magic = native.Uint32(m) == boltMagic
	sum := fnv.New64a()
	sum.Write(m[:metaSize-8])
	size, tx := int64(native.Uint32(m[8:])), native.Uint64(m[48:])
	if !magic || native.Uint32(m[4:]) != boltVersion || sum.Sum64() != native.Uint64(m[56:]) {
		return magic
	}
	if size < smallBoltPage || size > largeBoltPage || size&(size-1) != 0 || v.pageSize != 0 && (size != v.pageSize || tx < v.tx) {
		return magic
	}
	v.pageSize, v.tx = size, tx
	v.root, v.freelist, v.pages = native.Uint64(m[16:]), native.Uint64(m[32:]), native.Uint64(m[40:])
	return magic
}

// file checks everything the meta page leads to, and that it leads to every page.
func (v *verifier) file() error {
	free, err := v.page(v.freelist, flagFreelist)
	if err != nil {
		return err
	}
	if err := v.freePages(free); err != nil {
		return err
	}
	if err := v.tree(v.root, nil, 0); err != nil {
		return err
	}
	for id, seen := range v.seen {
		if !seen {
			return fmt.Errorf("page %d is neither used nor free", id)
		}
	}
	return nil
}

// page reads page id with its overflow pages and marks them.
func (v *verifier) page(id uint64, flags ...uint16) ([]byte, error) {
	if id < 2 || id >= v.pages {
		return nil, fmt.Errorf("page %d is outside the file", id)
	}
	head := make([]byte, pageHeader)
	if _, err := v.r.ReadAt(head, int64(id)*v.pageSize); err != nil {
		return nil, fmt.Errorf("read page %d: %w", id, err)
	}
	if native.Uint64(head) != id {
		return nil, fmt.Errorf("page %d says that it is page %d", id, native.Uint64(head))
	}
	ok := false
	for _, f := range flags {
		ok = ok || native.Uint16(head[8:]) == f
	}
	if !ok {
		return nil, fmt.Errorf("page %d is of type %#x, not %#x", id, native.Uint16(head[8:]), flags)
	}
	overflow := uint64(native.Uint32(head[12:]))
	if overflow >= v.pages-id {
		return nil, fmt.Errorf("page %d reaches outside the file", id)
	}
	for i := id; i <= id+overflow; i++ {
		if v.seen[i] {
			return nil, fmt.Errorf("page %d is used twice", i)
		}
		v.seen[i] = true
	}
	b := make([]byte, int64(overflow+1)*v.pageSize)
	if _, err := v.r.ReadAt(b, int64(id)*v.pageSize); err != nil {
		return nil, fmt.Errorf("read page %d: %w", id, err)
	}
	return b, nil
}

// freePages marks the pages of the freelist.
func (v *verifier) freePages(b []byte) error {
	count, ids := uint64(native.Uint16(b[10:])), b[pageHeader:]
	if count == 0xffff {
		count, ids = native.Uint64(ids), ids[8:]
	}
	if count > uint64(len(ids)/8) {
		return errors.New("the freelist is longer than its page")
	}
	for ; count > 0; count, ids = count-1, ids[8:] {
		id := native.Uint64(ids)
		if id < 2 || id >= v.pages {
			return fmt.Errorf("free page %d is outside the file", id)
		}
		if v.seen[id] {
			return fmt.Errorf("free page %d is used or free twice", id)
		}
		v.seen[id] = true
	}
	return nil
}

// tree checks the page id and all below it. Its keys must not be below least.
func (v *verifier) tree(id uint64, least []byte, depth int) error {
	if depth > maxTreeDepth {
		return errors.New("the pages form no tree")
	}
	b, err := v.page(id, flagBranch, flagLeaf)
	if err != nil {
		return err
	}
	if native.Uint16(b[8:]) == flagLeaf {
		return v.leaf(id, b, least, depth, false)
	}
	count := int(native.Uint16(b[10:]))
	if count == 0 || pageHeader+count*elementSize > len(b) {
		return fmt.Errorf("branch page %d cannot have %d elements", id, count)
	}
	last := least
	for i := range count {
		at := pageHeader + i*elementSize
		key, _, err := cut(b, at, native.Uint32(b[at:]), native.Uint32(b[at+4:]), 0)
		if err != nil {
			return fmt.Errorf("page %d: %w", id, err)
		}
		if order := bytes.Compare(key, last); order < 0 || order == 0 && i > 0 {
			return fmt.Errorf("keys of page %d are not in order", id)
		}
		last = key
		if err := v.tree(native.Uint64(b[at+8:]), key, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// leaf checks a leaf page, or the page within the value of a small bucket (inline), and the buckets on it.
func (v *verifier) leaf(id uint64, b, least []byte, depth int, inline bool) error {
	count := int(native.Uint16(b[10:]))
	if pageHeader+count*elementSize > len(b) {
		return fmt.Errorf("leaf page %d cannot have %d elements", id, count)
	}
	last := least
	for i := range count {
		at := pageHeader + i*elementSize
		key, value, err := cut(b, at, native.Uint32(b[at+4:]), native.Uint32(b[at+8:]), native.Uint32(b[at+12:]))
		if err != nil {
			return fmt.Errorf("page %d: %w", id, err)
		}
		if order := bytes.Compare(key, last); order < 0 || order == 0 && i > 0 {
			return fmt.Errorf("keys of page %d are not in order", id)
		}
		last = key
		if native.Uint32(b[at:])&leafBucket == 0 {
			continue
		}
		if inline || len(value) < bucketHeader {
			return fmt.Errorf("bucket on page %d is not valid", id)
		}
		if err := v.bucket(id, value, depth); err != nil {
			return err
		}
	}
	return nil
}

// bucket follows a bucket's value to its pages.
func (v *verifier) bucket(id uint64, value []byte, depth int) error {
	if root := native.Uint64(value); root != 0 {
		return v.tree(root, nil, depth+1)
	}
	page := value[bucketHeader:]
	if len(page) < pageHeader || native.Uint16(page[8:]) != flagLeaf {
		return fmt.Errorf("bucket within page %d is not valid", id)
	}
	return v.leaf(id, page, nil, depth, true)
}

// cut cuts an element's key and value, which begin pos bytes after it, out of its page.
func cut(b []byte, element int, pos, keySize, valueSize uint32) (key, value []byte, err error) {
	from := uint64(element) + uint64(pos)
	mid := from + uint64(keySize)
	to := mid + uint64(valueSize)
	if pos < elementSize || keySize == 0 || to > uint64(len(b)) {
		return nil, nil, fmt.Errorf("element at %d reaches outside its page", element)
	}
	return b[from:mid], b[mid:to], nil
}
