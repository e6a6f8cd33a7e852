package audit

import (
	"bytes"
	"io"
)

// For tests: the seam to the disk, and the parts of a line's form.

type File = file

// OnDisk has segments opened by open.
func (c Config) OnDisk(open func(path string, flag int) (File, error)) Config {
	c.open = open
	return c
}

var OpenOSFile = openOSFile

const MaxLine = maxLine

// ReadLine parses a line and writes what it has understood.
func ReadLine(raw []byte) ([]byte, error) {
	l, err := parseLine(raw)
	if err != nil {
		return nil, err
	}
	return appendSeal(append(appendFrame(nil, l.seq, l.unsynced), l.body...), l.hash), nil
}

// ReadHeader parses a header and writes what it has understood.
func ReadHeader(raw []byte) ([]byte, error) {
	h, err := parseHeader(raw)
	if err != nil {
		return nil, err
	}
	return appendSeal(h.append(nil), h.hash), nil
}

// ScanBody reads a body as a search does.
func ScanBody(body []byte) (texts map[string]string, time, recordTime int64, ok bool) {
	var f fields
	if !scanFields(body, &f) {
		return nil, 0, 0, false
	}
	texts = make(map[string]string)
	for i, name := range []string{"trace_name", "trace_rating", "trace_type", "service_type", "resource_type", "resource_id", "resource_name",
		"source_ip", "request_id", "project_id", "user.id", "user.name", "user.domain.id", "user.access_key_id", "code"} {
		if f.text[i] != nil {
			texts[name] = string(f.text[i])
		}
	}
	return texts, f.time, f.recordTime, true
}

// ParseIndex reads an index and writes what it has understood.
func ParseIndex(data []byte) ([]byte, error) {
	part, more, err := indexSizes(data)
	if err != nil {
		return nil, err
	}
	if part+more != int64(len(data)) {
		return nil, errIndex
	}
	x, err := parseIndex(data[:part], data[part:])
	if err != nil {
		return nil, err
	}
	return x.append(nil), nil
}

// Frames finds the frames of a packed segment.
func Frames(data []byte) (int, error) {
	blocks, err := framesOf(bytes.NewReader(data), int64(len(data)))
	return len(blocks), err
}

// Unpack is the text of a packed segment.
func Unpack(data []byte) ([]byte, error) {
	d, err := newDecoder(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return io.ReadAll(d)
}
