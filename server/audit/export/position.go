package export

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/raftkms/raftkms/server/audit"
)

// position is how far a sink has come. Its file is one line of JSON and its
// CRC-32C in hex, replaced as a whole.
type position struct {
	// Above is the sequence of the newest line that the sink has taken.
	Above uint64 `json:"above"`
	// Hash is that line's; zero where Above is, or where it is not known.
	Hash audit.Hash `json:"hash"`
}

const maxPosition = 512 // bytes of the file, at most

// errPosition: the file of a place does not hold one.
var errPosition = errors.New("the file of an export's place is damaged")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (p position) file() []byte {
	text, err := json.Marshal(p)
	if err != nil {
		panic(err) // numbers and hashes have a form
	}
	return fmt.Appendf(nil, "%s %08x\n", text, crc32.Checksum(text, castagnoli))
}

// readPosition reads the file; it is not known when there is none.
func readPosition(path string) (p position, known bool, err error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return p, false, nil
	}
	if err != nil {
		return p, false, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxPosition+1))
	if err != nil {
		return p, false, err
	}
	p, err = parsePosition(text)
	return p, err == nil, err
}

func parsePosition(text []byte) (p position, err error) {
	const tail = len(" 01234567\n")
	if len(text) <= tail || len(text) > maxPosition || json.Unmarshal(text[:len(text)-tail], &p) != nil || string(p.file()) != string(text) {
		return position{}, errPosition
	}
	return p, nil
}

// write has the place on disk when it returns.
func (p position) write(path string) error {
	temp := path + ".tmp"
	f, err := os.OpenFile(temp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("writing an export's place: %w", err)
	}
	_, err = f.Write(p.file())
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(temp, path)
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("writing an export's place: %w", err)
	}
	return nil
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
