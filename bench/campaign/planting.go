package campaign

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/raftkms/raftkms/bench/history"
	"github.com/raftkms/raftkms/client/wrapping"
	"github.com/raftkms/raftkms/server/wire"
)

// plant gives a node secrets of the kinds that the load has none of: material
// that is imported, and credentials that are wrong, which the node must refuse
// without telling anybody what they were.
func plant(ctx context.Context, d *direct, known *secrets) error {
	var made wire.CreateKeyReply
	if v := d.do(ctx, string(history.Create), wire.CreateKeyRequest{KeyAlias: "planted", Origin: "external"}, &made); v.outcome != history.OK {
		return fmt.Errorf("making a key for material: %w", v.err)
	}
	var parameters wire.ImportParametersReply
	asked := wire.ImportParametersRequest{KeyID: made.KeyInfo.KeyID, WrappingAlgorithm: wrapping.OAEPSHA256}
	if v := d.do(ctx, "get-parameters-for-import", asked, &parameters); v.outcome != history.OK {
		return fmt.Errorf("asking for a wrapping key: %w", v.err)
	}
	material := make([]byte, 32)
	rand.Read(material) // it does not fail
	known.add("imported material", material)
	wrapped, err := wrapping.Secret(wrapping.OAEPSHA256, parameters.PublicKey, material)
	if err != nil {
		return err
	}
	known.add("an import token", parameters.ImportToken)
	given := wire.ImportMaterialRequest{KeyID: made.KeyInfo.KeyID, ImportToken: parameters.ImportToken, EncryptedKeyMaterial: wrapped.Material}
	if v := d.do(ctx, "import-key-material", given, &struct{}{}); v.outcome != history.OK {
		return fmt.Errorf("importing material: %w", v.err)
	}

	wrong := func(what string) string {
		secret := "wrong-" + hex.EncodeToString(material[:4]) + "-" + rand.Text()
		known.add(what, []byte(secret))
		return secret
	}
	login := `{"auth":{"identity":{"methods":["password"],"password":{"user":{"name":"nobody","domain":{"name":"nowhere"},"password":"` + wrong("a wrong password") + `"}}}}}`
	nothing := func(*http.Request, []byte) {}
	token, bearer := wrong("a wrong token"), wrong("a wrong bearer token")
	for what, v := range map[string]verdict{
		"a wrong password": d.send(ctx, http.MethodPost, "/v3/auth/tokens", json.RawMessage(login), nil, nothing),
		"a wrong token": d.send(ctx, http.MethodGet, "/v3/auth/catalog", nil, nil, func(r *http.Request, _ []byte) {
			r.Header.Set("X-Auth-Token", token)
		}),
		"a wrong bearer token": d.send(ctx, http.MethodGet, "/v3/auth/catalog", nil, nil, func(r *http.Request, _ []byte) {
			r.Header.Set("Authorization", "Bearer "+bearer)
		}),
	} {
		if v.outcome != history.Refused {
			return fmt.Errorf("%s is not refused: %s, %w", what, v.outcome, v.err)
		}
	}
	return nil
}
