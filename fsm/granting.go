package fsm

import (
	"github.com/raftkms/raftkms/fsm/policy"
	"github.com/raftkms/raftkms/fsm/state"
)

// What grants allow: the second source of permissions, beside policies.

// grantAllowing returns the grant by which the user may do what is asked; nil:
// there is none. Who has any grant on the key knows of it.
//
// A grant on a key of a disabled project or account allows nothing: it gives a
// part of what the owner may do, and the owner may do nothing.
func grantAllowing(v *state.View, user *state.User, r Request) (by *state.Grant, known bool) {
	if r.Key == nil || r.Key.Grants == 0 {
		return nil, false
	}
	if project, ok := v.Project(r.Key.ProjectID); !ok || !project.Enabled {
		return nil, false
	}
	if owner, ok := v.Domain(r.Key.DomainID); !ok || !owner.Enabled {
		return nil, false
	}
	mine := r.Grant != nil && r.Grant.KeyID == r.Key.ID
	switch r.Action {
	case policy.ActionRevokeGrant:
		if mine && r.Grant.Issuer == user.ID {
			by = r.Grant
		}
	case policy.ActionRetireGrant:
		if mine && r.Grant.RetirableBy(user.ID, user.DomainID) {
			by = r.Grant
		}
	default:
		by = v.GrantFor(r.Key, user.ID, user.DomainID, neededGrant(r))
	}
	return by, by != nil || v.Granted(r.Key, user.ID, user.DomainID) != 0
}

// mayRevoke tells whether a grant may be revoked by who made the key that it
// is on. The key is of the user's account.
func mayRevoke(user *state.User, r Request) bool {
	return r.Action == policy.ActionRevokeGrant && r.Key != nil && r.Key.CreatorID == user.ID
}

// neededGrant returns the operations of which a grant must allow one, for the
// request to rest on it; none: no grant can allow it.
func neededGrant(r Request) state.GrantedOps {
	switch r.Operation {
	case "":
		return grantsOfAction(r.Action)
	case "createGrant":
		return state.GrantCreateGrant
	case "createDataKey", "createDataKeys":
		return state.GrantCreateDataKey
	case "createDataKeyWithoutPlaintext", "createDataKeysWithoutPlaintext":
		return state.GrantCreateDataKeyWithoutPlaintext
	case "encryptDatakey":
		return state.GrantEncryptDataKey
	case "decryptDatakey":
		return state.GrantDecryptDataKey
	case "describeKey":
		return state.GrantDescribeKey
	case "encryptData":
		return state.GrantEncryptData
	case "decryptData":
		return state.GrantDecryptData
	case "sign":
		return state.GrantSign
	case "verify":
		return state.GrantVerify
	case "getPublicKey":
		return state.GrantGetPublicKey
	case "generateMac":
		return state.GrantGenerateMAC
	case "verifyMac":
		return state.GrantVerifyMAC
	case "deriveSharedSecret":
		return state.GrantDeriveSharedSecret
	case "createRsaDatakeyPair", "createEcDatakeyPair":
		return state.GrantCreateDataKeyPair
	case "createRsaDatakeyPairWithoutPlaintext", "createEcDatakeyPairWithoutPlaintext":
		return state.GrantCreateDataKeyPairWithoutPlaintext
	case "reEncryptDataFrom": // who may have the plaintext may have it sealed anew
		return state.GrantReEncryptFrom | state.GrantDecryptData
	case "reEncryptDatakeyFrom":
		return state.GrantReEncryptFrom | state.GrantDecryptDataKey
	case "reEncryptDataTo":
		return state.GrantReEncryptTo | state.GrantEncryptData
	case "reEncryptDatakeyTo":
		return state.GrantReEncryptTo | state.GrantEncryptDataKey
	default:
		return 0
	}
}

// grantsOfAction is [neededGrant] where only the action is known: of a command,
// and of who asks for an explanation.
func grantsOfAction(action string) state.GrantedOps {
	switch action {
	case policy.ActionCreateGrant:
		return state.GrantCreateGrant
	case policy.ActionGetKey:
		return state.GrantDescribeKey
	case policy.ActionCreateDEK:
		return state.GrantCreateDataKey | state.GrantCreateDataKeyWithoutPlaintext | state.GrantCreateDataKeyPair | state.GrantCreateDataKeyPairWithoutPlaintext
	case policy.ActionCryptoDEK:
		return state.GrantEncryptDataKey | state.GrantDecryptDataKey | state.GrantReEncryptFrom | state.GrantReEncryptTo
	case policy.ActionEncryptDEK:
		return state.GrantEncryptDataKey | state.GrantReEncryptTo
	case policy.ActionDecryptDEK:
		return state.GrantDecryptDataKey | state.GrantReEncryptFrom
	case policy.ActionEncryptData:
		return state.GrantEncryptData | state.GrantReEncryptTo
	case policy.ActionDecryptData:
		return state.GrantDecryptData | state.GrantReEncryptFrom
	case policy.ActionCryptoData:
		return state.GrantEncryptData | state.GrantDecryptData | state.GrantReEncryptFrom | state.GrantReEncryptTo
	case policy.ActionSign:
		return state.GrantSign
	case policy.ActionVerify:
		return state.GrantVerify
	case policy.ActionGetPublicKey:
		return state.GrantGetPublicKey
	case policy.ActionGenerateMAC:
		return state.GrantGenerateMAC
	case policy.ActionVerifyMAC:
		return state.GrantVerifyMAC
	case policy.ActionDeriveSecret:
		return state.GrantDeriveSharedSecret
	default:
		return 0
	}
}
