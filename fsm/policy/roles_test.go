package policy_test

import (
	"slices"
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

// The operator, the key administrator, the security administrator and the
// auditor are roles apart: of what the cluster, its roots and snapshots, the
// identities and the traces are changed by, each action is of one of them.
func TestRolesAreApart(t *testing.T) {
	roles := []string{policy.RoleClusterOperator, policy.RoleKeyAdministrator, policy.RoleSecurityAdministrator, policy.RoleAuditor, policy.RoleKMSCrypto, policy.RoleKMSReadOnly}
	holders := func(action string) (held []string) {
		for _, name := range roles {
			p, _ := policy.System(name)
			if got, _ := p.Judge(&policy.Request{Action: action}); got == policy.Allowed {
				held = append(held, name)
			}
		}
		return held
	}
	reads := map[string]bool{
		policy.ActionListTraces: true, policy.ActionListAllTraces: true, policy.ActionExportTraces: true, policy.ActionVerifyTraces: true,
		policy.ActionGetTracker: true, policy.ActionGetCheckpoint: true,
	}
	for _, action := range policy.Actions() {
		held := holders(action)
		want := ""
		switch {
		case strings.HasPrefix(action, "cluster:"), strings.HasPrefix(action, "root:"):
			want = policy.RoleClusterOperator
		case strings.HasPrefix(action, "iam:") && !strings.HasSuffix(action, ":list") && action != policy.ActionExplain:
			want = policy.RoleSecurityAdministrator
		case reads[action]:
			want = policy.RoleAuditor
		case strings.HasPrefix(action, "cts:"):
			if len(held) != 0 {
				t.Errorf("%s, which changes how traces are kept, is of %q", action, held)
			}
			continue
		default:
			// Of keys: who uses them does not change them.
			if slices.Contains(held, policy.RoleKeyAdministrator) && slices.Contains(held, policy.RoleKMSCrypto) && action != policy.ActionGetPublicKey {
				t.Errorf("%s is of who administers keys and of who uses them", action)
			}
			if strings.HasPrefix(action, "kms:") && slices.Contains(held, policy.RoleClusterOperator) {
				t.Errorf("%s is of who runs the cluster", action)
			}
			continue
		}
		if !slices.Equal(held, []string{want}) {
			t.Errorf("%s is of %q, want %q alone", action, held, want)
		}
	}
}
