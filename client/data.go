package client

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"

	"github.com/emmansun/gmsm/sm3"

	"github.com/raftkms/raftkms/server/wire"
)

// defaultDataKeyBytes is the size of a data key where none is given.
const defaultDataKeyBytes = 32

// DataKeyOptions shape a data key. Context is bound to the ciphertext: opening
// it takes the same one; nil: none. AAD is the other form, a text of at most 128
// bytes, which clients of the vendor bind. At most one of them is given.
type DataKeyOptions struct {
	Bytes   int // 1 to 1024; 0: 32
	Context map[string]string
	AAD     string
}

func (o *DataKeyOptions) associated() wire.Associated {
	return (&Under{Context: o.Context, AAD: o.AAD}).associated()
}

// DataKey is a data key and its encryption under a CMK. The caller wipes
// Plaintext, which is nil when it was not asked for.
type DataKey struct {
	KeyID      string // of the CMK
	Plaintext  []byte
	Ciphertext []byte
}

// CreateDataKey makes a data key under a CMK, named by id or alias/NAME.
func (c *Client) CreateDataKey(ctx context.Context, key string, o DataKeyOptions) (DataKey, error) {
	return c.createDataKey(ctx, "create-datakey", key, o)
}

// CreateDataKeyWithoutPlaintext makes a data key of which only the ciphertext
// is returned.
func (c *Client) CreateDataKeyWithoutPlaintext(ctx context.Context, key string, o DataKeyOptions) (DataKey, error) {
	return c.createDataKey(ctx, "create-datakey-without-plaintext", key, o)
}

func (c *Client) createDataKey(ctx context.Context, verb, key string, o DataKeyOptions) (DataKey, error) {
	var reply wire.CreateDataKeyReply
	if err := c.call(ctx, verb, again, dataKeyRequest(key, o), &reply); err != nil {
		return DataKey{}, err
	}
	return DataKey{KeyID: reply.KeyID, Plaintext: reply.PlainText, Ciphertext: reply.CipherText}, nil
}

// CreateDataKeys makes many data keys (1 to 1000) under a symmetric CMK with one
// request: for a caller who needs them in bulk that is many times cheaper than
// one request each.
func (c *Client) CreateDataKeys(ctx context.Context, key string, count int, o DataKeyOptions) ([]DataKey, error) {
	return c.createDataKeys(ctx, "create-datakeys", key, count, o)
}

// CreateDataKeysWithoutPlaintext makes many data keys of which only the
// ciphertexts are returned.
func (c *Client) CreateDataKeysWithoutPlaintext(ctx context.Context, key string, count int, o DataKeyOptions) ([]DataKey, error) {
	return c.createDataKeys(ctx, "create-datakeys-without-plaintext", key, count, o)
}

func (c *Client) createDataKeys(ctx context.Context, verb, key string, count int, o DataKeyOptions) ([]DataKey, error) {
	request := wire.CreateDataKeysRequest{CreateDataKeyRequest: dataKeyRequest(key, o), Count: wire.Int(int64(count))}
	var reply wire.CreateDataKeysReply
	if err := c.call(ctx, verb, again, request, &reply); err != nil {
		return nil, err
	}
	keys := make([]DataKey, len(reply.Datakeys))
	for i, k := range reply.Datakeys {
		keys[i] = DataKey{KeyID: reply.KeyID, Plaintext: k.PlainText, Ciphertext: k.CipherText}
	}
	return keys, nil
}

func dataKeyRequest(key string, o DataKeyOptions) wire.CreateDataKeyRequest {
	request := wire.CreateDataKeyRequest{KeyID: key, Associated: o.associated()}
	if o.Bytes != 0 {
		request.DatakeyLength = wire.Int(int64(o.Bytes) * 8)
	}
	return request
}

// EncryptDataKey encrypts the caller's own data key of 1 to 1024 bytes. Of the
// options it takes what the ciphertext is bound to.
func (c *Client) EncryptDataKey(ctx context.Context, key string, dataKey []byte, o DataKeyOptions) ([]byte, error) {
	ciphertext, err := c.encryptDataKey(ctx, key, dataKey, sha256.Sum256(dataKey), o)
	if refused, ok := errors.AsType[*Error](err); ok && refused.Code == codeDigest {
		// Beside data keys under SM4 keys there is SM3, and only the service knows
		// which keys are.
		return c.encryptDataKey(ctx, key, dataKey, sm3.Sum(dataKey), o)
	}
	return ciphertext, err
}

// codeDigest is what a data key is refused with that is not beside the digest
// that the key goes with.
const codeDigest = "KMS.2103"

func (c *Client) encryptDataKey(ctx context.Context, key string, dataKey []byte, digest [32]byte, o DataKeyOptions) ([]byte, error) {
	plain := append(append(make([]byte, 0, len(dataKey)+len(digest)), dataKey...), digest[:]...)
	defer clear(plain)
	request := wire.EncryptDataKeyRequest{
		KeyID: key, Associated: o.associated(),
		PlainText: plain, DatakeyPlainLength: wire.Int(int64(len(dataKey))),
	}
	var reply wire.EncryptDataKeyReply
	if err := c.call(ctx, "encrypt-datakey", again, request, &reply); err != nil {
		return nil, err
	}
	return reply.CipherText, nil
}

// errDigest is what a data key gets that changed on its way.
var errDigest = errors.New("decrypt-datakey: the data key does not match its digest")

// DecryptDataKey opens the ciphertext of a data key. The options are those that
// it was made with. The caller wipes the result.
func (c *Client) DecryptDataKey(ctx context.Context, key string, ciphertext []byte, o DataKeyOptions) ([]byte, error) {
	if o.Bytes == 0 {
		o.Bytes = defaultDataKeyBytes
	}
	request := wire.DecryptDataKeyRequest{
		KeyID: key, Associated: o.associated(),
		CipherText: ciphertext, DatakeyCipherLength: wire.Int(int64(o.Bytes)),
	}
	var reply wire.DecryptDataKeyReply
	if err := c.decrypt(ctx, "decrypt-datakey", request, &reply); err != nil {
		return nil, err
	}
	for _, digest := range [][32]byte{sha256.Sum256(reply.DataKey), sm3.Sum(reply.DataKey)} { // the latter under SM4 keys
		if subtle.ConstantTimeCompare(digest[:], reply.DatakeyDgst) == 1 {
			return reply.DataKey, nil
		}
	}
	clear(reply.DataKey)
	return nil, errDigest
}

// EncryptData encrypts 1 to 4096 bytes of UTF-8 text under a symmetric CMK.
// Other bytes are the caller's to encode, for instance in base64.
func (c *Client) EncryptData(ctx context.Context, key string, plaintext []byte, context map[string]string) ([]byte, error) {
	return c.EncryptDataUnder(ctx, plaintext, Under{Key: key, Context: context})
}

// DecryptData opens what EncryptData made; the ciphertext names its key. The
// caller wipes the plaintext.
func (c *Client) DecryptData(ctx context.Context, ciphertext []byte, context map[string]string) (plaintext []byte, keyID string, err error) {
	return c.DecryptDataUnder(ctx, ciphertext, Under{Context: context})
}

// Random returns n random bytes (1 to 1024) of the service's generators.
func (c *Client) Random(ctx context.Context, n int) ([]byte, error) {
	var reply wire.RandomReply
	request := wire.RandomRequest{RandomDataLength: wire.Int(int64(n) * 8)}
	if err := c.call(ctx, "gen-random", again, request, &reply); err != nil {
		return nil, err
	}
	return reply.RandomData, nil
}
