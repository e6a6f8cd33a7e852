package sealing

import (
	"bytes"
	"container/list"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"sync"
	"time"

	"github.com/raftkms/raftkms/client"
)

// Cache keeps data keys for a while, so that not every Seal and Open asks the
// service. All bounds hold at once; a zero field takes the value named with it.
// A Cache may serve several Sealers of the same client; it must not be copied.
//
// While a data key is kept, its use is not asked for: MaxAge is how long a
// revocation may take to reach this process.
type Cache struct {
	MaxAge     time.Duration // 0: 1 minute
	MaxUses    int           // seals under one data key; 0: 1000
	MaxBytes   int64         // bytes sealed under one data key; 0: 1 GiB. A stream that has begun goes on beyond it.
	MaxEntries int           // data keys kept; 0: 256

	mu      sync.Mutex
	entries map[id]*list.Element // of *entry
	recent  list.List            // newest first
}

// id names what a data key may be used for: for sealing the CMK and the
// context, for opening also the encrypted data key.
type id [sha256.Size]byte

// entry is one data key.
type entry struct {
	id        id
	keyID     string
	plaintext []byte
	wrapped   []byte
	expires   time.Time
	uses      int
	bytes     int64
}

// fresh returns a kept data key that may seal size more bytes, or makes one,
// and the entry that it is. The bytes of a stream, which nobody knows when it
// begins, are added to the entry as they are written; see [Cache.charge].
func (c *Cache) fresh(ctx context.Context, keys DataKeys, key string, encryptionContext map[string]string, size int) (client.DataKey, *entry, error) {
	name := identify("seal", key, nil, encryptionContext)
	if kept, e := c.take(name, size); e != nil {
		return kept, e, nil
	}
	made, err := keys.CreateDataKey(ctx, key, client.DataKeyOptions{Bytes: dataKeyBytes, Context: encryptionContext})
	if err != nil {
		return client.DataKey{}, nil, err
	}
	e := c.keep(name, made, 1, int64(size))
	// What this process sealed it may well open again.
	c.keep(identify("open", made.KeyID, made.Ciphertext, encryptionContext), made, 0, 0)
	return made, e, nil
}

// charge counts bytes that a stream has sealed under the data key of an entry,
// which may have been dropped by now: the one in its place is not charged.
func (c *Cache) charge(e *entry, bytes int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e.bytes += int64(bytes)
}

// opened returns the data key of a header, kept or opened by the service.
func (c *Cache) opened(ctx context.Context, keys DataKeys, h header, encryptionContext map[string]string) ([]byte, error) {
	name := identify("open", h.keyID, h.wrapped, encryptionContext)
	if kept, e := c.take(name, 0); e != nil {
		return kept.Plaintext, nil
	}
	plaintext, err := keys.DecryptDataKey(ctx, h.keyID, h.wrapped, client.DataKeyOptions{Bytes: dataKeyBytes, Context: encryptionContext})
	if err != nil {
		return nil, err
	}
	c.keep(name, client.DataKey{KeyID: h.keyID, Plaintext: plaintext, Ciphertext: h.wrapped}, 0, 0)
	return plaintext, nil
}

// take returns a copy of a kept data key, and the entry that it is, and counts
// its use. No entry: there is none that may be used.
func (c *Cache) take(name id, size int) (client.DataKey, *entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	element, ok := c.entries[name]
	if !ok {
		return client.DataKey{}, nil
	}
	e := element.Value.(*entry)
	sealing := e.uses > 0
	if !time.Now().Before(e.expires) || sealing && c.spent(e, size) {
		c.drop(element)
		return client.DataKey{}, nil
	}
	if sealing {
		e.uses++
		e.bytes += int64(size)
	}
	c.recent.MoveToFront(element)
	return client.DataKey{KeyID: e.keyID, Plaintext: bytes.Clone(e.plaintext), Ciphertext: e.wrapped}, e
}

// spent tells whether a data key may not seal size more bytes. A stream, whose
// size is 0, may begin while there is any room.
func (c *Cache) spent(e *entry, size int) bool {
	most := orDefault(c.MaxBytes, 1<<30)
	return e.uses >= orDefault(c.MaxUses, 1000) || e.bytes >= most || int64(size) > most-e.bytes
}

// keep puts a copy of a data key into the cache, and returns its entry. uses is
// 0 for one that opens.
func (c *Cache) keep(name id, key client.DataKey, uses int, size int64) *entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.entries == nil {
		c.entries = make(map[id]*list.Element)
	}
	if old, ok := c.entries[name]; ok {
		c.drop(old)
	}
	c.dropExpired(time.Now())
	e := &entry{
		id: name, keyID: key.KeyID, plaintext: bytes.Clone(key.Plaintext), wrapped: bytes.Clone(key.Ciphertext),
		expires: time.Now().Add(orDefault(c.MaxAge, time.Minute)), uses: uses, bytes: size,
	}
	c.entries[name] = c.recent.PushFront(e)
	for c.recent.Len() > orDefault(c.MaxEntries, 256) {
		c.drop(c.recent.Back())
	}
	return e
}

// drop wipes an entry and forgets it.
func (c *Cache) drop(element *list.Element) {
	e := c.recent.Remove(element).(*entry)
	delete(c.entries, e.id)
	clear(e.plaintext)
}

// dropExpired wipes what nobody came back for.
func (c *Cache) dropExpired(now time.Time) {
	for element := c.recent.Front(); element != nil; {
		next := element.Next()
		if !now.Before(element.Value.(*entry).expires) {
			c.drop(element)
		}
		element = next
	}
}

// Wipe forgets every data key, for instance after a revocation was announced.
func (c *Cache) Wipe() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.recent.Len() > 0 {
		c.drop(c.recent.Back())
	}
}

// identify hashes what a data key is for, each part with its length.
func identify(use, key string, wrapped []byte, encryptionContext map[string]string) id {
	h := sha256.New()
	write := func(part string) {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
		h.Write([]byte(part))
	}
	write(use)
	write(key)
	write(string(wrapped))
	names := make([]string, 0, len(encryptionContext))
	for name := range encryptionContext {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		write(name)
		write(encryptionContext[name])
	}
	return id(h.Sum(nil))
}

// orDefault is value, or fallback for zero.
func orDefault[N int | int64 | time.Duration](value, fallback N) N {
	if value == 0 {
		return fallback
	}
	return value
}
