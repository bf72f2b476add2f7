package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math/bits"
	"os"
)

// The format of a bbolt file. Source: https://github.com/etcd-io/bbolt,
// internal/common/page.go, meta.go and bucket.go. Numbers are in the
// machine's byte order.
const (
	headerSize  = 16 // of a page: id, flags, count, overflow
	elementSize = 16 // of an element of a branch or a leaf

	branchFlag   = 0x01
	leafFlag     = 0x02
	freelistFlag = 0x10

	bucketFlag = 0x01 // of a leaf element that is a bucket
)

// meta is the content of a meta page after its header.
type meta struct {
	Magic, Version, PageSize, Flags                 uint32
	Root, Sequence, Freelist, HighWater, Tx, Digest uint64
}

const (
	metaOffset = headerSize
	metaSize   = 4*4 + 6*8

	magic        = 0xED0CDAED
	bboltVersion = 2

	// mostPages limits the memory of a check: 1 GiB with pages of 4 KiB. 10,000 users need some megabytes.
	mostPages = 1 << 18
)

// checkFile refuses damage that package bbolt does not detect or cannot handle: it follows a cycle of branches
// forever, allocates as much as a page says, and if one of the two meta pages is damaged, it silently reverts the
// latest transaction, and with it the record of a request that may have been billed.
func checkFile(path string) error {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return err
	case info.IsDir():
		return fmt.Errorf("%w: it is a directory", errDamaged)
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is not a regular file", path)
	}
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	return guarded(func() error {
		if err := checkContent(file, info.Size()); err != nil {
			return fmt.Errorf("%w: %w", errDamaged, err)
		}
		return nil
	})
}

// checkContent checks a file of the given size.
func checkContent(file io.ReaderAt, size int64) error {
	latest, err := readMetas(file)
	if err != nil {
		return err
	}
	used := latest.HighWater * uint64(latest.PageSize)
	if latest.HighWater > mostPages || used > uint64(size) {
		return fmt.Errorf("the file has %d bytes, want %d", size, used)
	}
	content := make([]byte, used)
	if _, err := file.ReadAt(content, 0); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	t := &tree{
		content: content, pageSize: uint64(latest.PageSize), highWater: latest.HighWater, seen: make(map[uint64]bool),
	}
	if err := t.check(latest.Root, nil); err != nil {
		return err
	}
	return t.checkFreelist(latest.Freelist)
}

// readMetas returns the later of the two meta pages. Both must be intact.
func readMetas(file io.ReaderAt) (latest meta, err error) {
	var pageSize uint32
	for i := range int64(2) {
		raw := make([]byte, metaSize)
		if _, err := file.ReadAt(raw, i*int64(pageSize)+metaOffset); err != nil {
			return meta{}, err
		}
		var m meta
		if _, err := binary.Decode(raw, binary.NativeEndian, &m); err != nil {
			return meta{}, err
		}
		h := fnv.New64a()
		h.Write(raw[:metaSize-8])
		switch {
		case h.Sum64() != m.Digest:
			return meta{}, fmt.Errorf("the checksum of meta page %d is wrong", i)
		case m.Magic != magic || m.Version != bboltVersion:
			return meta{}, errors.New("not a bbolt file")
		case bits.OnesCount32(m.PageSize) != 1 || m.PageSize < 1<<10 || m.PageSize > 1<<16 || i > 0 && m.PageSize != pageSize:
			return meta{}, fmt.Errorf("invalid page size %d", m.PageSize)
		}
		pageSize = m.PageSize
		if m.Tx >= latest.Tx {
			latest = m
		}
	}
	return latest, nil
}

// tree checks the pages of the tree of a database.
type tree struct {
	content             []byte
	pageSize, highWater uint64
	seen                map[uint64]bool
}

// page returns a page with its overflow, its flags and its count.
func (t *tree) page(id uint64) (page []byte, flags uint16, count uint64, err error) {
	if id >= t.highWater || t.seen[id] {
		return nil, 0, 0, fmt.Errorf("page %d is misplaced", id)
	}
	t.seen[id] = true
	at := id * t.pageSize
	if at+t.pageSize > uint64(len(t.content)) {
		return nil, 0, 0, fmt.Errorf("page %d is truncated", id)
	}
	header := t.content[at : at+headerSize]
	overflow := uint64(binary.NativeEndian.Uint32(header[12:]))
	if binary.NativeEndian.Uint64(header) != id || id+overflow >= t.highWater ||
		at+(overflow+1)*t.pageSize > uint64(len(t.content)) {
		return nil, 0, 0, fmt.Errorf("the header of page %d is wrong", id)
	}
	for i := range overflow {
		t.seen[id+i+1] = true
	}
	flags, count = binary.NativeEndian.Uint16(header[8:]), uint64(binary.NativeEndian.Uint16(header[10:]))
	return t.content[at : at+(overflow+1)*t.pageSize], flags, count, nil
}

// checkFreelist checks that no page in the list of free pages is in use. The tree must have been checked before.
func (t *tree) checkFreelist(id uint64) error {
	page, flags, count, err := t.page(id)
	if err != nil {
		return err
	}
	ids := page[headerSize:]
	if count == 0xffff { // then the count is the first entry
		count, ids = binary.NativeEndian.Uint64(ids), ids[8:]
	}
	if flags != freelistFlag || count > uint64(len(ids))/8 {
		return fmt.Errorf("the free list in page %d is wrong", id)
	}
	last := uint64(1)
	for i := range count {
		free := binary.NativeEndian.Uint64(ids[8*i:])
		if free <= last || free >= t.highWater || t.seen[free] {
			return fmt.Errorf("the free list in page %d names page %d", id, free)
		}
		last = free
	}
	return nil
}

// check checks a page and all pages below it. Unless first is nil, it must be the first key of the page.
func (t *tree) check(id uint64, first []byte) error {
	page, flags, count, err := t.page(id)
	if err != nil {
		return err
	}
	if flags != branchFlag && flags != leafFlag || headerSize+count*elementSize > uint64(len(page)) ||
		flags == branchFlag && count == 0 {
		return fmt.Errorf("the header of page %d is wrong", id)
	}
	var last []byte
	for i := range count {
		at := headerSize + i*elementSize
		key, err := t.checkElement(page, at, flags)
		if err != nil {
			return fmt.Errorf("page %d: %w", id, err)
		}
		if i == 0 && first != nil && !bytes.Equal(key, first) || i > 0 && bytes.Compare(key, last) <= 0 {
			return fmt.Errorf("page %d is out of order", id)
		}
		last = key
	}
	return nil
}

// checkElement checks an element of a branch or leaf page and the pages below it, and returns its key.
func (t *tree) checkElement(page []byte, at uint64, flags uint16) (key []byte, err error) {
	field := func(i uint64) uint64 { return uint64(binary.NativeEndian.Uint32(page[at+4*i:])) }
	offset, keySize, valueSize := field(1), field(2), field(3) // of a leaf, after its flags
	if flags == branchFlag {
		offset, keySize, valueSize = field(0), field(1), 0
	}
	if at+offset+keySize+valueSize > uint64(len(page)) {
		return nil, errors.New("an element exceeds the page")
	}
	key = page[at+offset : at+offset+keySize]
	value := page[at+offset+keySize : at+offset+keySize+valueSize]
	switch {
	case flags == branchFlag:
		return key, t.check(binary.NativeEndian.Uint64(page[at+8:]), key)
	case field(0)&bucketFlag == 0:
		return key, nil
	case valueSize < 16:
		return nil, errors.New("a bucket is truncated")
	}
	if root := binary.NativeEndian.Uint64(value); root != 0 {
		return key, t.check(root, nil)
	}
	return key, checkInline(value[16:])
}

// checkInline checks the page of a bucket that is small enough to be stored in its element.
func checkInline(page []byte) error {
	t := &tree{content: page, pageSize: uint64(len(page)), highWater: 1, seen: make(map[uint64]bool)}
	if len(page) < headerSize {
		return errors.New("an inline bucket is truncated")
	}
	return t.check(0, nil)
}
