package kms

import (
	"slices"
	"strings"
	"time"

	"github.com/raftkms/raftkms/fsm"
	"github.com/raftkms/raftkms/fsm/state"
	"github.com/raftkms/raftkms/hsm"
)

// What a key may be used for. It is fixed when the key is made.
const (
	UsageEncryptDecrypt    = "ENCRYPT_DECRYPT"
	UsageSignVerify        = "SIGN_VERIFY"
	UsageGenerateVerifyMAC = "GENERATE_VERIFY_MAC"
	UsageKeyAgreement      = "KEY_AGREEMENT"
)

// useOf is what material is loaded for.
func useOf(usage string) hsm.Use {
	switch usage {
	case UsageSignVerify:
		return hsm.UseSign
	case UsageGenerateVerifyMAC:
		return hsm.UseMAC
	case UsageKeyAgreement:
		return hsm.UseAgree
	default:
		return hsm.UseEncrypt
	}
}

// checkNewKey fills in what a request for a key leaves out and refuses what no
// key can be.
func checkNewKey(req *CreateKeyRequest) error {
	if req.Spec == "" {
		req.Spec = SpecAES256
	}
	offered := fsm.Usages(req.Spec)
	if len(offered) == 0 {
		return &Error{Kind: KindUnsupported, Parameter: "spec", Message: "this key spec is not offered; use one of " + strings.Join(specNames(), ", ")}
	}
	if req.Usage == "" {
		req.Usage = offered[0]
	}
	if !slices.Contains(offered, req.Usage) {
		return &Error{Kind: KindUnsupported, Parameter: "usage", Message: "this key usage does not fit the key spec; use " + strings.Join(offered, " or ")}
	}
	if req.Origin == "" {
		req.Origin = OriginKMS
	}
	switch {
	case req.Origin != OriginKMS && req.Origin != OriginExternal:
		return &Error{Kind: KindUnsupported, Parameter: "origin", Message: "this origin is not offered; use " + OriginKMS + " or " + OriginExternal}
	case req.Origin == OriginExternal && !fsm.Importable(req.Spec):
		return &Error{Kind: KindUnsupported, Parameter: "origin", Message: "material of this key spec is not imported; use the origin " + OriginKMS}
	}
	return nil
}

func specNames() []string {
	var names []string
	for _, spec := range hsm.Specs() {
		names = append(names, string(spec))
	}
	return names
}

// level is the protection level that was asked for, or what the module is for.
// Where a device does not carry a spec, the weaker level is chosen by nobody
// but the caller, except for the SM algorithms, which have no other.
func (s *Service) level(req CreateKeyRequest) (hsm.Level, error) {
	spec := hsm.Spec(req.Spec)
	d := s.module.Describe()
	refuse := func(kind Kind, message string) (hsm.Level, error) {
		return 0, &Error{Kind: kind, Parameter: "protection_level", Message: message}
	}
	switch req.Level {
	case hsm.LevelSoftware.String():
		return hsm.LevelSoftware, nil
	case "", hsm.LevelHSM.String():
	default:
		return refuse(KindInvalid, "a protection level is HSM or SOFTWARE")
	}
	switch {
	case req.Level == "" && (!d.Device || spec.SoftwareOnly()):
		return hsm.LevelSoftware, nil
	case spec.SoftwareOnly():
		return refuse(KindUnsupported, "keys of the spec "+req.Spec+" have the protection level SOFTWARE")
	case !d.Device:
		return refuse(KindUnsupported, "this cluster's modules are no devices, so there is no key of the protection level HSM; use SOFTWARE")
	case spec != hsm.SpecAES256 && !d.CarriesFor(spec, useOf(req.Usage)):
		return refuse(KindUnsupported, "this cluster's modules carry no keys of the spec "+req.Spec+" for "+req.Usage+"; ask for the protection level SOFTWARE")
	default:
		return hsm.LevelHSM, nil
	}
}

// mayDo asks whether a key's state and usage allow what it is wanted for.
func (c *Call) mayDo(key *state.Key, usage string) error {
	switch key.State {
	case state.Enabled:
		// The scheduler erases it; nobody waits for that who knows of the instant
		// by the cluster's time, or by the node's own clock.
		if key.MaterialExpires != 0 && max(c.Root.Now(), time.Now().UnixMilli()) >= key.MaterialExpires {
			return Refuse(KindKeyPendingImport, "the key's material has expired")
		}
	case state.Disabled:
		return Refuse(KindKeyDisabled, "the key is disabled; enable it first")
	case state.PendingDeletion:
		return Refuse(KindKeyPendingDeletion, "the key waits for its deletion at %s; who still needs it must have that cancelled before", isoTime(key.Deletion))
	default:
		return Refuse(KindKeyPendingImport, "the key has no material")
	}
	return checkUsage(key, usage)
}

// checkUsage tells in the words of the key why it is not for a usage.
func checkUsage(key *state.Key, usage string) error {
	spec := hsm.Spec(key.Spec)
	switch {
	case key.Usage == usage:
		return nil
	case key.Usage == UsageGenerateVerifyMAC:
		return Refuse(KindMACKey, "an HMAC key makes and verifies MACs and nothing else")
	case !spec.Pair():
		return Refuse(KindSymmetricKey, "the key is a symmetric one, which only encrypts and decrypts")
	case usage == UsageEncryptDecrypt && !spec.Allows(hsm.UseEncrypt):
		return Refuse(KindCurveKey, "keys of the spec %s cannot encrypt", key.Spec)
	case key.Usage == UsageEncryptDecrypt:
		return Refuse(KindEncryptingKey, "the key's usage is %s", key.Usage)
	default:
		return Refuse(KindUsage, "the key's usage is %s", key.Usage)
	}
}

// usableFor finds a key that may be used so for the caller now.
func (c *Call) usableFor(ref, usage string) (*state.Key, error) {
	key, err := c.findAuthorised(ref)
	if err != nil {
		return nil, err
	}
	return key, c.mayDo(key, usage)
}
