package custody

import (
	"bytes"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"strings"
)

// A share in bytes:
//
//	format(1)=1 set(8) threshold(1) number(1) value(32) checksum(4)
//
// where the value is the scalar (little endian, as the group writes it) and the
// checksum the beginning of a SHA-256 over all before it. In text it is base32
// in groups of four characters, for paper; case, blanks and hyphens say nothing.
const (
	shareFormat   = 1
	setSize       = 8
	valueSize     = 32
	checksumSize  = 4
	shareSize     = 1 + setSize + 1 + 1 + valueSize + checksumSize
	shareBody     = shareSize - checksumSize
	shareGroup    = 4
	maxShareText  = 512
	sharePrefix   = "RAFTKMS-SHARE"
	checksumLabel = "raftkms custody share checksum v1"
	printLabel    = "raftkms custody share print v1"
)

var (
	encoding = base32.StdEncoding.WithPadding(base32.NoPadding)

	// ErrShare: a text is no share, or it was mistyped.
	ErrShare = errors.New("this is no share of a root key backup, or it is mistyped: its checksum does not hold")
)

// share is one custodian's part.
type share struct {
	set       [setSize]byte
	threshold uint8
	number    uint8 // from 1
	value     [valueSize]byte
}

func (s *share) body() []byte {
	b := append(make([]byte, 0, shareSize), shareFormat)
	b = append(b, s.set[:]...)
	b = append(b, s.threshold, s.number)
	return append(b, s.value[:]...)
}

func checksum(body []byte) []byte {
	sum := sha256.Sum256(append([]byte(checksumLabel), body...))
	return sum[:checksumSize]
}

// text is what a custodian keeps.
func (s *share) text() string {
	b := s.body()
	defer func() { clear(b[:cap(b)]) }()
	b = append(b, checksum(b)...)
	var text strings.Builder
	text.WriteString(sharePrefix)
	for i, c := range encoding.EncodeToString(b) {
		if i%shareGroup == 0 {
			text.WriteByte('-')
		}
		text.WriteRune(c)
	}
	return text.String()
}

// parseShare reads what text wrote, as people type it.
func parseShare(text string) (*share, error) {
	if len(text) > maxShareText {
		return nil, ErrShare
	}
	bare := strings.Map(func(r rune) rune {
		if r == '-' || r == ' ' || r == '\t' || r == '\n' || r == '\r' {
			return -1
		}
		return r
	}, strings.ToUpper(text))
	bare, found := strings.CutPrefix(bare, strings.ReplaceAll(sharePrefix, "-", ""))
	if !found {
		return nil, ErrShare
	}
	b, err := encoding.DecodeString(bare)
	defer clear(b)
	if err != nil || len(b) != shareSize || b[0] != shareFormat || !bytes.Equal(b[shareBody:], checksum(b[:shareBody])) {
		return nil, ErrShare
	}
	s := &share{threshold: b[1+setSize], number: b[2+setSize]}
	copy(s.set[:], b[1:])
	copy(s.value[:], b[3+setSize:])
	// The last character of the text has bits to spare, which must say nothing.
	if encoding.EncodeToString(b) != bare || s.number == 0 || s.threshold == 0 {
		return nil, ErrShare
	}
	return s, nil
}

// print is what the file knows of the share; nobody makes the share of it.
func (s *share) print() []byte {
	b := s.body()
	defer clear(b)
	sum := sha256.Sum256(append([]byte(printLabel), b...))
	return sum[:]
}

func (s *share) wipe() { clear(s.value[:]) }

// name is how a share is spoken of.
func (s *share) name() string { return fmt.Sprintf("share %d", s.number) }
