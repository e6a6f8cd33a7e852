package kms

import (
	"context"

	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/policy"
)

// The operations on who may do what. All but those on accounts are about the
// caller's own.
var (
	OpListAccounts    = Operation{"listAccounts", policy.ActionListAccounts, "account"}
	OpShowAccount     = Operation{"showAccount", policy.ActionListAccounts, "account"}
	OpCreateAccount   = Operation{"createAccount", policy.ActionCreateAccount, "account"}
	OpUpdateAccount   = Operation{"updateAccount", policy.ActionUpdateAccount, "account"}
	OpDeleteAccount   = Operation{"deleteAccount", policy.ActionDeleteAccount, "account"}
	OpShowProject     = Operation{"showProject", policy.ActionListProjects, "project"}
	OpCreateProject   = Operation{"createProject", policy.ActionCreateProject, "project"}
	OpUpdateProject   = Operation{"updateProject", policy.ActionUpdateProject, "project"}
	OpDeleteProject   = Operation{"deleteProject", policy.ActionDeleteProject, "project"}
	OpListUsers       = Operation{"listUsers", policy.ActionListUsers, "user"}
	OpShowUser        = Operation{"showUser", policy.ActionListUsers, "user"}
	OpCreateUser      = Operation{"createUser", policy.ActionCreateUser, "user"}
	OpUpdateUser      = Operation{"updateUser", policy.ActionUpdateUser, "user"}
	OpDeleteUser      = Operation{"deleteUser", policy.ActionDeleteUser, "user"}
	OpSetPassword     = Operation{"setPassword", policy.ActionSetPassword, "user"}
	OpUnlockUser      = Operation{"unlockUser", policy.ActionUnlockUser, "user"}
	OpListGroups      = Operation{"listGroups", policy.ActionListGroups, "group"}
	OpShowGroup       = Operation{"showGroup", policy.ActionListGroups, "group"}
	OpCreateGroup     = Operation{"createGroup", policy.ActionCreateGroup, "group"}
	OpUpdateGroup     = Operation{"updateGroup", policy.ActionUpdateGroup, "group"}
	OpDeleteGroup     = Operation{"deleteGroup", policy.ActionDeleteGroup, "group"}
	OpAddMember       = Operation{"addUserToGroup", policy.ActionAddMember, "group"}
	OpRemoveMember    = Operation{"removeUserFromGroup", policy.ActionRemoveMember, "group"}
	OpListPolicies    = Operation{"listPolicies", policy.ActionListPolicies, "policy"}
	OpShowPolicy      = Operation{"showPolicy", policy.ActionListPolicies, "policy"}
	OpCreatePolicy    = Operation{"createPolicy", policy.ActionCreatePolicy, "policy"}
	OpUpdatePolicy    = Operation{"updatePolicy", policy.ActionUpdatePolicy, "policy"}
	OpDeletePolicy    = Operation{"deletePolicy", policy.ActionDeletePolicy, "policy"}
	OpListAttachments = Operation{"listPolicyAttachments", policy.ActionListAttachments, "policy"}
	OpAttachPolicy    = Operation{"attachPolicy", policy.ActionAttachPolicy, "policy"}
	OpDetachPolicy    = Operation{"detachPolicy", policy.ActionDetachPolicy, "policy"}
	OpExplain         = Operation{"explainPermission", policy.ActionExplain, "policy"}
	OpListAccessKeys  = Operation{"listAccessKeys", policy.ActionListCredentials, "credential"}
	OpShowAccessKey   = Operation{"showAccessKey", policy.ActionListCredentials, "credential"}
	OpCreateAccessKey = Operation{"createAccessKey", policy.ActionCreateCredential, "credential"}
	OpUpdateAccessKey = Operation{"updateAccessKey", policy.ActionUpdateCredential, "credential"}
	OpDeleteAccessKey = Operation{"deleteAccessKey", policy.ActionDeleteCredential, "credential"}
)

// Administer makes a change to who may do what. resource is the id of what it
// is about, name what people call that; meaning says what was asked for, as in
// every proposal.
func (s *Service) Administer(ctx context.Context, c *Call, body command.Body, resource, name string, meaning ...string) error {
	c.AboutResource(resource, name)
	if err := c.authorise(); err != nil {
		return err
	}
	_, err := s.propose(ctx, c, body, meaning...)
	return err
}

// ReadAccount asks whether the caller may do this call's operation, which
// reads, in their account, and returns the account's id.
func (s *Service) ReadAccount(c *Call) (domainID string, err error) {
	if err := c.authorise(); err != nil {
		return "", err
	}
	return c.principal.DomainID, nil
}
