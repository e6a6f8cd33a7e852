package fsm_test

import (
	"testing"

	"github.com/raftkms/raftkms/fsm"
	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/fsmtest"
	"github.com/raftkms/raftkms/fsm/policy"
)

// A second factor counts once it is confirmed, a code of it is taken once, and
// who has not shown it neither replaces it nor takes it away.
func TestSecondFactor(t *testing.T) {
	m := fsmtest.Bootstrapped(t)
	m.Must(fsmtest.CreateUser("ada"))
	m.Must(fsmtest.CreateAccessKey("ada"))
	m.Must(fsmtest.CreateAccount("other"))
	ada, phone, step := fsmtest.ID("ada"), fsmtest.ID("phone"), m.Now/30_000
	byKey := fsmtest.CallerAs("ada")
	byToken := fsmtest.ByToken(byKey)
	shown := byToken
	shown.MFA = true
	system := fsmtest.CallerFor(command.TypeSpendCode)
	stranger := fsmtest.Caller()
	stranger.UserID, stranger.CredentialID, stranger.ProjectID = fsmtest.ID("other/admin"), fsmtest.AccessKey("other/admin"), ""
	f := func(name string, caller command.Caller, body command.Body, want fsm.Code) {
		t.Helper()
		cmd := m.Command(body)
		cmd.Caller = caller
		if got := codeOf(m.Apply(cmd)[0]); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	enrol := command.EnrolAuthenticator{UserID: ada, ID: phone, Sealed: []byte("sealed")}
	f("spent before there is one", system, command.SpendCode{UserID: ada, ID: phone, Step: step}, fsm.CodeStale)
	f("by an access key", byKey, enrol, fsm.CodeForbidden)
	f("for another", fsmtest.ByToken(fsmtest.Caller()), enrol, fsm.CodeForbidden)
	f("without a secret", byToken, command.EnrolAuthenticator{UserID: ada, ID: phone}, fsm.CodeInvalid)
	f("enrolled", byToken, enrol, "")
	if a, _ := m.State().Authenticator(ada); a.ID != "" {
		t.Fatal("it counts before it is confirmed")
	}
	f("spent before it counts", system, command.SpendCode{UserID: ada, ID: phone, Step: step}, fsm.CodeStale)
	f("another confirmed", byToken, command.ConfirmAuthenticator{UserID: ada, ID: fsmtest.ID("tablet"), Step: step}, fsm.CodeNotFound)
	f("confirmed by an access key", byKey, command.ConfirmAuthenticator{UserID: ada, ID: phone, Step: step}, fsm.CodeForbidden)
	f("confirmed far ahead", byToken, command.ConfirmAuthenticator{UserID: ada, ID: phone, Step: step + 1000}, fsm.CodeInvalid)
	f("confirmed", byToken, command.ConfirmAuthenticator{UserID: ada, ID: phone, Step: step}, "")
	f("confirmed twice", byToken, command.ConfirmAuthenticator{UserID: ada, ID: phone, Step: step}, fsm.CodeNotFound)

	f("the code of the confirmation", system, command.SpendCode{UserID: ada, ID: phone, Step: step}, fsm.CodeStale)
	f("the next code", system, command.SpendCode{UserID: ada, ID: phone, Step: step + 1}, "")
	f("that code again", system, command.SpendCode{UserID: ada, ID: phone, Step: step + 1}, fsm.CodeStale)
	f("an earlier one", system, command.SpendCode{UserID: ada, ID: phone, Step: step}, fsm.CodeStale)
	f("one far ahead", system, command.SpendCode{UserID: ada, ID: phone, Step: step + 1000}, fsm.CodeInvalid)
	f("by a user", byToken, command.SpendCode{UserID: ada, ID: phone, Step: step + 2}, fsm.CodeForbidden)
	if m.Machine = restarted(t, m.Machine); m.State().Applied() == 0 {
		t.Fatal("nothing was restored")
	}
	f("a spent code after a restart", system, command.SpendCode{UserID: ada, ID: phone, Step: step + 1}, fsm.CodeStale)

	tablet := command.EnrolAuthenticator{UserID: ada, ID: fsmtest.ID("tablet"), Sealed: []byte("sealed")}
	f("replaced without a code", byToken, tablet, fsm.CodeForbidden)
	f("another handed out", shown, tablet, "")
	f("the one that counts", system, command.SpendCode{UserID: ada, ID: phone, Step: step + 2}, "")
	f("replaced", shown, command.ConfirmAuthenticator{UserID: ada, ID: fsmtest.ID("tablet"), Step: step + 1}, "")
	f("a code of the old one", system, command.SpendCode{UserID: ada, ID: phone, Step: step + 3}, fsm.CodeStale)

	f("removed by who may nothing", byKey, command.RemoveAuthenticator{UserID: ada}, fsm.CodeForbidden)
	f("removed by a code that is spent", byToken, command.RemoveAuthenticator{UserID: ada, ID: fsmtest.ID("tablet"), Step: step + 1}, fsm.CodeStale)
	f("another's by a code", fsmtest.Caller(), command.RemoveAuthenticator{UserID: ada, ID: fsmtest.ID("tablet"), Step: step + 2}, fsm.CodeForbidden)
	f("by another account", stranger, command.RemoveAuthenticator{UserID: ada}, fsm.CodeNotFound)
	f("reset by the administrator", fsmtest.Caller(), command.RemoveAuthenticator{UserID: ada}, "")
	f("there is none any more", fsmtest.Caller(), command.RemoveAuthenticator{UserID: ada}, fsm.CodeNotFound)
	if refusal := fsm.Authorize(m.State(), shown, fsm.Request{Action: policy.ActionGetKey}); refusal == nil || refusal.Code != fsm.CodeUnauthenticated {
		t.Errorf("a token that says that it was shown: %v", refusal)
	}
}

// A second factor goes with its user.
func TestSecondFactorOfADeletedUser(t *testing.T) {
	m := fsmtest.Bootstrapped(t)
	m.Must(fsmtest.CreateUser("ada"))
	before := m.State().Hash()
	cmd := m.Command(command.EnrolAuthenticator{UserID: fsmtest.ID("ada"), ID: fsmtest.ID("phone"), Sealed: []byte("sealed")})
	cmd.Caller = fsmtest.ByToken(fsmtest.CallerAs("ada"))
	if result := m.Apply(cmd)[0]; result.Refusal != nil || m.State().Hash() == before {
		t.Fatal(result.Refusal)
	}
	m.Must(command.DeleteUser{ID: fsmtest.ID("ada")})
	if _, has := m.State().Authenticator(fsmtest.ID("ada")); has {
		t.Error("it has stayed")
	}
}
