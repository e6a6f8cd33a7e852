package campaign

import (
	"context"
	"crypto/sha256"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/raftkms/raftkms/bench/history"
	"github.com/raftkms/raftkms/client"
	"github.com/raftkms/raftkms/server/wire"
)

// asker does calls. It fills in everything that a call's answer brings.
type asker interface {
	// name is the node that it asks; empty: any.
	name() string
	// ask does the call on a key: its id or alias/NAME.
	ask(ctx context.Context, key string, c *history.Call) verdict
	close()
}

// plaintext is what the encrypt calls of a campaign encrypt: it is made from
// the call's tag, so that every ciphertext has its own.
func plaintext(c *history.Call) []byte {
	return []byte("plaintext of worker " + strconv.Itoa(c.Worker) + " at " + c.Begin.String())
}

// ask implements [asker].
func (d *direct) ask(ctx context.Context, key string, c *history.Call) verdict {
	switch c.Op {
	case history.Create:
		return d.create(ctx, c)
	case history.Describe:
		return d.describe(ctx, key, c)
	case history.Enable, history.Disable:
		return d.do(ctx, string(c.Op), wire.KeyRequest{KeyID: key}, new(wire.KeyStateReply))
	case history.Rotate:
		return d.do(ctx, string(c.Op), wire.KeyRequest{KeyID: key}, new(wire.EmptyReply))
	case history.MakeKey:
		var reply wire.CreateDataKeyReply
		v := d.do(ctx, string(c.Op), wire.CreateDataKeyRequest{KeyID: key}, &reply)
		c.KeyID, c.Ciphertext = reply.KeyID, reply.CipherText
		d.secrets.add("a data key", reply.PlainText)
		return digested(v, c, reply.PlainText)
	case history.OpenKey:
		var reply wire.DecryptDataKeyReply
		v := d.do(ctx, string(c.Op), wire.DecryptDataKeyRequest{KeyID: key, CipherText: c.Ciphertext, DatakeyCipherLength: wire.Int(dataKeyBytes)}, &reply)
		if sum := sha256.Sum256(reply.DataKey); v.outcome == history.OK && string(sum[:]) != string(reply.DatakeyDgst) {
			c.Error = "the service's own digest differs"
			reply.DataKey = nil // which is not what was made
		}
		return digested(v, c, reply.DataKey)
	case history.Encrypt:
		var reply wire.EncryptDataReply
		d.secrets.add("a plaintext", plaintext(c))
		v := d.do(ctx, string(c.Op), wire.EncryptDataRequest{KeyID: key, PlainText: plaintext(c)}, &reply)
		c.KeyID, c.Ciphertext = reply.KeyID, reply.CipherText
		return digested(v, c, plaintext(c))
	default: // history.Decrypt
		var reply wire.DecryptDataReply
		v := d.do(ctx, string(c.Op), wire.DecryptDataRequest{CipherText: c.Ciphertext}, &reply)
		c.KeyID = reply.KeyID
		return digested(v, c, reply.PlainTextBase64)
	}
}

func (d *direct) create(ctx context.Context, c *history.Call) verdict {
	var reply wire.CreateKeyReply
	v := d.do(ctx, string(c.Op), wire.CreateKeyRequest{KeyAlias: c.Name, KeyDescription: c.Tag}, &reply)
	c.KeyID = reply.KeyInfo.KeyID
	return v
}

func (d *direct) describe(ctx context.Context, key string, c *history.Call) verdict {
	var reply wire.DescribeKeyReply
	v := d.do(ctx, string(c.Op), wire.KeyRequest{KeyID: key}, &reply)
	if v.outcome == history.OK {
		c.KeyID, c.Tag, c.State = reply.KeyInfo.KeyID, reply.KeyInfo.KeyDescription, stateOf(reply.KeyInfo.KeyState)
	}
	return v
}

// list returns all keys of the project.
func (d *direct) list(ctx context.Context) ([]history.Seen, verdict) {
	var keys []history.Seen
	for {
		var reply wire.ListKeysReply
		v := d.do(ctx, "list-keys", wire.ListKeysRequest{KeySpec: "ALL", Limit: wire.Int(listLimit), Marker: wire.Int(int64(len(keys)))}, &reply)
		if v.outcome != history.OK {
			return nil, v
		}
		for _, k := range reply.KeyDetails {
			keys = append(keys, history.Seen{KeyID: k.KeyID, Name: k.KeyAlias, Tag: k.KeyDescription, State: stateOf(k.KeyState)})
		}
		if reply.NextMarker == "" || len(reply.KeyDetails) == 0 {
			return keys, v
		}
	}
}

// countVersions fills in how many versions there are of the keys that are wanted.
func (d *direct) countVersions(ctx context.Context, keys []history.Seen, wanted map[string]bool) verdict {
	for i := range keys {
		request := wire.ListVersionsRequest{KeyID: keys[i].KeyID, Limit: wire.Int(listLimit)}
		for wanted[keys[i].Name] {
			var reply wire.ListVersionsReply
			v := d.do(ctx, "list-key-versions", request, &reply)
			if v.outcome != history.OK {
				return v
			}
			keys[i].Versions += len(reply.Versions)
			next, err := strconv.ParseInt(reply.NextMarker, 10, 64)
			if err != nil {
				break // there is no other page
			}
			request.Marker = wire.Int(next)
		}
	}
	return verdict{outcome: history.OK}
}

const (
	dataKeyBytes = 32
	listLimit    = 1000
)

// stateOf is a state of the wire in the history's words.
func stateOf(number string) history.State {
	n, err := strconv.Atoi(number)
	if err != nil {
		return history.State(number)
	}
	return history.State(client.KeyState(n).String())
}

func digested(v verdict, c *history.Call, plain []byte) verdict {
	if v.outcome == history.OK {
		c.Digest = history.DigestOf(plain)
	}
	return v
}

// roaming calls through our client, which knows all nodes and asks again. It does not
// tell how old the state is that a use is answered from, so that is taken to be as old
// as it may be.
type roaming struct {
	*client.Client
	maxAge time.Duration
}

// roamPatience bounds a call with all its tries.
const roamPatience = 8 * time.Second

func (r roaming) name() string { return "" }
func (r roaming) close()       { r.Close() }

// ask implements [asker].
func (r roaming) ask(ctx context.Context, key string, c *history.Call) verdict {
	var err error
	var plain []byte
	switch c.Op {
	case history.Create:
		c.KeyID, err = r.CreateKey(ctx, client.NewKey{Name: c.Name, Description: c.Tag})
	case history.Describe:
		var k client.Key
		if k, err = r.DescribeKey(ctx, key); err == nil {
			c.KeyID, c.Tag, c.State = k.ID, k.Description, history.State(k.State.String())
		}
	case history.Enable:
		err = r.EnableKey(ctx, key)
	case history.Disable:
		err = r.DisableKey(ctx, key)
	case history.Rotate:
		err = r.RotateKey(ctx, key)
	case history.MakeKey:
		var made client.DataKey
		made, err = r.CreateDataKey(ctx, key, client.DataKeyOptions{})
		c.KeyID, c.Ciphertext, plain = made.KeyID, made.Ciphertext, made.Plaintext
	case history.OpenKey:
		plain, err = r.DecryptDataKey(ctx, key, c.Ciphertext, client.DataKeyOptions{})
	case history.Encrypt:
		plain = plaintext(c)
		c.Ciphertext, err = r.EncryptData(ctx, key, plain, nil)
	case history.Decrypt:
		plain, c.KeyID, err = r.DecryptData(ctx, c.Ciphertext, nil)
	}
	v := told(err)
	if v.outcome == history.OK && c.Op.Uses() {
		v.age = r.maxAge
	}
	return digested(v, c, plain)
}

// told judges an error of our client, as its documentation has it.
func told(err error) verdict {
	v := verdict{outcome: history.Unknown, err: err}
	refused, isRefusal := errors.AsType[*client.Error](err)
	if isRefusal {
		v.code, v.request = refused.Code, refused.RequestID
	}
	switch {
	case err == nil:
		v.outcome = history.OK
	case errors.Is(err, client.ErrOutcomeUnknown):
	case errors.Is(err, client.ErrUnavailable):
		v.outcome = history.NotDone
	case isRefusal && history.RefusedForTime(err.Error()):
		v.outcome = history.NotDone
	case isRefusal && refused.Status < http.StatusInternalServerError:
		v.outcome = history.Refused
	}
	return v
}
