package fsm

import (
	"fmt"

	"github.com/raftkms/raftkms/fsm/canonical"
	"github.com/raftkms/raftkms/fsm/state"
)

// Result is the answer to one entry. It travels between nodes and is kept in
// the state, and holds no secret.
type Result struct {
	// Index is the entry that was answered: for a repeated proposal that of
	// the first time, else the entry's own.
	Index   uint64
	Refusal *Refusal // nil: done
	Body    []byte   // what the write answers, when done; see [Result.Key] and [Result.Node]
}

// Refusal is a command's no. It is an answer like any other: replicated,
// deterministic, the same on every node.
type Refusal struct {
	Code    Code
	Message string // for people; names nothing that the caller may not know
}

// Error implements error.
func (r *Refusal) Error() string { return string(r.Code) + ": " + r.Message }

// Code says why a command was refused. Codes travel and are stored: one that
// is published is never renamed.
type Code string

// The codes.
const (
	CodeNotFound            Code = "not-found"
	CodeAlreadyExists       Code = "already-exists" // the name or id is taken
	CodeNotEnabled          Code = "not-enabled"
	CodeNotDisabled         Code = "not-disabled"
	CodePendingDeletion     Code = "pending-deletion"
	CodeDefaultKey          Code = "default-key" // a default master key cannot be changed
	CodeQuotaExceeded       Code = "quota-exceeded"
	CodeUnauthenticated     Code = "unauthenticated"   // no valid user stands behind the credential
	CodeForbidden           Code = "forbidden"         // the user may not
	CodeInvalid             Code = "invalid"           // a field out of bounds
	CodeProposalConflict    Code = "proposal-conflict" // the proposal id was used for something else
	CodeOutcomeUnknown      Code = "outcome-unknown"   // too old to be told from a repeat: done or not done
	CodeTokenUsed           Code = "token-used"
	CodeTokenExpired        Code = "token-expired"
	CodeTokenUnknown        Code = "token-unknown"
	CodeModuleKind          Code = "module-kind" // the node's module is of another kind than the cluster's
	CodeNotBootstrapped     Code = "not-bootstrapped"
	CodeAlreadyBootstrapped Code = "already-bootstrapped"
	CodeLimit               Code = "limit"         // there are as many as there may be
	CodeInUse               Code = "in-use"        // something still depends on it
	CodeFeatureLevel        Code = "feature-level" // the cluster has not reached it

	CodeKeyDisabled        Code = "key-disabled"
	CodePendingImport      Code = "pending-import"       // the key has no material
	CodeAlreadyPending     Code = "already-pending"      // its deletion is scheduled already
	CodeNotPendingDeletion Code = "not-pending-deletion" // there is no deletion to cancel
	CodeProtected          Code = "deletion-protected"
	CodeAliasLimit         Code = "alias-limit"
	CodeAliasNotFound      Code = "alias-not-found"
	CodeRotationOn         Code = "rotation-on"         // it is enabled already
	CodeRotationOff        Code = "rotation-off"        // it is not enabled
	CodeRotationExternal   Code = "rotation-external"   // imported material is not rotated
	CodeRotationRSA        Code = "rotation-rsa"        // nor are RSA keys
	CodeRotationAsymmetric Code = "rotation-asymmetric" // nor any other that is not symmetric
	CodeNotExternal        Code = "not-external"        // its material is not imported
	CodeNotPendingImport   Code = "not-pending-import"  // it has its material
	CodeImportToken        Code = "import-token"        // it has failed too often
	CodeImportExpired      Code = "import-expired"      // the token has
	CodeImportExpiry       Code = "import-expiry"       // of the material, which is over
	CodeMaterialDiffers    Code = "material-differs"    // from what was imported first
	CodeMaterialState      Code = "material-state"      // there is none that could be deleted
	CodePairMaterial       Code = "pair-material"       // stays for ever
	CodeStale              Code = "stale"               // what the proposer saw is no longer so

	CodeTagLimit    Code = "tag-limit"
	CodeTagNotFound Code = "tag-not-found"

	CodeGrantOnlyGrants Code = "grant-only-grants" // a grant of nothing but to grant
	CodeGrantPrincipal  Code = "grant-principal"   // no such user or account
	CodeGrantLimit      Code = "grant-limit"
	CodeGrantTotal      Code = "grant-total"
	CodeGrantNotFound   Code = "grant-not-found"
)

// refuse makes a refusal; the message is in the words of fmt.Sprintf.
func refuse(code Code, message string, args ...any) *Refusal {
	return &Refusal{Code: code, Message: fmt.Sprintf(message, args...)}
}

// refused is the result of an entry that changed nothing and is not kept.
func refused(index uint64, r *Refusal) Result { return Result{Index: index, Refusal: r} }

// KeyResult is what the writes that are about one key answer.
type KeyResult struct {
	KeyID    string         `cbor:"1,keyasint"`
	DomainID string         `cbor:"2,keyasint"` // the owner account
	Name     string         `cbor:"3,keyasint"`
	State    state.KeyState `cbor:"4,keyasint"`
	Created  int64          `cbor:"5,keyasint"` // Unix ms
}

// ProjectResult is what set-quotas answers.
type ProjectResult struct {
	ProjectID string `cbor:"1,keyasint"`
}

// NodeResult is what bootstrap, admit-node and approve-roots answer.
type NodeResult struct {
	NodeID        string `cbor:"1,keyasint"`
	RootsApproved uint32 `cbor:"2,keyasint"` // root generation approved for it; 0: none
}

// TokenResult is what create-join-token answers.
type TokenResult struct {
	Expires int64 `cbor:"1,keyasint"` // Unix ms
}

// AliasResult is what create-alias and associate-alias answer.
type AliasResult struct {
	ProjectID string `cbor:"1,keyasint"`
	Name      string `cbor:"2,keyasint"`
	KeyID     string `cbor:"3,keyasint"`
	Created   int64  `cbor:"4,keyasint"` // Unix ms
	Updated   int64  `cbor:"5,keyasint"` // Unix ms
}

// GrantResult is what the writes about grants answer.
type GrantResult struct {
	GrantID string `cbor:"1,keyasint"`
}

// UserResult is what the writes that are about one user's credentials answer.
type UserResult struct {
	UserID string `cbor:"1,keyasint"`
}

// ProviderResult is what the writes about client CAs and OIDC issuers answer.
type ProviderResult struct {
	ID string `cbor:"1,keyasint"`
}

// Alias returns the body of a result of create-alias or associate-alias.
func (r Result) Alias() (AliasResult, error) { return decodeBody[AliasResult](r) }

// Key returns the body of a result of the writes that are about one key.
func (r Result) Key() (KeyResult, error) { return decodeBody[KeyResult](r) }

// Grant returns the body of a result of the writes about grants.
func (r Result) Grant() (GrantResult, error) { return decodeBody[GrantResult](r) }

// Node returns the body of a result of bootstrap, admit-node or approve-roots.
func (r Result) Node() (NodeResult, error) { return decodeBody[NodeResult](r) }

// Token returns the body of a result of create-join-token.
func (r Result) Token() (TokenResult, error) { return decodeBody[TokenResult](r) }

// Rewrapped decodes the answer to a write that put things under other roots.
func (r Result) Rewrapped() (RewrapResult, error) { return decodeBody[RewrapResult](r) }

// decodeBody returns the refusal as the error when there is one.
func decodeBody[B any](r Result) (B, error) {
	var body B
	if r.Refusal != nil {
		return body, r.Refusal
	}
	if err := canonical.Unmarshal(r.Body, &body); err != nil {
		return body, fmt.Errorf("decoding a result as %T: %w", body, err)
	}
	return body, nil
}

// wireResult is a Result in bytes.
type wireResult struct {
	Index   uint64 `cbor:"1,keyasint"`
	Code    Code   `cbor:"2,keyasint"` // empty: done
	Message string `cbor:"3,keyasint"`
	Body    []byte `cbor:"4,keyasint"`
}

// Encode returns the one encoding of r (canonical CBOR).
func (r Result) Encode() []byte {
	w := wireResult{Index: r.Index, Body: r.Body}
	if r.Refusal != nil {
		w.Code, w.Message = r.Refusal.Code, r.Refusal.Message
	}
	return canonical.MustMarshal(w)
}

// DecodeResult is the inverse of [Result.Encode] and refuses everything else.
func DecodeResult(data []byte) (Result, error) {
	var w wireResult
	if err := canonical.Unmarshal(data, &w); err != nil {
		return Result{}, fmt.Errorf("decoding a result: %w", err)
	}
	r := Result{Index: w.Index}
	switch {
	case w.Code != "" && len(w.Body) == 0:
		r.Refusal = &Refusal{Code: w.Code, Message: w.Message}
	case w.Code == "" && w.Message == "":
		if len(w.Body) > 0 {
			r.Body = w.Body
		}
	default:
		return Result{}, fmt.Errorf("decoding a result: %w: done and refused at once", canonical.ErrNotCanonical)
	}
	return r, nil
}
