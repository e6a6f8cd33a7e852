package membership

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/raftkms/raftkms/cluster/pki"
)

// tokenPrefix says what the text is, and in which version.
const tokenPrefix = "raftkms-join-1."

// Bounds of a token.
const (
	maxTokenText      = 4096 // characters
	maxTokenAddresses = 16
	maxTokenAddress   = 255 // bytes
	tokenCheckSize    = 4   // bytes of SHA-256 behind the content, against copying errors
)

// ErrToken is wrapped by every refusal of a token. No part of the token is ever
// in the error.
var ErrToken = errors.New("not a join token")

// Token is what a new node is given to join a cluster: where to ask, whom to
// believe, and the secret that admits it once. It prints as a placeholder,
// whatever the verb; [Token.Text] is the real thing.
type Token struct {
	ClusterID string
	CAPin     [32]byte // SHA-256 of the CA's public key (pki.Fingerprint)
	Secret    [32]byte
	Addresses []string // host:port of cluster ports, 1 to 16
}

// Text is the token as it is handed over: raftkms-join-1. and base64url without
// padding. It is as secret as the token. Invalid fields are an error.
func (t Token) Text() (string, error) {
	if err := t.check(); err != nil {
		return "", err
	}
	b := append([]byte{byte(len(t.ClusterID))}, t.ClusterID...)
	b = append(b, t.CAPin[:]...)
	b = append(b, t.Secret[:]...)
	b = append(b, byte(len(t.Addresses)))
	for _, address := range t.Addresses {
		b = append(b, byte(len(address)))
		b = append(b, address...)
	}
	sum := sha256.Sum256(b)
	b = append(b, sum[:tokenCheckSize]...)
	text := tokenPrefix + base64.RawURLEncoding.EncodeToString(b)
	clear(b)
	if len(text) > maxTokenText {
		return "", fmt.Errorf("%w: its addresses are too long", ErrToken)
	}
	return text, nil
}

// ParseToken reads a token. It accepts exactly what [Token.Text] writes; white
// space around it, which files and terminals add, is ignored.
func ParseToken(text string) (Token, error) {
	text = strings.TrimSpace(text)
	encoded, ok := strings.CutPrefix(text, tokenPrefix)
	if !ok || len(text) > maxTokenText {
		return Token{}, fmt.Errorf("%w: it does not begin with %s", ErrToken, tokenPrefix)
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(encoded)
	if err != nil || len(b) < tokenCheckSize || strings.ContainsAny(encoded, "\r\n") {
		return Token{}, fmt.Errorf("%w: it is not base64url", ErrToken)
	}
	defer clear(b)
	content, check := b[:len(b)-tokenCheckSize], b[len(b)-tokenCheckSize:]
	if sum := sha256.Sum256(content); !bytes.Equal(sum[:tokenCheckSize], check) {
		return Token{}, fmt.Errorf("%w: it was not copied in full", ErrToken)
	}
	t, err := decodeToken(bytes.NewReader(content))
	if err != nil {
		return Token{}, fmt.Errorf("%w: its content is malformed", ErrToken)
	}
	return t, t.check()
}

func decodeToken(r *bytes.Reader) (t Token, err error) {
	text := func() string {
		n, e := r.ReadByte()
		b := make([]byte, n)
		_, e2 := io.ReadFull(r, b)
		err = errors.Join(err, e, e2)
		return string(b)
	}
	t.ClusterID = text()
	_, e1 := io.ReadFull(r, t.CAPin[:])
	_, e2 := io.ReadFull(r, t.Secret[:])
	count, e3 := r.ReadByte()
	if err = errors.Join(err, e1, e2, e3); err != nil {
		return Token{}, err
	}
	for range count {
		t.Addresses = append(t.Addresses, text())
	}
	if err != nil || r.Len() != 0 {
		return Token{}, errors.Join(err, ErrToken)
	}
	return t, nil
}

func (t Token) check() error {
	if pki.CheckClusterID(t.ClusterID) != nil {
		return fmt.Errorf("%w: its cluster id is malformed", ErrToken)
	}
	if len(t.Addresses) == 0 || len(t.Addresses) > maxTokenAddresses {
		return fmt.Errorf("%w: it has %d addresses instead of 1 to %d", ErrToken, len(t.Addresses), maxTokenAddresses)
	}
	if slices.ContainsFunc(t.Addresses, func(a string) bool { return !dialable(a) }) {
		return fmt.Errorf("%w: one of its addresses is not host:port", ErrToken)
	}
	return nil
}

func dialable(address string) bool {
	if len(address) > maxTokenAddress {
		return false
	}
	for i := range len(address) {
		if address[i] <= ' ' || address[i] > '~' {
			return false
		}
	}
	host, port, err := net.SplitHostPort(address)
	n, numErr := strconv.ParseUint(port, 10, 16)
	return err == nil && host != "" && numErr == nil && n > 0
}

// Format prints a placeholder, whatever the verb.
func (t Token) Format(f fmt.State, _ rune) { io.WriteString(f, t.String()) }

// String is a placeholder that holds nothing secret.
func (t Token) String() string { return "join token of cluster " + t.ClusterID + " (not shown)" }

// MarshalJSON refuses: a token belongs in no document but its own text.
func (t Token) MarshalJSON() ([]byte, error) {
	return nil, errors.New("a join token is not written as JSON")
}
