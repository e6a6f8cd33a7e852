package huawei

import (
	"context"
	"time"

	"github.com/raftkms/raftkms/server/kms"
	"github.com/raftkms/raftkms/server/wire"
)

// GetParametersForImport is get-parameters-for-import.
var GetParametersForImport = endpoint(kms.OpGetParametersForImport, func(ctx context.Context, x *exchange, req *wire.ImportParametersRequest) (reply wire.ImportParametersReply, err error) {
	ref, err := x.keyRef(req.KeyID)
	if err != nil {
		return reply, err
	}
	if req.WrappingAlgorithm == "" {
		return reply, missing("wrapping_algorithm")
	}
	p, err := x.GetParametersForImport(ctx, x.call, ref, req.WrappingAlgorithm)
	if err != nil {
		return reply, err
	}
	return wire.ImportParametersReply{KeyID: p.KeyID, ImportToken: p.Token, ExpirationTime: p.Expires.Unix(), PublicKey: p.PublicKey}, nil
})

// maxEncryptedPrivateKey bounds encrypted_privatekey: 6144 characters.
const maxEncryptedPrivateKey = 6144 / 4 * 3

// ImportKeyMaterial is import-key-material.
var ImportKeyMaterial = endpoint(kms.OpImportKeyMaterial, func(ctx context.Context, x *exchange, req *wire.ImportMaterialRequest) (reply wire.EmptyReply, err error) {
	ref, err := x.keyRef(req.KeyID)
	if err != nil {
		return reply, err
	}
	switch {
	case len(req.ImportToken) == 0:
		return reply, missing("import_token")
	case len(req.EncryptedKeyMaterial) == 0:
		return reply, missing("encrypted_key_material")
	case len(req.EncryptedPrivatekey) > maxEncryptedPrivateKey:
		return reply, refuse("KMS.2609", "The parameter encrypted_privatekey must have at most 6144 characters.")
	}
	asked := kms.ImportRequest{Key: ref, Token: req.ImportToken, Material: req.EncryptedKeyMaterial, PrivateKey: req.EncryptedPrivatekey}
	if at := req.ExpirationTime; at.Set {
		if at.Value < 1 || at.Value > lastSecond {
			return reply, refuse("KMS.2602", "The parameter expiration_time must be in the future, in seconds.")
		}
		asked.Expires = time.Unix(at.Value, 0)
	}
	return reply, x.ImportKeyMaterial(ctx, x.call, asked)
}).with(nil, map[string]string{"import_token": "KMS.2605", "encrypted_key_material": "KMS.0311", "encrypted_privatekey": "KMS.2609", "expiration_time": "KMS.2602"})

// lastSecond is the end of the year 9999: later is milliseconds by mistake.
const lastSecond = 253402300799

// DeleteImportedKeyMaterial is delete-imported-key-material.
var DeleteImportedKeyMaterial = endpoint(kms.OpDeleteKeyMaterial, func(ctx context.Context, x *exchange, req *wire.KeyRequest) (reply wire.EmptyReply, err error) {
	ref, err := x.keyRef(req.KeyID)
	if err != nil {
		return reply, err
	}
	return reply, x.DeleteKeyMaterial(ctx, x.call, ref)
})
