package fsm

import (
	"errors"
	"fmt"

	"github.com/raftkms/raftkms/fsm/canonical"
	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/policy"
	"github.com/raftkms/raftkms/fsm/state"
)

// writes is every write there is: the door it comes through, the action that a
// user's policies must allow, and the function that checks and does it. What the
// operator may, users may too whose policies allow it; "" is for no user.
var writes = map[command.Type]write{
	command.TypeBootstrap:       {command.CallerOperator, "", of(bootstrap)},
	command.TypeCreateKey:       {command.CallerUser, policy.ActionCreateKey, of(createKey)},
	command.TypeEnableKey:       {command.CallerUser, policy.ActionEnableKey, of(enableKey)},
	command.TypeDisableKey:      {command.CallerUser, policy.ActionDisableKey, of(disableKey)},
	command.TypeCreateJoinToken: {command.CallerOperator, policy.ActionCreateJoinToken, of(createJoinToken)},
	command.TypeSetConsistency:  {command.CallerOperator, policy.ActionUpdateCluster, of(setConsistency)},
	command.TypeAdmitNode:       {command.CallerNode, "", of(admitNode)},
	command.TypeApproveRoots:    {command.CallerOperator, policy.ActionApproveRoots, of(approveRoots)},
	command.TypeRemoveNode:      {command.CallerOperator, policy.ActionRemoveNode, of(removeNode)},
	command.TypeSetStandby:      {command.CallerOperator, policy.ActionUpdateNode, of(setStandby)},
	command.TypeRotateGossipKey: {command.CallerOperator, policy.ActionUpdateCluster, of(rotateGossipKey)},
	command.TypeRotateCA:        {command.CallerOperator, policy.ActionUpdateCluster, of(rotateCA)},
	command.TypeReportCAs:       {command.CallerSystem, "", of(reportCAs)},
	command.TypeReportNode:      {command.CallerSystem, "", of(reportNode)},
	command.TypeRaiseLevel:      {command.CallerOperator, policy.ActionUpdateCluster, of(raiseLevel)},
	command.TypeRotateRoots:     {command.CallerOperator, policy.ActionRotateRoots, of(rotateRoots)},
	command.TypeReportRoots:     {command.CallerSystem, "", of(reportRoots)},
	command.TypeRewrapRecords:   {command.CallerSystem, "", of(rewrapRecords)},

	command.TypeRenameKey:           {command.CallerUser, policy.ActionUpdateKey, of(renameKey)},
	command.TypeUpdateDescription:   {command.CallerUser, policy.ActionUpdateKey, of(updateDescription)},
	command.TypeScheduleDeletion:    {command.CallerUser, policy.ActionUpdateKey, of(scheduleDeletion)},
	command.TypeCancelDeletion:      {command.CallerUser, policy.ActionUpdateKey, of(cancelDeletion)},
	command.TypeProtectKey:          {command.CallerUser, policy.ActionProtectKey, of(protectKey)},
	command.TypeCreateAlias:         {command.CallerUser, policy.ActionCreateAlias, of(createAlias)},
	command.TypeDeleteAliases:       {command.CallerUser, policy.ActionDeleteAlias, of(deleteAliases)},
	command.TypeAssociateAlias:      {command.CallerUser, policy.ActionAssociateAlias, of(associateAlias)},
	command.TypeEnableRotation:      {command.CallerUser, policy.ActionEnableRotation, of(enableRotation)},
	command.TypeSetRotationInterval: {command.CallerUser, policy.ActionUpdateRotation, of(setRotationInterval)},
	command.TypeDisableRotation:     {command.CallerUser, policy.ActionDisableRotation, of(disableRotation)},
	command.TypeRotateKey:           {command.CallerUser, policy.ActionRotateKey, of(rotateKey)},
	command.TypeRotateDueKey:        {command.CallerSystem, "", of(rotateDueKey)},
	command.TypeDeleteDueKey:        {command.CallerSystem, "", of(deleteDueKey)},
	command.TypePublishCheckpoint:   {command.CallerSystem, "", of(publishCheckpoint)},
	command.TypeReportErasure:       {command.CallerSystem, "", of(reportErasure)},
	command.TypeRecordUse:           {command.CallerSystem, "", of(recordUse)},
	command.TypeCreateDefaultKey:    {command.CallerUser, policy.ActionUseDefaultKey, of(createDefaultKey)},

	command.TypeOpenImport:         {command.CallerUser, policy.ActionGetMaterial, of(openImport)},
	command.TypeImportMaterial:     {command.CallerUser, policy.ActionImportMaterial, of(importMaterial)},
	command.TypeDeleteMaterial:     {command.CallerUser, policy.ActionDeleteMaterial, of(deleteMaterial)},
	command.TypeCountImportFailure: {command.CallerUser, policy.ActionImportMaterial, of(countImportFailure)},
	command.TypeExpireImport:       {command.CallerSystem, "", of(expireImport)},

	command.TypeLockUser:       {command.CallerSystem, "", of(lockUser)},
	command.TypeUnlockUser:     {command.CallerOperator, policy.ActionUnlockUser, of(unlockUser)},
	command.TypeChangePassword: {command.CallerUser, "", of(changePassword)},
	command.TypeRevokeToken:    {command.CallerUser, "", of(revokeToken)},
	command.TypeAddProvider:    {command.CallerOperator, policy.ActionUpdateProviders, of(addProvider)},
	command.TypeRemoveProvider: {command.CallerOperator, policy.ActionUpdateProviders, of(removeProvider)},
	command.TypeBindIdentity:   {command.CallerOperator, policy.ActionUpdateProviders, of(bindIdentity)},
	command.TypeUnbindIdentity: {command.CallerOperator, policy.ActionUpdateProviders, of(unbindIdentity)},
	command.TypeRecordAccess:   {command.CallerSystem, "", of(recordAccess)},
	command.TypeForgetRevoked:  {command.CallerSystem, "", of(forgetEnded)},

	command.TypeEnrolAuthenticator:   {command.CallerUser, "", of(enrolAuthenticator)},
	command.TypeConfirmAuthenticator: {command.CallerUser, "", of(confirmAuthenticator)},
	command.TypeSpendCode:            {command.CallerSystem, "", of(spendCode)},
	command.TypeRemoveAuthenticator:  {command.CallerUser, "", of(removeAuthenticator)},

	command.TypeCreateAccount:   {command.CallerUser, policy.ActionCreateAccount, of(createAccount)},
	command.TypeUpdateAccount:   {command.CallerUser, policy.ActionUpdateAccount, of(updateAccount)},
	command.TypeDeleteAccount:   {command.CallerUser, policy.ActionDeleteAccount, of(deleteAccount)},
	command.TypeCreateProject:   {command.CallerUser, policy.ActionCreateProject, of(createProject)},
	command.TypeUpdateProject:   {command.CallerUser, policy.ActionUpdateProject, of(updateProject)},
	command.TypeDeleteProject:   {command.CallerUser, policy.ActionDeleteProject, of(deleteProject)},
	command.TypeCreateUser:      {command.CallerUser, policy.ActionCreateUser, of(createUser)},
	command.TypeUpdateUser:      {command.CallerUser, policy.ActionUpdateUser, of(updateUser)},
	command.TypeDeleteUser:      {command.CallerUser, policy.ActionDeleteUser, of(deleteUser)},
	command.TypeSetPassword:     {command.CallerUser, policy.ActionSetPassword, of(setPassword)},
	command.TypeCreateGroup:     {command.CallerUser, policy.ActionCreateGroup, of(createGroup)},
	command.TypeUpdateGroup:     {command.CallerUser, policy.ActionUpdateGroup, of(updateGroup)},
	command.TypeDeleteGroup:     {command.CallerUser, policy.ActionDeleteGroup, of(deleteGroup)},
	command.TypeAddMember:       {command.CallerUser, policy.ActionAddMember, of(addMember)},
	command.TypeRemoveMember:    {command.CallerUser, policy.ActionRemoveMember, of(removeMember)},
	command.TypeCreatePolicy:    {command.CallerUser, policy.ActionCreatePolicy, of(createPolicy)},
	command.TypeUpdatePolicy:    {command.CallerUser, policy.ActionUpdatePolicy, of(updatePolicy)},
	command.TypeDeletePolicy:    {command.CallerUser, policy.ActionDeletePolicy, of(deletePolicy)},
	command.TypeAttachPolicy:    {command.CallerUser, policy.ActionAttachPolicy, of(attachPolicy)},
	command.TypeDetachPolicy:    {command.CallerUser, policy.ActionDetachPolicy, of(detachPolicy)},
	command.TypeCreateAccessKey: {command.CallerUser, policy.ActionCreateCredential, of(createAccessKey)},
	command.TypeUpdateAccessKey: {command.CallerUser, policy.ActionUpdateCredential, of(updateAccessKey)},
	command.TypeDeleteAccessKey: {command.CallerUser, policy.ActionDeleteCredential, of(deleteAccessKey)},
	command.TypeSetTags:         {command.CallerUser, policy.ActionCreateTag, of(setTags)},
	command.TypeRemoveTags:      {command.CallerUser, policy.ActionDeleteTag, of(removeTags)},
	command.TypeBatchSetTags:    {command.CallerUser, policy.ActionBatchTags, of(batchSetTags)},
	command.TypeBatchRemoveTags: {command.CallerUser, policy.ActionBatchTags, of(batchRemoveTags)},
	command.TypeSetQuotas:       {command.CallerUser, policy.ActionUpdateQuota, of(setQuotas)},

	command.TypeCreateGrant: {command.CallerUser, policy.ActionCreateGrant, of(createGrant)},
	command.TypeRevokeGrant: {command.CallerUser, policy.ActionRevokeGrant, of(revokeGrant)},
	command.TypeRetireGrant: {command.CallerUser, policy.ActionRetireGrant, of(retireGrant)},
}

// ErrUnknownLevel is returned for a command above the highest feature level
// that this binary knows.
var ErrUnknownLevel = errors.New("the cluster is at a feature level that this version of raftkms does not know; start this node with the version that the other nodes run")

// apply takes one command through every check and does it. The order is the
// same for all writes:
//
//  1. decode all of it; what cannot be decoded, or is newer than this binary, stops the node
//  2. move the replicated time
//  3. a repeat of a proposal gets the answer of the first time, and does nothing
//  4. a proposal too old to be told from a repeat is refused: its outcome is unknown
//  5. who asks is authorised again, now
//  6. the cluster's feature level must have reached the command's
//  7. the write's own checks, all before its first change; a refusal changes nothing
//  8. the answer is kept for step 3, and the command as the last one that is fenced
//  9. whatever the answer is: what the command carries of wrapped material that has
//     ended before it is noted, for its bytes are in the log now (see eraseLate)
//
// An error is fatal: the caller throws the transaction away and stops.
func apply(x *state.Txn, highest uint32, index uint64, data []byte) (result Result, fence uint64, err error) {
	cmd, err := command.Decode(data)
	if err != nil {
		return Result{}, 0, err
	}
	if cmd.Level > highest {
		return Result{}, 0, fmt.Errorf("%w (a command of level %d; known: up to %d)", ErrUnknownLevel, cmd.Level, highest)
	}
	w, known := writes[cmd.Type]
	if !known {
		return Result{}, 0, fmt.Errorf("%w: %v", command.ErrUnknownType, cmd.Type)
	}
	p, err := w.prepare(cmd)
	if err != nil {
		return Result{}, 0, err
	}
	if x.Cluster() == nil && cmd.Type != command.TypeBootstrap {
		return refused(index, refuse(CodeNotBootstrapped, "the cluster has not been bootstrapped")), x.LastFence(), nil
	}

	advanceClock(x, cmd.Time)
	c := &call{Txn: x, caller: cmd.Caller, index: index, highest: highest}
	result, fence, err = carryOut(c, cmd, w, p)
	if err == nil {
		eraseLate(c, p.body)
	}
	return result, fence, err
}

// carryOut takes the steps 3 to 8 of [apply].
func carryOut(c *call, cmd command.Command, w write, p prepared) (result Result, fence uint64, err error) {
	x, index := c.Txn, c.index
	if reply, answered := x.Reply(cmd.Proposal.ID); answered {
		result, err := repeat(reply, cmd, index)
		return result, x.LastFence(), err
	}
	if refusal := checkAge(x, cmd.Proposal.First); refusal != nil {
		return refused(index, refusal), x.LastFence(), nil
	}
	if refusal := authorizeWrite(&x.View, w, cmd, p.about(&x.View, cmd.Caller.ProjectID), p.aboutGrant(&x.View)); refusal != nil {
		return refused(index, refusal), x.LastFence(), nil
	}
	if key := p.leaves(&x.View); key != nil {
		if refusal := authorizeWrite(&x.View, w, cmd, key, nil); refusal != nil {
			return refused(index, refusal), x.LastFence(), nil
		}
	}
	if cluster := x.Cluster(); cluster != nil && cmd.Level > cluster.FeatureLevel {
		return refused(index, refuse(CodeFeatureLevel, "the cluster has not reached feature level %d", cmd.Level)), x.LastFence(), nil
	}

	answer, refusal := p.run(c)
	if reached := x.Cluster(); reached != nil && reached.FeatureLevel > c.highest {
		return Result{}, 0, fmt.Errorf("%w (the cluster: %d; known: up to %d)", ErrUnknownLevel, reached.FeatureLevel, c.highest)
	}
	result = Result{Index: index, Refusal: refusal}
	if refusal == nil {
		result.Body = canonical.MustMarshal(answer)
	}
	keepReply(x, cmd, result)
	return result, c.fence(cmd.Type, p.body, refusal == nil), nil
}

// write is one row of [writes].
type write struct {
	door    command.CallerKind
	action  string // empty where no user comes in
	prepare func(command.Command) (prepared, error)
}

// prepared is a write whose body has been decoded.
type prepared struct {
	body command.Body
	run  func(*call) (answer any, refusal *Refusal)
}

// of makes a row's function of one that takes the body as its own type.
func of[B command.Body](do func(*call, B) (any, *Refusal)) func(command.Command) (prepared, error) {
	return func(cmd command.Command) (prepared, error) {
		body, err := command.DecodeBody[B](cmd)
		if err != nil {
			return prepared{}, err
		}
		return prepared{body, func(c *call) (any, *Refusal) { return do(c, body) }}, nil
	}
}

// about returns the key on which the caller must be allowed to do this; nil
// when the write is about none. A new key is judged as one of the call's
// project; that it is made there is for the write itself to check.
func (p prepared) about(v *state.View, projectID string) *state.Key {
	switch b := p.body.(type) {
	case command.AboutKey:
		if key, ok := v.Key(b.AboutKey()); ok {
			return key
		}
		return Absent(b.AboutKey())
	case command.AboutNewKey:
		key := b.AboutNewKey()
		key.ProjectID = projectID
		return &key
	default:
		return nil
	}
}

// aboutGrant returns the grant that the write ends; nil when it ends none, or
// there is no such grant.
func (p prepared) aboutGrant(v *state.View) *state.Grant {
	if b, ends := p.body.(command.AboutGrant); ends {
		grant, _ := v.Grant(b.AboutGrant())
		return grant
	}
	return nil
}

// leaves returns the key from which the write takes something for the one that
// it is about, on which the caller must be allowed to do this as well; nil: none.
func (p prepared) leaves(v *state.View) *state.Key {
	b, moves := p.body.(command.AssociateAlias)
	if !moves {
		return nil
	}
	alias, ok := v.Alias(b.ProjectID, b.Name)
	if !ok || alias.KeyID == b.KeyID {
		return nil
	}
	key, _ := v.Key(alias.KeyID)
	return key
}

// call is what a write works with: the state to read and to change, who asks,
// and the index of the entry. Its time is the replicated one, Now.
type call struct {
	*state.Txn
	caller  command.Caller
	index   uint64
	highest uint32 // feature level that this binary knows; decides nothing but what it cannot go on with
}
