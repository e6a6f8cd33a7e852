package export

// For tests.

import "os"

// Position reads a place and writes what it has understood.
func Position(text []byte) ([]byte, error) {
	p, err := parsePosition(text)
	if err != nil {
		return nil, err
	}
	return p.file(), nil
}

// PrintTo has the only sink of a set, of standard output, write to a file.
func (s *Set) PrintTo(f *os.File) { s.exporters[0].sink.(*lines).stdout = f }
