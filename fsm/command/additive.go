package command

// Fenced tells whether a command of this type may turn an allowed call into
// another answer. The answer to a fenced command waits until no node can serve
// from a state before it (DESIGN.md §4).
//
// Every type is fenced unless it is listed here as one that only adds. A type
// belongs on the list only while the property test in package fsm holds for
// it: no listed command ever changes what an allowed call returns.
//
// A new user or group is not listed, nor is another name: identity providers name
// both, and a word that names one too many is refused.
func (t Type) Fenced() bool {
	switch t {
	case TypeBootstrap, // before it there is nobody to allow anything
		TypeCreateKey,                                                                                           // the id and the name were free: no call was allowed on them
		TypeEnableKey,                                                                                           // what was refused is allowed
		TypeCreateJoinToken,                                                                                     // one more node may ask to be admitted
		TypeCancelDeletion,                                                                                      // a key pending deletion is of no use, nor is a Disabled one
		TypeCreateAlias,                                                                                         // the name was free: no call was allowed by it
		TypeCreateGrant,                                                                                         // grants only allow
		TypeProtectKey, TypeUpdateDescription, TypeEnableRotation, TypeSetRotationInterval, TypeDisableRotation, // nothing that a use of the key asks for
		TypeSetStandby,                                                              // a vote decides nothing that a call asks for
		TypeRotateGossipKey,                                                         // where nodes find one another decides nothing, either
		TypeCreateAccount, TypeCreateProject, TypeCreatePolicy, TypeCreateAccessKey, // new, and bound nowhere
		TypeRotateCA, TypeReportCAs, // by which certificates nodes know one another decides nothing, either
		TypeReportNode, TypeRaiseLevel, // neither where a node is nor what it could do is asked by a call
		TypePublishCheckpoint,              // what traces say is asked of no call
		TypeEnrolAuthenticator,             // counts for nothing yet
		TypeReportRoots, TypeRewrapRecords, // a record says the same under other roots
		TypeSpendCode,                                      // a code is good for this command alone, and once
		TypeForgetRevoked,                                  // of tokens that count for nothing any more
		TypeReportErasure, TypeRecordUse, TypeRecordAccess: // what has happened, not what may
		return false
	default:
		return true
	}
}

// OfOneKey tells whether the answer to an additive command of this type follows
// from what is said of its key and of its project alone, as that to a use of the
// key does: it waits for no fenced command about another key. A name or an alias
// that is free, say, may be so because another key has lost it.
func (t Type) OfOneKey() bool {
	switch t {
	case TypeEnableKey, TypeCancelDeletion, TypeProtectKey, TypeUpdateDescription,
		TypeEnableRotation, TypeSetRotationInterval, TypeDisableRotation, TypeCreateGrant:
		return true
	default:
		return false
	}
}
