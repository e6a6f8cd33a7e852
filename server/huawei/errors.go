package huawei

import (
	"context"
	"errors"

	"github.com/raftkms/raftkms/server/iam"
	"github.com/raftkms/raftkms/server/kms"
	"github.com/raftkms/raftkms/server/wire"
)

// answer is an error as the dialect says it.
type answer struct {
	status  int
	code    string
	message string
}

// answers are what kinds of error of the service become; the message is the
// one for errors that have none, and for those of which no detail is told.
var answers = map[kms.Kind]answer{
	kms.KindInternal:           {500, "KMS.0101", "Internal error. The request id leads to what is in the log."},
	kms.KindInvalid:            {400, "KMS.0308", "A parameter is invalid."},
	kms.KindUnauthenticated:    {401, codeGateway, "Incorrect IAM authentication information: verify aksk signature fail"},
	kms.KindForbidden:          {403, "KMS.0306", "You do not have the permission."},
	kms.KindWrongProject:       {403, "KMS.0321", "The project in the URL is not the credential's."},
	kms.KindNotFound:           {404, "KMS.0207", "The key does not exist."},
	kms.KindNameTaken:          {400, "KMS.1104", "The alias is in use."},
	kms.KindQuota:              {400, "KMS.1105", "The project has as many keys as it may have."},
	kms.KindNotEnabled:         {400, "KMS.1301", "The key is not enabled."},
	kms.KindNotDisabled:        {400, "KMS.1201", "The key is not disabled."},
	kms.KindKeyDisabled:        {400, "KMS.0209", "The key is disabled."},
	kms.KindKeyPendingDeletion: {400, "KMS.0210", "The key waits for its deletion."},
	kms.KindKeyPendingImport:   {400, "KMS.1301", "The key has no material."},
	kms.KindUsage:              {400, "KMS.0335", "The key's usage does not allow this."},
	kms.KindCiphertext:         {400, "KMS.2201", "The ciphertext is invalid."},
	kms.KindUnsupported:        {400, "KMS.0308", "The value is not supported."},
	kms.KindConflict:           {400, "KMS.0308", "Another request was made under the same token."},
	kms.KindUnavailable:        {503, "KMS.0104", "The node cannot answer now. Try again."},
	kms.KindOutcomeUnknown:     {500, "KMS.0103", "The change may or may not have been made. Ask for the key's state."},
	kms.KindTraceFailed:        {503, "KMS.0102", "The call could not be traced, so it is not answered."},

	kms.KindDefaultKey:         {400, "KMS.0211", "This is not done to a default master key."},
	kms.KindAlreadyPending:     {400, "KMS.1402", "The key waits for its deletion already."},
	kms.KindNotPendingDeletion: {400, "KMS.1501", "The key does not wait for its deletion."},
	kms.KindProtected:          {400, codeProtected, "The key is protected from deletion."},
	kms.KindAliasNotFound:      {404, "KMS.0207", "The alias does not exist."},
	kms.KindAliasLimit:         {400, "KMS.0308", "The key has as many aliases as it may have."},
	kms.KindRotationOn:         {400, "KMS.2901", "The key's rotation is enabled already."},
	kms.KindRotationOff:        {400, "KMS.0313", "The key's rotation is not enabled."},
	kms.KindRotationExternal:   {400, "KMS.0312", "A key with imported material is not rotated."},
	kms.KindRotationRSA:        {400, "KMS.0324", "An RSA key is not rotated."},
	kms.KindRotationAsymmetric: {400, "KMS.0325", "An asymmetric key is not rotated."},

	kms.KindEncryptingKey:      {400, "KMS.0334", "The key is for encrypting and decrypting."},
	kms.KindSymmetricKey:       {400, "KMS.1115", "A symmetric key cannot sign."},
	kms.KindMACKey:             {400, "KMS.0341", "An HMAC key cannot do this."},
	kms.KindCurveKey:           {400, "KMS.1114", "An EC key cannot encrypt."},
	kms.KindPairKey:            {400, "KMS.0325", "An asymmetric key cannot do this."},
	kms.KindSigningScheme:      {400, "KMS.0332", "The signing algorithm is not one of the key's spec."},
	kms.KindDigest:             {400, "KMS.0329", "The digest is not as long as the hash."},
	kms.KindSymmetricAlgorithm: {400, "KMS.2105", "The encryption algorithm is not one of symmetric keys."},
	kms.KindPairAlgorithm:      {400, "KMS.2106", "The encryption algorithm is not one of the key's spec."},
	kms.KindTooLong:            {400, "KMS.2108", "The plaintext is longer than the key can encrypt."},

	kms.KindGrantOnlyGrants: {400, "KMS.2401", "A grant allows more than to create grants."},
	kms.KindGrantPrincipal:  {400, "KMS.2402", "There is no such user or account."},
	kms.KindGrantLimit:      {400, "KMS.2404", "The key has as many grants as it may have."},
	kms.KindGrantTotal:      {400, "KMS.2405", "The keys of the project have as many grants as they may have."},
	kms.KindGrantNotFound:   {400, "KMS.2502", "The key has no such grant."},

	kms.KindTagLimit:          {400, "KMS.0409", "The key has as many tags as it may have."},
	kms.KindTagNotFound:       {404, "KMS.0416", "The key has no such tag."},
	kms.KindNotExternal:       {400, "KMS.0309", "The key's material is not imported."},
	kms.KindNotPendingImport:  {400, "KMS.0310", "The key does not wait for its material."},
	kms.KindImportUnwrap:      {400, "KMS.0311", "The wrapped key does not open."},
	kms.KindImportToken:       {400, "KMS.2605", "The import token is invalid."},
	kms.KindImportExpired:     {400, "KMS.2601", "The import token has expired."},
	kms.KindImportOtherKey:    {400, "KMS.2603", "The import token belongs to another key."},
	kms.KindImportExpiry:      {400, "KMS.2602", "The expiration time is not in the future."},
	kms.KindMaterialSize:      {400, "KMS.2604", "The material must have 32 bytes."},
	kms.KindMaterialDiffers:   {400, "KMS.2606", "The material is not that of the first import."},
	kms.KindPrivateKeyMissing: {400, "KMS.2608", "The private key is missing."},
	kms.KindPrivateKeyInvalid: {400, "KMS.2609", "The private key is invalid."},
	kms.KindTemporaryKey:      {400, "KMS.2610", "The temporary key must have 16 or 32 bytes."},
	kms.KindMaterialState:     {400, "KMS.2701", "There is no material that can be deleted."},
	kms.KindPairMaterial:      {400, "KMS.2702", "The material of an asymmetric key stays."},

	kms.KindStale: {503, "KMS.0104", "The key changed meanwhile. Try again."},
}

// codeProtected is an extension: the vendor has no deletion protection here,
// and the number beside its codes of deletion is free.
const codeProtected = "KMS.1403"

// codeGateway is the code of what the vendor's gateway refuses before the
// service sees it.
const codeGateway = "APIGW.0301"

// parameters are the codes of parameters that the service finds fault with, in
// its words.
var parameters = map[string]string{
	"name":        "KMS.1101",
	"description": "KMS.1103",
	"spec":        "KMS.1110",
	"usage":       "KMS.0308",
	"origin":      "KMS.0308",

	"pending_days": "KMS.1401",

	"encryption_context": "KMS.0208",
	"target_project":     "KMS.2304",
}

// memberCodes are the codes of members of a request with a value that they
// cannot have. What is not here is KMS.0308.
var memberCodes = map[string]string{
	"key_id":                "KMS.0205",
	"sequence":              "KMS.0206",
	"encryption_context":    "KMS.0208",
	"key_alias":             "KMS.1101",
	"key_description":       "KMS.1103",
	"key_spec":              "KMS.1110",
	"limit":                 "KMS.1601",
	"marker":                "KMS.1602",
	"random_data_length":    "KMS.1802",
	"datakey_length":        "KMS.1901",
	"datakey_plain_length":  "KMS.2102",
	"encryption_algorithm":  "KMS.2105",
	"cipher_text":           "KMS.2201",
	"target_key_id":         "KMS.0205",
	"alias":                 "KMS.1101",
	"aliases":               "KMS.1101",
	"pending_days":          "KMS.1401",
	"rotation_interval":     "KMS.3001",
	"datakey_cipher_length": "KMS.2202",
}

// refusal is what the dialect itself refuses. Its message is for the caller.
type refusal struct {
	answer
}

// Error returns the message.
func (r *refusal) Error() string { return r.message }

func refuse(code, message string) error {
	return &refusal{answer{400, code, message}}
}

// invalid refuses a member's value with the member's code.
func invalid(member, problem string) error {
	return &wire.MemberError{Member: member, Problem: problem}
}

// missing refuses a request without a member that it must have.
func missing(member string) error {
	return refuse("KMS.0204", "The parameter "+member+" is missing.")
}

// answerTo says an error of the operation in the dialect's words. What nobody
// has foreseen is an internal error without any detail.
func (e *Endpoint) answerTo(err error) answer {
	if err == nil {
		return answer{status: e.success()}
	}
	if failed, ok := errors.AsType[*kms.Error](err); ok {
		return e.answerToService(failed)
	}
	if refused, ok := errors.AsType[*refusal](err); ok {
		return refused.answer
	}
	if unknown, ok := errors.AsType[*iam.Error](err); ok {
		return answer{401, codeGateway, unknown.Error()}
	}
	if member, ok := errors.AsType[*wire.MemberError](err); ok {
		return answer{400, e.memberCode(member.Member), "The parameter " + member.Error() + "."}
	}
	switch {
	case errors.Is(err, wire.ErrSyntax):
		return answer{400, "KMS.0202", "The request is " + err.Error() + "."}
	case errors.Is(err, wire.ErrQuery):
		a := answer{400, "KMS.0202", "The request has a " + err.Error() + "."}
		if code, ok := e.kinds[kms.KindInvalid]; ok {
			a.code = code
		}
		return a
	case errors.Is(err, iam.ErrThrottled):
		return answer{503, "KMS.0104", "The user asks more often than this node answers one user. Try again."}
	case kms.ModuleGone(err),
		errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return answers[kms.KindUnavailable]
	}
	return answers[kms.KindInternal]
}

func (e *Endpoint) answerToService(err *kms.Error) answer {
	a, known := answers[err.Kind]
	if !known || err.Kind == kms.KindInternal {
		a = answers[kms.KindInternal]
		if code, ok := e.kinds[kms.KindInternal]; ok {
			a.code = code
		}
		return a
	}
	if code, ok := e.kinds[err.Kind]; ok {
		a.code = code
	} else if code, ok := parameters[err.Parameter]; ok {
		a.code = code
	}
	if err.Message != "" {
		a.message = err.Message
	}
	return a
}

func (e *Endpoint) memberCode(member string) string {
	if code, ok := e.members[member]; ok {
		return code
	}
	if code, ok := memberCodes[member]; ok {
		return code
	}
	return "KMS.0308"
}
