package policy_test

import (
	"strings"
	"testing"

	"github.com/raftkms/raftkms/fsm/policy"
)

func TestSystemPolicies(t *testing.T) {
	f := func(name, action string, want policy.Verdict) {
		t.Helper()
		p, ok := policy.System(name)
		if !ok {
			t.Fatalf("there is no %s", name)
		}
		if got, _ := p.Judge(&policy.Request{Action: action}); got != want {
			t.Errorf("%s on %s: got %v", name, action, got)
		}
	}
	for _, action := range policy.Actions() {
		want := policy.Silent
		if strings.HasPrefix(action, "kms:") {
			want = policy.Allowed
		}
		f(policy.RoleKMSAdministrator, action, want)
		f(policy.RoleKMSFullAccess, action, want)
	}
	f(policy.RoleKMSReadOnly, policy.ActionGetKey, policy.Allowed)
	f(policy.RoleKMSReadOnly, policy.ActionCryptoDEK, policy.Silent)
	f(policy.RoleKMSReadOnly, policy.ActionGetMaterial, policy.Silent)
	f(policy.RoleKMSCrypto, policy.ActionCryptoDEK, policy.Allowed)
	f(policy.RoleKMSCrypto, policy.ActionGetKey, policy.Silent)
	f(policy.RoleKMSCrypto, policy.ActionDisableKey, policy.Silent)
	f(policy.RoleKeyAdministrator, policy.ActionDisableKey, policy.Allowed)
	f(policy.RoleKeyAdministrator, policy.ActionCreateGrant, policy.Allowed)
	f(policy.RoleKeyAdministrator, policy.ActionCryptoData, policy.Silent)
	f(policy.RoleKeyAdministrator, policy.ActionCreateDEK, policy.Silent)
	f(policy.RoleSecurityAdministrator, policy.ActionCreateUser, policy.Allowed)
	f(policy.RoleSecurityAdministrator, policy.ActionGetKey, policy.Silent)
	f(policy.RoleSecurityAdministrator, policy.ActionListTraces, policy.Silent)
	f(policy.RoleClusterOperator, policy.ActionApproveRoots, policy.Allowed)
	f(policy.RoleClusterOperator, policy.ActionCreateJoinToken, policy.Allowed)
	f(policy.RoleClusterOperator, policy.ActionCryptoDEK, policy.Silent)
	f(policy.RoleClusterOperator, policy.ActionCreateUser, policy.Silent)
	f(policy.RoleAuditor, policy.ActionListTraces, policy.Allowed)
	f(policy.RoleAuditor, policy.ActionListUsers, policy.Allowed)
	f(policy.RoleAuditor, policy.ActionUpdateTracker, policy.Silent)
	f(policy.RoleAuditor, policy.ActionCreateUser, policy.Silent)
	f(policy.RoleAuditor, policy.ActionCryptoDEK, policy.Silent)
	if _, ok := policy.System("Nobody Knows"); ok {
		t.Error("a policy that nobody made")
	}
}
