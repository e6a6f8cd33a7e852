package storage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// What bbolt's files look like, as far as their pages hang together. Numbers are
// in the machine's own order of bytes.
const (
	pageHeader    = 16 // id, flags, count, overflow
	pageElement   = 16
	metaBytes     = 64
	metaMagic     = 0xED0CDAED
	branchPage    = 0x01
	leafPage      = 0x02
	bucketElement = 0x01
	bucketHeader  = 16 // root page, sequence; a root of zero: its page follows
)

// checkPages reads a file of bbolt's before bbolt does, which maps it and
// believes it: damaged pages end the process there with a panic on a goroutine of
// its own or a fault, and of two heads it takes the older one when the newer is
// damaged, which takes back the last transaction: a vote, or entries that were
// acknowledged. Both heads are whole after any crash, since a sector is written
// or not. A file that another process has open is not looked at: bbolt says so.
// buckets are those that a file has from its second transaction on, in order.
func checkPages(path string, buckets ...string) error {
	_, err := checkBegun(path, buckets...)
	return err
}

// checkBegun is checkPages, and says whether the file has got its buckets yet: a
// first start may have been cut short before.
func checkBegun(path string, buckets ...string) (begun bool, err error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB); err != nil {
		return true, nil
	}
	info, err := f.Stat()
	if err != nil || info.Size() == 0 { // bbolt begins an empty file anew
		return false, err
	}
	pages, err := readHeads(f, info.Size())
	if err != nil {
		return false, err
	}
	if err := pages.walk(pages.root, nil, nil); err != nil {
		return false, err
	}
	if pages.tx > 1 && !slices.Equal(pages.buckets, buckets) {
		return false, fmt.Errorf("it holds the buckets %q instead of %q", pages.buckets, buckets)
	}
	return pages.tx > 1, nil
}

// head is one of the two pages that say where everything is.
type head struct {
	pageSize       uint32
	root, high, tx uint64 // there are no pages from high on
}

func readHead(r io.ReaderAt, at int64) (h head, err error) {
	var b [metaBytes]byte
	if _, err := r.ReadAt(b[:], at+pageHeader); err != nil {
		return h, fmt.Errorf("reading its head at %d: %w", at, err)
	}
	sum := fnv.New64a()
	sum.Write(b[:metaBytes-8])
	n := binary.NativeEndian
	if n.Uint32(b[:]) != metaMagic || n.Uint64(b[metaBytes-8:]) != sum.Sum64() {
		return h, fmt.Errorf("its head at %d is not as it was written", at)
	}
	return head{pageSize: n.Uint32(b[8:]), root: n.Uint64(b[16:]), high: n.Uint64(b[40:]), tx: n.Uint64(b[48:])}, nil
}

func readHeads(r io.ReaderAt, size int64) (*pageFile, error) {
	first, err := readHead(r, 0)
	if err != nil {
		return nil, err
	}
	second, err := readHead(r, int64(first.pageSize))
	if err != nil {
		return nil, err
	}
	older, newer := first, second
	if older.tx > newer.tx {
		older, newer = newer, older
	}
	switch {
	case newer.tx != older.tx+1 || newer.pageSize != older.pageSize || newer.pageSize == 0:
		return nil, errors.New("its heads do not belong together")
	case newer.high > uint64(size)/uint64(newer.pageSize):
		return nil, fmt.Errorf("it has %d bytes and should have %d at least: it is cut short", size, newer.high*uint64(newer.pageSize))
	}
	return &pageFile{head: newer, r: r, size: uint64(newer.pageSize), seen: make([]bool, newer.high)}, nil
}

// pageFile is the pages below a head.
type pageFile struct {
	head
	r       io.ReaderAt
	size    uint64   // of a page
	seen    []bool   // by page
	buckets []string // that were met
}

// walk checks a page and all below it. Keys are from least on, and below most;
// nil: there is no such bound.
func (p *pageFile) walk(id uint64, least, most []byte) error {
	if id < 2 || id >= p.high {
		return fmt.Errorf("there is no page %d", id)
	}
	page := make([]byte, p.size)
	if _, err := p.r.ReadAt(page, int64(id*p.size)); err != nil {
		return fmt.Errorf("reading page %d: %w", id, err)
	}
	more := uint64(binary.NativeEndian.Uint32(page[12:]))
	if binary.NativeEndian.Uint64(page) != id || id+more >= p.high {
		return fmt.Errorf("page %d is not as it was written", id)
	}
	if more > 0 {
		page = append(page, make([]byte, more*p.size)...)
		if _, err := p.r.ReadAt(page[p.size:], int64((id+1)*p.size)); err != nil {
			return fmt.Errorf("reading page %d: %w", id, err)
		}
	}
	for i := id; i <= id+more; i++ {
		if p.seen[i] {
			return fmt.Errorf("page %d is in use twice", i)
		}
		p.seen[i] = true
	}
	if err := p.elements(page, least, most); err != nil {
		return fmt.Errorf("page %d: %w", id, err)
	}
	return nil
}

// elements checks what is on a page, and what that leads to.
func (p *pageFile) elements(page, least, most []byte) error {
	if len(page) < pageHeader {
		return errors.New("it is cut short")
	}
	n := binary.NativeEndian
	flags, count := n.Uint16(page[8:]), int(n.Uint16(page[10:]))
	if flags != branchPage && flags != leafPage || pageHeader+count*pageElement > len(page) {
		return errors.New("it is not as it was written")
	}
	type child struct {
		page uint64
		key  []byte
	}
	var children []child
	last := least
	for i := range count {
		at := pageHeader + i*pageElement
		e := page[at:]
		// A leaf's element: flags, place, length of the key, of the value. A branch's: place, length, page.
		kind, place, keyed, valued := n.Uint32(e), uint64(n.Uint32(e[4:])), uint64(n.Uint32(e[8:])), uint64(n.Uint32(e[12:]))
		if flags == branchPage {
			kind, place, keyed, valued = 0, uint64(n.Uint32(e)), uint64(n.Uint32(e[4:])), 0
		}
		from := uint64(at) + place
		if from+keyed+valued > uint64(len(page)) || kind > bucketElement {
			return fmt.Errorf("element %d is not as it was written", i)
		}
		key, value := page[from:from+keyed], page[from+keyed:from+keyed+valued]
		if order := bytes.Compare(last, key); order > 0 || order == 0 && i > 0 || most != nil && bytes.Compare(key, most) >= 0 {
			return fmt.Errorf("element %d is out of order", i)
		}
		last = key
		if flags == branchPage {
			children = append(children, child{n.Uint64(e[8:]), key})
		} else if kind == bucketElement {
			p.buckets = append(p.buckets, string(key))
			if err := p.bucket(value); err != nil {
				return fmt.Errorf("bucket %q: %w", key, err)
			}
		}
	}
	for i, c := range children {
		below := most
		if i+1 < len(children) {
			below = children[i+1].key
		}
		if err := p.walk(c.page, c.key, below); err != nil {
			return err
		}
	}
	return nil
}

// bucket checks a bucket, whose pages are elsewhere, or whose page is in it.
func (p *pageFile) bucket(value []byte) error {
	if len(value) < bucketHeader {
		return errors.New("it is cut short")
	}
	if root := binary.NativeEndian.Uint64(value); root != 0 {
		return p.walk(root, nil, nil)
	}
	return p.elements(value[bucketHeader:], nil, nil)
}
