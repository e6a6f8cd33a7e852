package fsm_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/fsmtest"
	"github.com/raftkms/raftkms/fsm/state"
)

var (
	someExternal  = rapid.SampledFrom([]string{"i", "i", "i", "j"})
	someImports   = rapid.SampledFrom([]string{"i1", "i1", "i1", "i2"})
	someMaterials = rapid.SampledFrom([]string{"m1", "m1", "m1", "m2"})
)

// drawImport draws something about the material of a key that comes from
// elsewhere, symmetric or a pair. When something is due, and for how long it
// may be kept, is from the machine that the log is drawn for.
func drawImport(t *rapid.T, m *fsmtest.Machine) command.Body {
	key, token := someExternal.Draw(t, "key"), someImports.Draw(t, "token")
	switch rapid.IntRange(0, 9).Draw(t, "import") {
	case 0, 1:
		b := fsmtest.CreateExternalKey(key)
		if rapid.IntRange(0, 4).Draw(t, "pair") == 0 {
			b.Spec, b.Usage = "EC_P256", rapid.SampledFrom([]string{state.UsageSignVerify, state.UsageKeyAgreement}).Draw(t, "usage")
		}
		return b
	case 2, 3:
		return fsmtest.OpenImport(key, token, m.Now+rapid.SampledFrom([]int64{24 * 3_600_000, 24 * 3_600_000, 24 * 3_600_000, 400_000, 500, -1, 26 * 3_600_000}).Draw(t, "life"))
	case 4, 5:
		expires := rapid.SampledFrom([]int64{0, 0, 500, 400_000, -1}).Draw(t, "expires")
		if expires != 0 {
			expires += m.Now
		}
		b := fsmtest.ImportMaterial(key, token, someMaterials.Draw(t, "material"), expires)
		if rapid.IntRange(0, 4).Draw(t, "public") == 0 {
			b.Version.PublicKey = []byte("public key of " + key)
		}
		return b
	case 6:
		return fsmtest.DeleteMaterial(key)
	case 7:
		return fsmtest.CountImportFailure(key, token)
	case 8:
		due := fsmtest.Start + 1000
		if k, there := m.State().Key(fsmtest.KeyID(key)); there && k.ImportDue() != 0 {
			due = k.ImportDue()
			if due > m.Now && rapid.Bool().Draw(t, "then") {
				m.Now = due
			}
		}
		return fsmtest.ExpireImport(key, due)
	default:
		return rapid.SampledFrom([]command.Body{fsmtest.DisableKey(key), fsmtest.ScheduleDeletion(key, 1000), fsmtest.CancelDeletion(key)}).Draw(t, "meanwhile")
	}
}

// drawRest draws of the types that the other generators leave out: of accounts,
// projects, passwords, identity providers, quotas, default master keys, and what
// nodes report.
func drawRest(t *rapid.T, m *fsmtest.Machine) command.Body {
	user, group, key := someUsers.Draw(t, "user"), someGroups.Draw(t, "group"), someKeys.Draw(t, "key")
	small := rapid.Uint32Range(0, 4)
	project := rapid.SampledFrom([]string{"region-2", "other/project", "none"}).Draw(t, "project")
	issuer := rapid.SampledFrom([]string{"ca", "issuer"}).Draw(t, "provider")
	add := fsmtest.AddCA
	if issuer == "issuer" {
		add = fsmtest.AddIssuer
	}
	epoch := rapid.SampledFrom([]uint64{0, m.State().Applied()}).Draw(t, "epoch")
	return rapid.SampledFrom([]command.Body{
		command.UpdateDescription{ProjectID: fsmtest.ProjectID, KeyID: fsmtest.KeyID(key), Description: "of " + key},
		fsmtest.CreateDefaultKey(rapid.SampledFrom([]string{"obs", "evs"}).Draw(t, "service")),
		fsmtest.SetQuotas(3+small.Draw(t, "keys"), small.Draw(t, "grants"), small.Draw(t, "tags"), small.Draw(t, "all grants")),
		command.ReportErasure{NodeID: someNodes.Draw(t, "node"), Through: uint64(small.Draw(t, "through"))},
		command.PublishCheckpoint{NodeID: someNodes.Draw(t, "of"), From: 1, Size: 1 + uint64(small.Draw(t, "size")), Key: "key", Note: []byte("note")},
		command.RecordAccess{Uses: []command.Access{{AccessKeyID: fsmtest.AccessKey(user), Last: m.Now}}},
		command.LockUser{UserID: fsmtest.ID(user), Until: m.Now + 1000},
		command.UnlockUser{UserID: fsmtest.ID(user)},
		command.ChangePassword{UserID: fsmtest.UserID, PasswordHash: fsmtest.PasswordHash, Epoch: epoch},
		command.SetPassword{UserID: fsmtest.ID(user), Hash: fsmtest.PasswordHash},
		add(issuer),
		command.RemoveProvider{ID: issuer},
		command.BindIdentity{ProviderID: issuer, Name: "dns:" + user + ".test", UserID: fsmtest.ID(user)},
		command.UnbindIdentity{ProviderID: issuer, Name: "dns:" + user + ".test"},
		command.SetConsistency{Mode: state.ConsistencyStrict},
		fsmtest.CreateAccount("other"),
		command.UpdateAccount{DomainID: fsmtest.ID("other"), Name: "other", Enabled: rapid.Bool().Draw(t, "enabled")},
		command.DeleteAccount{DomainID: fsmtest.ID("other")},
		command.UpdateProject{ID: fsmtest.ID(project), Enabled: rapid.Bool().Draw(t, "open"), Description: key},
		command.DeleteProject{ID: fsmtest.ID(project)},
		command.UpdateGroup{ID: fsmtest.ID(group), Name: rapid.SampledFrom([]string{group, "g1", "renamed"}).Draw(t, "called"), Description: key},
	}).Draw(t, "rest")
}

// The logs of the property tests have every type of command, and those of
// imports, of which each needs others before it, are not always refused.
func TestEveryTypeIsDrawn(t *testing.T) {
	drawn, done := map[command.Type]int{}, map[command.Type]int{}
	log := rapid.Custom(func(rt *rapid.T) bool {
		m := fsmtest.Bootstrapped(t)
		for range 80 {
			cmd := drawCommand(rt, m)
			cmd.Time = m.Now
			drawn[cmd.Type]++
			if m.Apply(cmd)[0].Refusal == nil {
				done[cmd.Type]++
			}
		}
		return true
	})
	for seed := range 500 {
		log.Example(seed)
	}
	for _, kind := range command.Types() {
		if drawn[kind] == 0 {
			t.Errorf("%v is in no log", kind)
		}
	}
	for _, kind := range []command.Type{
		command.TypeOpenImport, command.TypeImportMaterial, command.TypeDeleteMaterial, command.TypeCountImportFailure, command.TypeExpireImport,
	} {
		if done[kind] == 0 {
			t.Errorf("%v is in %d places of the logs, and refused each time", kind, drawn[kind])
		}
	}
}
