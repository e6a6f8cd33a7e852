package server

import (
	"strings"
	"testing"
)

// The index of the Huawei-style API: every endpoint that a client of its key
// management may ask for, one a line. P stands for /v1.0/{project_id}/kms.
const served = `
POST P/create-key
POST P/enable-key
POST P/disable-key
POST P/schedule-key-deletion
POST P/cancel-key-deletion
POST P/list-keys
POST P/describe-key
POST P/update-key-alias
POST P/update-key-description
POST P/gen-random
POST P/create-datakey
POST P/create-datakey-without-plaintext
POST P/encrypt-datakey
POST P/decrypt-datakey
POST P/encrypt-data
POST P/decrypt-data
POST P/get-parameters-for-import
POST P/import-key-material
POST P/delete-imported-key-material
POST P/create-grant
POST P/revoke-grant
POST P/retire-grant
POST P/list-grants
POST P/list-retirable-grants
POST P/enable-key-rotation
POST P/disable-key-rotation
POST P/update-key-rotation-interval
POST P/get-key-rotation-status
POST P/rotate-on-demand
POST P/resource_instances/action
GET P/{key_id}/tags
POST P/{key_id}/tags
POST P/{key_id}/tags/action
DELETE P/{key_id}/tags/{tag_key}
GET P/tags
GET P/user-instances
GET P/user-quotas
POST P/get-publickey
POST P/sign
POST P/verify
POST P/generate-mac
POST P/verify-mac
POST P/derive-shared-secret
POST P/aliases
DELETE P/aliases
GET P/aliases
POST P/alias/associate
POST P/re-encrypt
POST P/create-rsa-datakey-pair
POST P/create-ec-datakey-pair
GET /
GET /v1.0
`

// What the index only mentions: key stores of dedicated devices, replication to
// other regions, PINs and what newer SDKs alone ask for. There is nothing at
// these URLs, with any method.
const mentioned = `
/v2/p/kms/keys/k/replicate
/v2/p/kms/keys/k/update-primary-region
/v2/p/kms/regions
/v1.0/p/keystores
/v1.0/p/keystores/id
/v1.0/p/keystores/id/enable
/v1.0/p/keystores/id/disable
P/create-pin
P/key-policies
P/access-points
P/datakey-capsule
`

func TestTheIndexIsServed(t *testing.T) {
	table := newRouteTable((&Server{}).routes(nil))
	for line := range strings.Lines(strings.TrimSpace(served)) {
		method, path, _ := strings.Cut(strings.TrimSpace(line), " ")
		path = strings.Replace(path, "P/", "/v1.0/{project_id}/kms/", 1)
		if r, _ := table.find(method, path); r == nil || r.path != path {
			t.Errorf("%s %s is not there", method, path)
		}
	}
	for line := range strings.Lines(strings.TrimSpace(mentioned)) {
		path := strings.Replace(strings.TrimSpace(line), "P/", "/v1.0/p/kms/", 1)
		if methods := table.methods(path); len(methods) != 0 {
			t.Errorf("%s takes %v", path, methods)
		}
	}
}
