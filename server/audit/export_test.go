package audit

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
