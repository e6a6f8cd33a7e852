package backup

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/tink-crypto/tink-go/v2/streamingaead/subtle"

	"github.com/raftkms/raftkms/fsm"
	"github.com/raftkms/raftkms/fsm/snapshot"
	"github.com/raftkms/raftkms/fsm/state"
	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/envelope"
)

// The causes of a refusal.
var (
	// ErrMalformed: the file is no backup, is cut short, or was altered.
	ErrMalformed = errors.New("this is no intact backup (take another copy of it, or save it again with `kmsctl cluster snapshot save`)")
	// ErrForeign: the module's roots did not make the backup.
	ErrForeign = errors.New("the root keys of this module did not make the backup: check it at a node whose module holds those that did")
)

const (
	magic       = "raftkms backup\x00\x01"
	maxHeader   = 64 << 10
	macSize     = 32
	dataKeySize = 32
	segmentSize = 1 << 20
)

// Header is what a backup says of itself.
type Header struct {
	ClusterID      string    `json:"cluster_id"`
	Generation     uint32    `json:"generation"` // of the cluster
	LineageID      string    `json:"lineage_id,omitempty"`
	RootGeneration uint32    `json:"root_generation"` // of the root set that opens it
	FeatureLevel   uint32    `json:"feature_level"`
	Index          uint64    `json:"index"`      // log index of the newest entry in it
	StateHash      string    `json:"state_hash"` // 64 hex digits
	NodeID         string    `json:"node_id"`    // that wrote it
	Version        string    `json:"version"`    // of the program
	Created        time.Time `json:"created"`
	DataKey        []byte    `json:"data_key"` // sealed under root-seal
}

// label is what the data key's seal is bound to.
func (h *Header) label() []byte { return []byte("backup\x00" + h.ClusterID) }

// Write writes a backup of a state. nodeID and version go into its header.
func Write(ctx context.Context, w io.Writer, module hsm.Module, root *state.Root, nodeID, version string) (*Header, error) {
	c := root.Cluster()
	if c == nil {
		return nil, fsm.ErrNoCluster
	}
	hash := root.Hash()
	h := &Header{
		ClusterID: c.ID, Generation: c.Generation, LineageID: c.LineageID(), RootGeneration: c.RootGeneration, FeatureLevel: c.FeatureLevel,
		Index: root.Applied(), StateHash: fmt.Sprintf("%x", hash[:]), NodeID: nodeID, Version: version, Created: time.Now().UTC().Truncate(time.Second),
	}
	dataKey := make([]byte, dataKeySize)
	rand.Read(dataKey)
	defer clear(dataKey)
	module = module.Under(hsm.RootGeneration(c.RootGeneration))
	raw, err := module.Seal(ctx)
	if err != nil {
		return nil, fmt.Errorf("reaching root-seal: %w", err)
	}
	key, err := envelope.NewKey(ctx, raw)
	if err != nil {
		return nil, err
	}
	defer key.Close()
	if h.DataKey, err = envelope.SealSecret(ctx, key, hsm.RootGeneration(c.RootGeneration), dataKey, h.label()); err != nil {
		return nil, err
	}
	front, err := h.front()
	if err != nil {
		return nil, err
	}
	mac, err := module.MAC(ctx, front)
	if err != nil {
		return nil, fmt.Errorf("signing the backup: %w", err)
	}
	front = append(front, mac...)
	if _, err := w.Write(front); err != nil {
		return nil, fmt.Errorf("writing the backup: %w", err)
	}
	stream, err := newStream(dataKey)
	if err != nil {
		return nil, err
	}
	sealed, err := stream.NewEncryptingWriter(w, front)
	if err != nil {
		return nil, fmt.Errorf("starting the backup: %w", err)
	}
	if _, err := snapshot.Write(sealed, root); err != nil {
		return nil, err
	}
	if err := sealed.Close(); err != nil {
		return nil, fmt.Errorf("ending the backup: %w", err)
	}
	return h, nil
}

// front is the header in bytes, as the MAC covers it.
func (h *Header) front() ([]byte, error) {
	text, err := json.Marshal(h)
	if err != nil {
		return nil, fmt.Errorf("encoding the backup's header: %w", err)
	}
	front := binary.BigEndian.AppendUint32([]byte(magic), uint32(len(text)))
	return append(front, text...), nil
}

// ReadHeader reads what a backup says of itself. Nothing of that is proved
// until [Read] has read all of it; front is what Read needs besides.
func ReadHeader(r io.Reader) (h *Header, front []byte, err error) {
	front = make([]byte, len(magic)+4, len(magic)+4+1024)
	if _, err := io.ReadFull(r, front); err != nil {
		return nil, nil, cut(err)
	}
	size := binary.BigEndian.Uint32(front[len(magic):])
	if string(front[:len(magic)]) != magic || size > maxHeader {
		return nil, nil, ErrMalformed
	}
	front = append(front, make([]byte, size)...)
	text := front[len(magic)+4:]
	if _, err := io.ReadFull(r, text); err != nil {
		return nil, nil, cut(err)
	}
	h = new(Header)
	if err := json.Unmarshal(text, h); err != nil {
		return nil, nil, fmt.Errorf("%w: its header cannot be read", ErrMalformed)
	}
	return h, front, nil
}

// Read reads the state in a backup behind its header. The module must hold the
// roots that the header names, and the program must know its feature level:
// highest is the newest that it does.
func Read(ctx context.Context, r io.Reader, h *Header, front []byte, module hsm.Module, highest uint32) (*state.Root, error) {
	mac := make([]byte, macSize)
	if _, err := io.ReadFull(r, mac); err != nil {
		return nil, cut(err)
	}
	if err := module.VerifyMAC(ctx, front, mac); errors.Is(err, hsm.ErrMAC) {
		return nil, ErrForeign
	} else if err != nil {
		return nil, fmt.Errorf("verifying the backup: %w", err)
	}
	raw, err := module.Under(hsm.RootGeneration(h.RootGeneration)).Seal(ctx)
	if err != nil {
		return nil, fmt.Errorf("reaching root-seal: %w", err)
	}
	key, err := envelope.NewKey(ctx, raw)
	if err != nil {
		return nil, err
	}
	defer key.Close()
	dataKey, err := envelope.OpenSecret(ctx, key, h.DataKey, h.label())
	if errors.Is(err, envelope.ErrAuthentication) || errors.Is(err, envelope.ErrMalformed) {
		return nil, ErrForeign
	} else if err != nil {
		return nil, err
	}
	defer clear(dataKey)
	stream, err := newStream(dataKey)
	if err != nil {
		return nil, err
	}
	opened, err := stream.NewDecryptingReader(r, append(front, mac...))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	root, err := snapshot.ReadUpTo(opened, highest)
	if errors.Is(err, snapshot.ErrNewer) {
		return nil, fmt.Errorf("the backup was written by a newer raftkms (%s): use that version or a later one: %w", h.Version, err)
	} else if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if n, err := io.Copy(io.Discard, opened); err != nil || n > 0 { // the stream's own end is what proves that nothing is missing
		return nil, fmt.Errorf("%w: %d bytes behind its end (%v)", ErrMalformed, n, err)
	}
	hash := root.Hash()
	if c := root.Cluster(); c == nil || c.ID != h.ClusterID || c.Generation != h.Generation || c.LineageID() != h.LineageID ||
		c.RootGeneration != h.RootGeneration || root.Applied() != h.Index || fmt.Sprintf("%x", hash[:]) != h.StateHash {
		return nil, fmt.Errorf("%w: its header is that of another state", ErrMalformed)
	}
	return root, nil
}

// cut is the error of a file that ends too early.
func cut(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: it ends too early", ErrMalformed)
	}
	return fmt.Errorf("reading the backup: %w", err)
}

func newStream(dataKey []byte) (*subtle.AESGCMHKDF, error) {
	stream, err := subtle.NewAESGCMHKDF(bytes.Clone(dataKey), "SHA256", dataKeySize, segmentSize, 0)
	if err != nil {
		return nil, fmt.Errorf("preparing the backup's encryption: %w", err)
	}
	return stream, nil
}
