package sealing

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/tink-crypto/tink-go/v2/streamingaead/subtle"

	"github.com/raftkms/raftkms/client"
)

// ErrAltered is returned for a stream whose segments are not those that were
// sealed: changed, cut short, or under another header.
var ErrAltered = errors.New("the sealed data was altered or cut short")

// dataKeyBytes is the size of the data keys of this format.
const dataKeyBytes = 32

// DataKeys makes and opens data keys; [client.Client] does.
type DataKeys interface {
	CreateDataKey(ctx context.Context, key string, o client.DataKeyOptions) (client.DataKey, error)
	DecryptDataKey(ctx context.Context, key string, ciphertext []byte, o client.DataKeyOptions) ([]byte, error)
}

// Options shape a [Sealer]; the zero value asks the service for each Seal and Open.
type Options struct {
	// Cache keeps data keys in memory; see the package's words on what that
	// costs. nil: nothing is kept.
	Cache *Cache
}

// Sealer seals and opens data. It is safe for concurrent use.
type Sealer struct {
	keys  DataKeys
	cache *Cache
}

// New returns a Sealer that has its data keys of keys.
func New(keys DataKeys, o Options) *Sealer { return &Sealer{keys: keys, cache: o.Cache} }

// Seal encrypts plaintext under a data key of the CMK, which is named by id or
// alias/NAME. Opening takes the same encryption context; nil: none. For data
// that does not fit into memory there is [Sealer.Writer].
func (s *Sealer) Seal(ctx context.Context, key string, plaintext []byte, encryptionContext map[string]string) ([]byte, error) {
	segment := smallSegment
	if len(plaintext) > largeSegment {
		segment = largeSegment
	}
	var out bytes.Buffer
	out.Grow(fixedSize + 512 + len(plaintext) + 64 + 16*(len(plaintext)/segment+1))
	w, _, err := s.writer(ctx, key, &out, encryptionContext, segment, len(plaintext))
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(plaintext); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// Open decrypts what [Sealer.Seal] or a [Sealer.Writer] has made. It returns
// [ErrMalformed] or [ErrAltered] for anything else, and the client's errors
// where the service does not open the data key.
func (s *Sealer) Open(ctx context.Context, sealed []byte, encryptionContext map[string]string) ([]byte, error) {
	r, err := s.Reader(ctx, bytes.NewReader(sealed), encryptionContext)
	if err != nil {
		return nil, err
	}
	out := bytes.NewBuffer(make([]byte, 0, len(sealed)))
	if _, err := out.ReadFrom(r); err != nil {
		clear(out.Bytes())
		return nil, err
	}
	return out.Bytes(), nil
}

// Writer returns a writer that seals what is written to it into dst, with one
// call to the service now and none later. Only Close makes the stream whole;
// it does not close dst.
func (s *Sealer) Writer(ctx context.Context, key string, dst io.Writer, encryptionContext map[string]string) (io.WriteCloser, error) {
	w, e, err := s.writer(ctx, key, dst, encryptionContext, largeSegment, 0)
	if err != nil || e == nil {
		return w, err
	}
	return &charged{WriteCloser: w, cache: s.cache, entry: e}, nil
}

// charged is a stream whose bytes count as sealed under a data key of a cache.
type charged struct {
	io.WriteCloser
	cache *Cache
	entry *entry
}

func (w *charged) Write(p []byte) (int, error) {
	n, err := w.WriteCloser.Write(p)
	w.cache.charge(w.entry, n)
	return n, err
}

// writer starts a stream of segments of a size, of which size bytes are known to
// come. The entry is that of the data key; nil: it is in no cache.
func (s *Sealer) writer(ctx context.Context, key string, dst io.Writer, encryptionContext map[string]string, segment, size int) (io.WriteCloser, *entry, error) {
	dataKey, e, err := s.fresh(ctx, key, encryptionContext, size)
	if err != nil {
		return nil, nil, fmt.Errorf("making a data key: %w", err)
	}
	defer clear(dataKey.Plaintext)
	raw, err := header{segment: segment, keyID: dataKey.KeyID, wrapped: dataKey.Ciphertext}.encode()
	if err != nil {
		return nil, nil, err
	}
	stream, err := newStream(dataKey.Plaintext, segment)
	if err != nil {
		return nil, nil, err
	}
	if _, err := dst.Write(raw); err != nil {
		return nil, nil, fmt.Errorf("writing the header: %w", err)
	}
	w, err := stream.NewEncryptingWriter(dst, raw)
	if err != nil {
		return nil, nil, fmt.Errorf("starting the stream: %w", err)
	}
	return w, e, nil
}

// Reader returns a reader of the plaintext in src. Each segment is verified
// before any of it is returned; a stream that was cut ends in [ErrAltered]
// instead of io.EOF, so the data counts only once io.EOF was seen.
func (s *Sealer) Reader(ctx context.Context, src io.Reader, encryptionContext map[string]string) (io.Reader, error) {
	h, raw, err := readHeader(src)
	if err != nil {
		return nil, err
	}
	dataKey, err := s.opened(ctx, h, encryptionContext)
	if err != nil {
		return nil, fmt.Errorf("opening the data key: %w", err)
	}
	defer clear(dataKey)
	stream, err := newStream(dataKey, h.segment)
	if err != nil {
		return nil, err
	}
	source := &source{r: src}
	r, err := stream.NewDecryptingReader(source, raw)
	if err != nil {
		return nil, source.explain(err)
	}
	return &reader{r: r, source: source}, nil
}

// newStream is the streaming AEAD of the format. It copies the key.
func newStream(key []byte, segment int) (*subtle.AESGCMHKDF, error) {
	stream, err := subtle.NewAESGCMHKDF(bytes.Clone(key), "SHA256", 32, segment, 0)
	if err != nil {
		return nil, fmt.Errorf("preparing the stream: %w", err)
	}
	return stream, nil
}

// fresh is a data key to seal size bytes with, and its entry, if it is in a
// cache. The caller wipes it.
func (s *Sealer) fresh(ctx context.Context, key string, encryptionContext map[string]string, size int) (client.DataKey, *entry, error) {
	if s.cache == nil {
		made, err := s.keys.CreateDataKey(ctx, key, client.DataKeyOptions{Bytes: dataKeyBytes, Context: encryptionContext})
		return made, nil, err
	}
	return s.cache.fresh(ctx, s.keys, key, encryptionContext, size)
}

// opened is the data key of a header. The caller wipes it.
func (s *Sealer) opened(ctx context.Context, h header, encryptionContext map[string]string) ([]byte, error) {
	if s.cache == nil {
		return s.keys.DecryptDataKey(ctx, h.keyID, h.wrapped, client.DataKeyOptions{Bytes: dataKeyBytes, Context: encryptionContext})
	}
	return s.cache.opened(ctx, s.keys, h, encryptionContext)
}

// source remembers what went wrong below the stream, which reports every
// failure in the same words.
type source struct {
	r   io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

// explain tells a failure to read from data that does not verify.
func (s *source) explain(err error) error {
	if s.err != nil {
		return fmt.Errorf("reading the sealed data: %w", s.err)
	}
	return fmt.Errorf("%w: %w", ErrAltered, err)
}

// reader gives the stream's errors their meaning.
type reader struct {
	r      io.Reader
	source *source
}

func (r *reader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = r.source.explain(err)
	}
	return n, err
}
