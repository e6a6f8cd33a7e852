package kms

import "github.com/raftkms/raftkms/fsm"

// fromRefusal gives what the state machine refused its kind. Messages of
// refusals are written for the caller, so they are kept.
func fromRefusal(r *fsm.Refusal) error {
	kinds := map[fsm.Code]Kind{
		fsm.CodeNotFound:         KindNotFound,
		fsm.CodeAlreadyExists:    KindNameTaken,
		fsm.CodeNotEnabled:       KindNotEnabled,
		fsm.CodeNotDisabled:      KindNotDisabled,
		fsm.CodePendingDeletion:  KindKeyPendingDeletion,
		fsm.CodeQuotaExceeded:    KindQuota,
		fsm.CodeUnauthenticated:  KindUnauthenticated,
		fsm.CodeForbidden:        KindForbidden,
		fsm.CodeInvalid:          KindInvalid,
		fsm.CodeProposalConflict: KindConflict,
		fsm.CodeOutcomeUnknown:   KindOutcomeUnknown,
		fsm.CodeNotBootstrapped:  KindUnavailable,

		fsm.CodeKeyDisabled:        KindKeyDisabled,
		fsm.CodePendingImport:      KindKeyPendingImport,
		fsm.CodeDefaultKey:         KindDefaultKey,
		fsm.CodeAlreadyPending:     KindAlreadyPending,
		fsm.CodeNotPendingDeletion: KindNotPendingDeletion,
		fsm.CodeProtected:          KindProtected,
		fsm.CodeAliasNotFound:      KindAliasNotFound,
		fsm.CodeAliasLimit:         KindAliasLimit,
		fsm.CodeRotationOn:         KindRotationOn,
		fsm.CodeRotationOff:        KindRotationOff,
		fsm.CodeRotationExternal:   KindRotationExternal,
		fsm.CodeRotationRSA:        KindRotationRSA,
		fsm.CodeRotationAsymmetric: KindRotationAsymmetric,
		fsm.CodeGrantOnlyGrants:    KindGrantOnlyGrants,
		fsm.CodeGrantPrincipal:     KindGrantPrincipal,
		fsm.CodeGrantLimit:         KindGrantLimit,
		fsm.CodeGrantTotal:         KindGrantTotal,
		fsm.CodeGrantNotFound:      KindGrantNotFound,
		fsm.CodeTagLimit:           KindTagLimit,
		fsm.CodeTagNotFound:        KindTagNotFound,
		fsm.CodeNotExternal:        KindNotExternal,
		fsm.CodeNotPendingImport:   KindNotPendingImport,
		fsm.CodeImportToken:        KindImportToken,
		fsm.CodeImportExpired:      KindImportExpired,
		fsm.CodeImportExpiry:       KindImportExpiry,
		fsm.CodeMaterialDiffers:    KindMaterialDiffers,
		fsm.CodeMaterialState:      KindMaterialState,
		fsm.CodePairMaterial:       KindPairMaterial,
		fsm.CodeStale:              KindStale,
		fsm.CodeFeatureLevel:       KindConflict,
		fsm.CodeInUse:              KindConflict,
		fsm.CodeLimit:              KindConflict,
	}
	kind, known := kinds[r.Code]
	if !known {
		kind = KindInvalid
	}
	return &Error{Kind: kind, Message: r.Message, Err: r}
}
