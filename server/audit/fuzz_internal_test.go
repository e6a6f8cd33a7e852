package audit

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
)

// seeds are a small log: a plain segment, a packed one, and its index.
func seeds(f *testing.F) (plain, packed, index []byte) {
	f.Helper()
	dir := f.TempDir()
	log, err := OpenConfig(Config{Dir: dir, NodeID: "n1", Sync: SyncInterval, SegmentSize: 8 << 10, Reserve: 8 << 10, Plain: true})
	if err != nil {
		f.Fatal(err)
	}
	at := time.UnixMilli(1_700_000_000_000)
	for i := range 40 {
		r := Record{TraceName: "createDataKey", Rating: RatingNormal, ResourceID: fmt.Sprint("key-", i%3), RequestID: fmt.Sprint("request-", i), Time: at, RecordTime: at}
		if err := log.Append(f.Context(), &r); err != nil {
			f.Fatal(err)
		}
	}
	if err := log.Close(); err != nil {
		f.Fatal(err)
	}
	read := func(name string) []byte {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			f.Fatal(err)
		}
		return data
	}
	plain = bytes.TrimRight(read(segmentName(1)), "\n")
	p, err := newPacker(dir)
	if err != nil {
		f.Fatal(err)
	}
	defer p.close()
	if _, err := p.pack(1); err != nil {
		f.Fatal(err)
	}
	return append(plain, '\n'), read(packedName(1)), read(indexName(1))
}

func summed(part []byte) []byte {
	return binary.LittleEndian.AppendUint32(bytes.Clone(part), crc32.Checksum(part, castagnoli))
}

// An index is read as it was written, or not at all, whatever its checksums
// cover; and what is read answers without a fault of the program.
func FuzzIndex(f *testing.F) {
	_, _, index := seeds(f)
	part, more, err := indexSizes(index)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(index[:part-sumSize], index[part:part+more-sumSize])
	f.Add([]byte(indexMagic), []byte{})
	f.Fuzz(func(t *testing.T, lists, filters []byte) {
		if _, _, err := indexSizes(lists); err != nil {
			return
		}
		x, err := parseIndex(summed(lists), summed(filters))
		if err != nil {
			return
		}
		if got := x.append(nil); !bytes.Equal(got, append(summed(lists), summed(filters)...)) {
			t.Errorf("read as something else: %x", got)
		}
		for at := 0; at < len(x.terms); at += termSize {
			wanted := term(binary.LittleEndian.Uint64(x.terms[at:]))
			counts, err := x.holders([]term{wanted, wanted + 1}, nil)
			if err == nil && len(counts) != len(x.blocks) {
				t.Errorf("%d of %d blocks", len(counts), len(x.blocks))
			}
		}
		for i := range x.blocks {
			mayHold(x.blocks[i].filter, term(i))
		}
	})
}

// The frames of a packed segment are found back to back up to its end, or not
// at all, and unpacking needs no more memory than a block has.
func FuzzFrames(f *testing.F) {
	_, packed, _ := seeds(f)
	f.Add(packed)
	f.Add(packed[:len(packed)-1])
	d, err := newDecoder(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(d.Close)
	f.Fuzz(func(t *testing.T, data []byte) {
		blocks, err := framesOf(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			return
		}
		var buffer, text []byte
		at := int64(0)
		for i := range blocks {
			b := &blocks[i]
			if b.offset != at || b.size <= 0 {
				t.Fatalf("block %d at %d with %d bytes, after %d", i, b.offset, b.size, at)
			}
			at += int64(b.size)
			if text, err = unpack(d, bytes.NewReader(data), b, &buffer, text); err == nil && len(text) > 4*maxBlock {
				t.Errorf("%d bytes come out", len(text))
			}
		}
		if at != int64(len(data)) {
			t.Errorf("the frames end at %d of %d", at, len(data))
		}
	})
}

// Whatever a block that was packed holds: a search that reads it finds only
// what has its hash, or says that it does not.
func FuzzBlock(f *testing.F) {
	plain, _, _ := seeds(f)
	f.Add(plain)
	f.Add([]byte("{\"segment\":1}\n\n\n{}"))
	encoder, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if len(text) > maxBlock {
			return
		}
		s, err := newSearch(t.TempDir(), Query{Limit: 1000})
		if err != nil {
			t.Fatal(err)
		}
		defer s.decoder.Close()
		packed := encoder.EncodeAll(text, nil)
		out, err := unpack(s.decoder, bytes.NewReader(packed), &block{size: len(packed)}, &s.packed, nil)
		if err != nil || !bytes.Equal(out, text) {
			t.Fatalf("packed and unpacked: %v", err)
		}
		s.lines(out, Hash{}, "x")
		last := Hash{}
		sound := true
		for raw := range bytes.Lines(text) {
			h, err := parseHeader(raw)
			if err == nil {
				sound, last = sound && h.hash == s.chain.link(h.Prev, h.covered), h.hash
				continue
			}
			l, err := parseLine(raw)
			sound = sound && err == nil && l.hash == s.chain.link(last, l.covered)
			if err == nil {
				last = l.hash
			}
		}
		if len(text) > 0 && sound != (len(s.answer.Damaged) == 0) {
			t.Errorf("sound: %v, damaged: %v", sound, s.answer.Damaged)
		}
	})
}

// readBack verifies the one segment of a directory, and finds what is in it.
func readBack(t *testing.T, dir string, seg segment) (Report, Answer) {
	t.Helper()
	report, err := Verify(dir)
	if err != nil {
		t.Fatal(err)
	}
	s, err := newSearch(dir, Query{Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	defer s.decoder.Close()
	s.follows = report.Last + 1
	s.segment(t.Context(), seg, seg.size)
	return report, s.answer
}

// A file of any content in the place of a segment: opening, verifying and
// searching end, what is found is there, and what is wrong is said.
func FuzzSegment(f *testing.F) {
	plain, _, _ := seeds(f)
	f.Add(plain)
	f.Add(plain[:len(plain)-20])
	f.Add(bytes.Replace(plain, []byte("request-7"), []byte("request-8"), 1))
	f.Add([]byte{})
	f.Add([]byte("\n\n\n"))
	dir := f.TempDir()
	path := filepath.Join(dir, segmentName(1))
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		report, answer := readBack(t, dir, segment{first: 1, size: int64(len(data))})
		if report.Err() == nil && (len(answer.Damaged) > 0 || uint64(len(answer.Found)) != min(report.Records, 1000)) {
			t.Errorf("sound with %d records, of which %d are found, damaged %v", report.Records, len(answer.Found), answer.Damaged)
		}
		if report.Err() != nil && len(answer.Damaged) == 0 && uint64(len(answer.Found)) < report.Records {
			t.Errorf("%v: %d of %d found, and nobody says so", report.Err(), len(answer.Found), report.Records)
		}
	})
}

// A note is a checkpoint that the key has signed, or an error; a file of
// copies is read as far as it is one.
func FuzzCheckpoint(f *testing.F) {
	f.Add([]byte("c/audit/n1\n3\nAAAA\nlog 00\nfrom 1\nlast 00\ntime 1\n\n— c/audit/n1 AAAA\n"), "c/audit/n1+00000000+AAAA")
	f.Add([]byte("\n\n— x \n"), "a+b+c")
	line, err := json.Marshal(Signed{Key: "a+00000000+AA==", Note: "x\n\n— x AA==\n", Kept: 1})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(line, strings.Repeat("+", maxVerifier))
	dir := f.TempDir()
	path := filepath.Join(dir, "n1"+copiesSuffix)
	f.Fuzz(func(t *testing.T, signed []byte, key string) {
		if c, err := OpenCheckpoint(signed, key); err == nil {
			t.Errorf("nobody has signed %+v", c)
		}
		if v, err := parseVerifier(key); err == nil && v.Name() == "" {
			t.Error("a key without a name")
		}
		if err := os.WriteFile(path, signed, 0o600); err != nil {
			t.Fatal(err)
		}
		all, err := ReadCopies(dir, "n1")
		if err != nil && len(signed) < maxNote {
			t.Fatal(err)
		}
		for i := range all {
			if _, err := all[i].Open(); err == nil {
				t.Error("nobody has signed it")
			}
		}
	})
}

// An unpacker of whatever a packed segment holds ends with its text, or an error.
func FuzzVerifyPacked(f *testing.F) {
	_, packed, index := seeds(f)
	f.Add(packed, index)
	f.Add(packed[:len(packed)/2], index)
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data, index []byte) {
		for name, content := range map[string][]byte{packedName(1): data, indexName(1): index} {
			if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		report, answer := readBack(t, dir, segment{first: 1, size: int64(len(data)), packed: true})
		if report.Err() == nil && uint64(len(answer.Found)) != min(report.Records, 1000) {
			t.Errorf("sound with %d records, of which %d are found, damaged %v", report.Records, len(answer.Found), answer.Damaged)
		}
	})
}
