package fsm

import (
	"bytes"
	"slices"

	"github.com/raftkms/raftkms/fsm/state"
)

// everything is a limit of lists that are not limited.
const everything = int(^uint(0) >> 1)

// endTokens ends every token of every user. The module and its root keys are the
// ones from before, so that a token which was given out after the backup, or
// revoked since, would count; whoever had one logs in again.
func (r *refounding) endTokens() {
	for known := range r.backup.AllUsers() {
		user, _ := r.User(known.ID)
		ended := *user
		endSessions(&ended, r.index)
		r.PutUser(&ended)
	}
}

// takeRights has who may do what be what the newer state says: groups and who is
// in them, policies and what they are bound to, passwords, second factors, and who
// outside is believed. Each of these may have been changed to take something away
// (a policy that denies, too, is something that was added), so none is judged; only
// what is for accounts, projects and users that the backup does not have is left out.
func (r *refounding) takeRights() {
	if r.newer == nil {
		return
	}
	for _, domain := range r.backup.Domains("", everything) {
		now, there := r.newer.Domain(domain.ID)
		if domain.Enabled && !(there && now.Enabled) {
			disabled := *domain
			disabled.Enabled, disabled.Fence = false, r.index
			r.PutDomain(&disabled)
			r.undone.DisabledAccounts = append(r.undone.DisabledAccounts, domain.ID)
		}
		for _, project := range r.backup.ProjectsOf(domain.ID) {
			now, there := r.newer.Project(project.ID)
			if project.Enabled && !(there && now.Enabled) {
				disabled := *project
				disabled.Enabled, disabled.Fence = false, r.index
				r.PutProject(&disabled)
				r.undone.DisabledProjects = append(r.undone.DisabledProjects, project.ID)
			}
		}
		r.takeGroupsAndPolicies(domain.ID)
	}
	for user := range r.backup.AllUsers() {
		r.takeUser(user)
	}
	r.takeProviders()
}

// takeGroupsAndPolicies replaces those of an account: all old ones go first, so
// that a name that has passed from one to another is free.
func (r *refounding) takeGroupsAndPolicies(domainID string) {
	for _, group := range r.backup.Groups(domainID, "", everything) {
		if _, there := r.newer.Group(group.ID); !there {
			r.undone.DeletedGroups = append(r.undone.DeletedGroups, group.ID)
		}
		r.DeleteGroup(group)
	}
	for _, policy := range r.backup.Policies(domainID, "", everything) {
		now, there := r.newer.Policy(policy.ID)
		switch {
		case !there:
			r.undone.DeletedPolicies = append(r.undone.DeletedPolicies, policy.ID)
		case now.Fence != policy.Fence: // it was written since
			r.undone.ChangedPolicies = append(r.undone.ChangedPolicies, policy.ID)
		}
		r.DeletePolicy(policy)
	}
	for _, policy := range r.newer.Policies(domainID, "", everything) {
		taken := *policy
		taken.Fence = r.index
		r.PutPolicy(&taken)
	}
	for _, group := range r.newer.Groups(domainID, "", everything) {
		taken := *group
		taken.Roles, taken.Fence = r.knownRoles(group.Roles), r.index
		r.PutGroup(&taken)
	}
}

// knownRoles leaves out what is bound to projects that the backup does not have.
func (r *refounding) knownRoles(roles []state.RoleBinding) []state.RoleBinding {
	return slices.DeleteFunc(slices.Clone(roles), func(b state.RoleBinding) bool {
		if b.ProjectID == "" {
			return false
		}
		_, known := r.backup.Project(b.ProjectID)
		return !known
	})
}

// takeUser gives a user of the backup what it has by now; one that was deleted
// since may do nothing.
func (r *refounding) takeUser(old *state.User) {
	before, _ := r.User(old.ID)
	user := *before
	now, there := r.newer.User(old.ID)
	if there {
		user.Roles, user.Groups, user.PasswordHash, user.LockedUntil, user.Unlocked = r.knownRoles(now.Roles), now.Groups, now.PasswordHash, now.LockedUntil, now.Unlocked
	} else {
		user.Roles, user.Groups, user.PasswordHash = nil, nil, ""
	}
	changed := !slices.Equal(user.Roles, old.Roles) || !slices.Equal(user.Groups, old.Groups) || user.PasswordHash != old.PasswordHash
	factor, had := r.backup.Authenticator(old.ID)
	if latest, has := r.newer.Authenticator(old.ID); has && r.opens(latest.Sealed) && r.opens(latest.NextSealed) {
		changed = changed || !had || factor.ID != latest.ID
		taken := *latest
		taken.Fence = r.index
		r.PutAuthenticator(&taken)
	} else if !has && had {
		changed = true
		r.DeleteAuthenticator(factor)
	}
	user.Fence = r.index
	r.PutUser(&user)
	if changed {
		r.undone.ChangedUsers = append(r.undone.ChangedUsers, old.ID)
	}
}

// opens says whether the new cluster has the root keys that something is sealed
// under: they may have been rotated since the backup.
func (r *refounding) opens(sealed []byte) bool {
	if len(sealed) == 0 {
		return true
	}
	parts := state.SealedParts(&state.AccessKey{SealedSecret: sealed})
	return r.Cluster().TakesRoots(parts[0].Generation)
}

// takeProviders replaces who outside is believed about users of the accounts and
// users that there are.
func (r *refounding) takeProviders() {
	for _, provider := range r.backup.Providers() {
		now, there := r.newer.Provider(provider.ID)
		if !there || !bytes.Equal(now.Certificate, provider.Certificate) {
			r.undone.ChangedProviders = append(r.undone.ChangedProviders, provider.ID)
		}
		for _, binding := range r.backup.Bindings(provider.ID) {
			r.DeleteBinding(binding)
		}
		r.DeleteProvider(provider)
	}
	for _, provider := range r.newer.Providers() {
		if _, known := r.backup.Domain(provider.DomainID); !known {
			continue
		}
		taken := *provider
		taken.Fence = r.index
		r.PutProvider(&taken)
		for _, binding := range r.newer.Bindings(provider.ID) {
			if _, known := r.backup.User(binding.UserID); known {
				bound := *binding
				bound.Fence = r.index
				r.PutBinding(&bound)
			}
		}
	}
}
