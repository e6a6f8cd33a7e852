package main_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/services/kms/v2/model"

	"github.com/raftkms/raftkms/client/wrapping"
	"github.com/raftkms/raftkms/server/wire"
)

// importsEndElsewhere begins every import on one node, has it fail on another
// and finishes it on a third, with each algorithm: the wrapping pair, made in
// the module of one node, opens in those of the others. A key that was Disabled
// when its material went is so with the same material again, and takes no other.
func importsEndElsewhere(t *testing.T, nodes []sdk) {
	at := func(i int) sdk { return nodes[i%len(nodes)] }
	for i, algorithm := range []string{wrapping.OAEPSHA256, wrapping.OAEPSHA1, wrapping.PKCS1v15} {
		key, material := at(i).createExternal(fmt.Sprintf("imported/%d", i)), bytes.Repeat([]byte{byte(i + 1)}, 32)
		bring := func(token string, block []byte, node int) error {
			_, err := at(node).kms.ImportKeyMaterial(&model.ImportKeyMaterialRequest{Body: &model.ImportKeyMaterialRequestBody{
				KeyId: key, ImportToken: token, EncryptedKeyMaterial: base64.StdEncoding.EncodeToString(block),
			}})
			return err
		}
		token, public := at(i).importParameters(key, algorithm)
		wantRefused(t, bring(token, make([]byte, 256), i+1), 400, "KMS.0311")
		must(t, bring(token, wrapFor(t, public, algorithm, material), i+2))
		made := at(i).dataKey(key, "")
		at(i+1).mustOpen(key, made, "")

		at(i+2).setState(key, false)
		_, err := at(i).kms.DeleteImportedKeyMaterial(&model.DeleteImportedKeyMaterialRequest{Body: &model.OperateKeyRequestBody{KeyId: key}})
		must(t, err)
		wantState := func(node int, want string) {
			t.Helper()
			if state := *at(node).describe(key).KeyState; state != want {
				t.Errorf("%s: the key is in the state %s, want %s", algorithm, state, want)
			}
		}
		wantState(i+1, "5")
		token, public = at(i+1).importParameters(key, algorithm)
		wantRefused(t, bring(token, wrapFor(t, public, algorithm, bytes.Repeat([]byte{99}, 32)), i+2), 400, "KMS.2606")
		wantState(i, "5")
		must(t, bring(token, wrapFor(t, public, algorithm, material), i))
		wantState(i+2, "3")
		at(i+1).setState(key, true)
		at(i+2).mustOpen(key, made, "")
	}
}

// importsAtAStandby takes the vote from a node that does not lead, and has it
// begin and finish imports like any other.
func importsAtAStandby(t *testing.T, c *cluster) {
	leader := c.leader(t, 0)
	at := (leader + 1) % len(c.file.Nodes)
	must(t, c.admin(leader).Demote(t.Context(), c.file.Nodes[at].ID))
	await(t, "a node without a vote", func() bool {
		members := c.status(t, at).Members
		return slices.ContainsFunc(members, func(m wire.MemberInfo) bool { return m.ID == c.file.Nodes[at].ID && m.Role == "standby" })
	})
	nodes := sdks(t, c)
	standby, voter := nodes[at], nodes[leader]
	for i, begins := range []sdk{standby, voter} {
		key, material := standby.createExternal(fmt.Sprintf("at-a-standby/%d", i)), bytes.Repeat([]byte{byte(i + 10)}, 32)
		token, public := begins.importParameters(key, wrapping.OAEPSHA256)
		bring := func(block []byte) error {
			_, err := standby.kms.ImportKeyMaterial(&model.ImportKeyMaterialRequest{Body: &model.ImportKeyMaterialRequestBody{
				KeyId: key, ImportToken: token, EncryptedKeyMaterial: base64.StdEncoding.EncodeToString(block),
			}})
			return err
		}
		wantRefused(t, bring(make([]byte, 256)), 400, "KMS.0311")
		must(t, bring(wrapFor(t, public, wrapping.OAEPSHA256, material)))
		voter.mustOpen(key, standby.dataKey(key, ""), "")
		standby.mustOpen(key, voter.dataKey(key, ""), "")
	}
}

func (s sdk) createExternal(name string) string {
	s.t.Helper()
	external, spec := model.GetCreateKeyRequestBodyOriginEnum().EXTERNAL, model.GetCreateKeyRequestBodyKeySpecEnum().AES_256
	made, err := s.kms.CreateKey(&model.CreateKeyRequest{Body: &model.CreateKeyRequestBody{KeyAlias: name, KeySpec: &spec, Origin: &external}})
	must(s.t, err)
	return *made.KeyInfo.KeyId
}

// importParameters asks for the parameters of an import. The SDK knows not all algorithms by name.
func (s sdk) importParameters(key, algorithm string) (token string, public []byte) {
	s.t.Helper()
	body := &model.GetParametersForImportRequestBody{KeyId: key}
	must(s.t, body.WrappingAlgorithm.UnmarshalJSON([]byte(`"`+algorithm+`"`)))
	p, err := s.kms.CreateParametersForImport(&model.CreateParametersForImportRequest{Body: body})
	must(s.t, err)
	public, err = base64.StdEncoding.DecodeString(*p.PublicKey)
	must(s.t, err)
	return *p.ImportToken, public
}

func wrapFor(t *testing.T, public []byte, algorithm string, material []byte) []byte {
	t.Helper()
	wrapped, err := wrapping.Secret(algorithm, public, material)
	must(t, err)
	return wrapped.Material
}

// defaultKeysAreMadeOnce asks all nodes for the default master key of a service
// at one moment, of which there was none.
func defaultKeysAreMadeOnce(t *testing.T, nodes []sdk) {
	const each = 4
	var mu sync.Mutex
	var all sync.WaitGroup
	used := map[string]int{}
	for _, n := range nodes {
		for range each {
			all.Go(func() {
				reply, err := n.kms.CreateDatakey(&model.CreateDatakeyRequest{Body: &model.CreateDatakeyRequestBody{KeyId: "alias/ims/default", DatakeyLength: new("256")}})
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					t.Error(err)
					return
				}
				used[*reply.KeyId]++
			})
		}
	}
	all.Wait()
	for key, n := range used {
		if d := nodes[0].describe(key); n != each*len(nodes) || *d.DefaultKeyFlag != "1" || *d.KeyAlias != "ims/default" {
			t.Errorf("the key %s, described as %+v, was used %d times of %d", key, d, n, each*len(nodes))
		}
	}
}
