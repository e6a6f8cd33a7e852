package fsm_test

import (
	"bytes"
	"reflect"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/raftkms/raftkms/fsm"
	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/fsmtest"
	"github.com/raftkms/raftkms/fsm/policy"
	"github.com/raftkms/raftkms/fsm/state"
)

// One log gives one state and one list of answers: at every index when applied
// one by one, in any batches, and with a snapshot and a restore anywhere.
func TestOneLogOneState(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		log := drawLog(rt, fsmtest.New(t))
		single, again := fsm.New(), fsm.New()
		hashes := make(map[uint64][32]byte)
		var answers []fsm.Result
		for _, e := range log {
			answers = append(answers, applyAll(rt, single, e)...)
			applyAll(rt, again, e)
			if single.State().Hash() != again.State().Hash() {
				rt.Fatalf("two runs differ at entry %d", e.Index)
			}
			hashes[e.Index] = single.State().Hash()
		}

		batched := fsm.New()
		var batchedAnswers []fsm.Result
		for rest := log; len(rest) > 0; {
			n := rapid.IntRange(1, len(rest)).Draw(rt, "batch")
			batchedAnswers = append(batchedAnswers, applyAll(rt, batched, rest[:n]...)...)
			if batched.State().Hash() != hashes[rest[n-1].Index] {
				rt.Fatalf("a batch of %d differs at entry %d", n, rest[n-1].Index)
			}
			rest = rest[n:]
			if rapid.Bool().Draw(rt, "restart") {
				batched = restarted(rt, batched)
			}
		}
		if diff := cmp.Diff(answers, batchedAnswers); diff != "" {
			rt.Fatalf("answers differ (-single +batched):\n%s", diff)
		}
		if diff := cmp.Diff(contents(single.State()), contents(batched.State())); diff != "" {
			rt.Fatalf("records differ (-single +batched):\n%s", diff)
		}
	})
}

// At most once, precisely: when a proposal that was answered, and whose first
// attempt the horizon has not passed, comes again at a later index, it gets the
// very same result; every record except the clock and the reply cache stays as
// it was; and the reply cache holds what it held less what the clock put behind
// the horizon. When the horizon has passed it, it is refused as
// outcome-unknown and changes as little.
func TestAtMostOnce(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := fsmtest.Bootstrapped(t)
		type attempt struct {
			cmd    command.Command
			result fsm.Result
		}
		var answered []attempt
		for range rapid.IntRange(1, 30).Draw(rt, "entries") {
			cmd := drawCommand(rt, m)
			_, seen := m.State().Reply(cmd.Proposal.ID)
			result := m.Apply(cmd)[0]
			if _, kept := m.State().Reply(cmd.Proposal.ID); kept && !seen {
				answered = append(answered, attempt{cmd, result})
			}
			if len(answered) == 0 || rapid.IntRange(0, 2).Draw(rt, "repeat") > 0 {
				continue
			}
			a := answered[rapid.IntRange(0, len(answered)-1).Draw(rt, "which")]
			repeated := a.cmd
			repeated.Time = m.Now
			repeated.Caller.Source, repeated.Caller.RequestID = "192.0.2.99", "another attempt"
			if reply, kept := m.State().Reply(a.cmd.Proposal.ID); kept && reply.Index != a.result.Index {
				continue // the id was given to another proposal after this one's answer had expired
			}
			before := m.State()
			got := m.Apply(repeated)[0]
			after := m.State()

			want := a.result
			if repeated.Proposal.First < after.Horizon() {
				want = fsm.Result{Index: after.Applied(), Refusal: got.Refusal}
				if got.Refusal == nil || got.Refusal.Code != fsm.CodeOutcomeUnknown {
					rt.Fatalf("a repeat behind the horizon got %+v", got)
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				rt.Fatalf("the repeat got another answer (-first +repeat):\n%s", diff)
			}
			if diff := cmp.Diff(unerased(rt, repeated, before), unerased(rt, repeated, after)); diff != "" {
				rt.Fatalf("the repeat changed a record:\n%s", diff)
			}
			if after.ReplyCount() > before.ReplyCount() {
				rt.Fatal("the repeat was kept as another answer")
			}
		}
	})
}

// A refusal changes nothing but the clock, the reply cache, and what is said of
// material that has ended (see TestCarriedMaterialIsErased).
func TestRefusalsChangeNothing(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := fsmtest.Bootstrapped(t)
		for range rapid.IntRange(1, 40).Draw(rt, "entries") {
			before := m.State()
			cmd := drawCommand(rt, m)
			if result := m.Apply(cmd)[0]; result.Refusal != nil {
				if diff := cmp.Diff(unerased(rt, cmd, before), unerased(rt, cmd, m.State())); diff != "" {
					rt.Fatalf("refused with %v, and yet:\n%s", result.Refusal, diff)
				}
			}
		}
	})
}

// A record that is unchanged is the same object in every later state: what a
// cache made from it still counts.
func TestUnchangedRecordsKeepTheirPointers(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := fsmtest.Bootstrapped(t)
		for range rapid.IntRange(1, 40).Draw(rt, "entries") {
			before := m.State()
			m.Apply(drawCommand(rt, m))
			for _, old := range before.Keys(fsmtest.ProjectID, 0, 1000, nil) {
				now, exists := m.State().Key(old.ID)
				if !exists { // its deletion was due
					continue
				}
				if (now == old) != (reflect.DeepEqual(now, old)) {
					rt.Fatalf("key %s: pointer kept: %v, content kept: %v", old.Name, now == old, reflect.DeepEqual(now, old))
				}
				oldVersion, _ := before.Version(old.ID, 1)
				if v, _ := m.State().Version(old.ID, 1); (v == oldVersion) != reflect.DeepEqual(v, oldVersion) {
					rt.Fatalf("the version of key %s: pointer kept: %v", old.Name, v == oldVersion)
				}
			}
		}
	})
}

// The list of additive types (command.Type.Fenced) holds what it promises: no
// command of such a type turns an allowed call into another answer. The calls
// are all that a node may answer from its lease: who may do what with which key.
func TestAdditiveCommandsTakeNothingAway(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := fsmtest.New(t)
		if rapid.IntRange(0, 9).Draw(rt, "unborn") > 0 {
			m.Must(fsmtest.Bootstrap())
			if rapid.Bool().Draw(rt, "vouched") {
				vouch(m)
			}
		}
		for range rapid.IntRange(1, 40).Draw(rt, "entries") {
			cmd := drawCommand(rt, m)
			before := m.State()
			m.Apply(cmd)
			if cmd.Type.Fenced() {
				continue
			}
			for _, p := range probes() {
				was, is := p.answer(before), p.answer(m.State())
				if was != "" && is != was {
					rt.Fatalf("%v turned %+v from %q into %q", cmd.Type, p, was, is)
				}
			}
		}
	})
}

// A disable does take something away: were it on the list, the property above
// would have to fail. This is the test of the test.
func TestProbesSeeADisable(t *testing.T) {
	m := fsmtest.Bootstrapped(t)
	m.Must(fsmtest.CreateKey("a"))
	before := m.State()
	m.Must(fsmtest.DisableKey("a"))
	for _, p := range probes() {
		if was := p.answer(before); was != "" && p.answer(m.State()) != was {
			return
		}
	}
	t.Fatal("no probe saw the disable")
}

// So does a name: whom an issuer puts into a group, and whom a client CA calls
// by one name of two, is decided by what is called so.
func TestProbesSeeNames(t *testing.T) {
	f := func(body command.Body) {
		t.Helper()
		m := fsmtest.Bootstrapped(t)
		vouch(m)
		before := m.State()
		m.Must(body)
		for _, p := range probes() {
			if was := p.answer(before); was != "" && p.answer(m.State()) != was {
				if !body.Type().Fenced() {
					t.Errorf("%v turned %+v into a no, and is not fenced", body.Type(), p)
				}
				return
			}
		}
		t.Errorf("no probe saw %+v", body)
	}
	f(command.UpdateGroup{ID: fsmtest.ID("g1"), Name: "renamed"})
	f(fsmtest.CreateGroup("g2"))
	f(fsmtest.CreateUser("bob"))
}

// And so does a revocation of a grant.
func TestProbesSeeARevocation(t *testing.T) {
	m := fsmtest.Bootstrapped(t)
	m.Must(fsmtest.CreateUser("ada"))
	m.Must(fsmtest.CreateAccessKey("ada"))
	m.Must(fsmtest.CreateKey("a"))
	m.Must(fsmtest.CreateGrant("g", "a", fsmtest.ID("ada"), state.GrantDecryptData))
	before := m.State()
	m.Must(fsmtest.RevokeGrant("g", "a"))
	for _, p := range probes() {
		if was := p.answer(before); was != "" && p.answer(m.State()) != was {
			return
		}
	}
	t.Fatal("no probe saw the revocation")
}

// vouch has an issuer believed that goes by names, and says in which groups a
// user is: as one of g1 the user ada may do everything with the key a.
func vouch(m *fsmtest.Machine) {
	m.Must(fsmtest.AddIssuer("issuer"))
	m.Must(fsmtest.CreateKey("a"))
	m.Must(fsmtest.CreateUser("ada"))
	m.Must(fsmtest.CreateGroup("g1"))
	m.Must(fsmtest.CreatePolicy("p1", fsmtest.Allow("kms:*")))
	m.Must(command.AttachPolicy{Binding: command.Binding{GroupID: fsmtest.ID("g1"), Policy: fsmtest.ID("p1")}})
}

// probe is a crypto call: by whom, for what, on which key, named how.
type probe struct {
	credential, action, operation, name string
	byName                              bool

	// What an issuer has written into its word about somebody, if that is the
	// credential.
	users, groups []string
}

func probes() []probe {
	var all []probe
	for _, credential := range []string{fsmtest.AccessKeyID, "RAFTKMS0ACCESSKEY009", fsmtest.AccessKey("ada"), fsmtest.AccessKey("bob")} {
		for action, operation := range map[string]string{
			policy.ActionCreateDEK: "createDataKey", policy.ActionCryptoDEK: "decryptDatakey", policy.ActionCryptoData: "decryptData",
		} {
			for _, name := range []string{"a", "b", "c", "e", "f"} {
				p := probe{credential: credential, action: action, operation: operation, name: name}
				named := p
				named.byName = true
				all = append(all, p, named)
			}
		}
	}
	for _, users := range [][]string{{"ada"}, {"bob"}, {"ada", "bob"}} {
		for _, groups := range [][]string{nil, {"g1"}, {"g2"}, {"g1", "g2"}} {
			all = append(all, probe{
				credential: "issuer", action: policy.ActionCryptoData, operation: "decryptData", name: "a", users: users, groups: groups,
			})
		}
	}
	return all
}

// mostNamed is how many groups a probe's word may name, and be believed: few, so
// that one more group is soon one too many.
const mostNamed = 1

// vouched is whom the names of an issuer's word lead to, as package iam goes by
// them: one user, and no more groups than are looked at.
func (p probe) vouched(root *state.Root, caller command.Caller) (command.Caller, bool) {
	caller.Via, caller.CredentialID, caller.UserID = command.ViaProvider, p.credential, ""
	provider, ok := root.Provider(p.credential)
	if !ok {
		return caller, false
	}
	for _, name := range p.users {
		user, ok := root.UserByName(provider.DomainID, name)
		switch {
		case ok && caller.UserID != "":
			return caller, false
		case ok:
			caller.UserID = user.ID
		}
	}
	groups := 0
	for _, name := range p.groups {
		if group, ok := root.GroupByName(provider.DomainID, name); ok {
			caller.Groups += group.ID
			groups++
		}
	}
	return caller, caller.UserID != "" && groups <= mostNamed
}

// answer is what an allowed call would compute with, and empty for a no.
func (p probe) answer(root *state.Root) string {
	caller := fsmtest.Caller()
	caller.CredentialID = p.credential
	for _, user := range []string{"ada", "bob"} {
		if p.credential == fsmtest.AccessKey(user) {
			caller.UserID = fsmtest.ID(user)
		}
	}
	if p.users != nil {
		var ok bool
		if caller, ok = p.vouched(root, caller); !ok {
			return ""
		}
	}
	key, ok := root.Key(fsmtest.KeyID(p.name))
	if p.byName {
		key, ok = root.KeyByName(fsmtest.ProjectID, p.name)
	}
	if !ok {
		key = fsm.Absent(fsmtest.KeyID(p.name))
	}
	request := fsm.Request{Action: p.action, Operation: p.operation, ProjectID: fsmtest.ProjectID, Key: key, Now: root.Now()}
	if fsm.Authorize(root, caller, request) != nil || key.State != state.Enabled {
		return ""
	}
	version, ok := root.Version(key.ID, key.PrimaryVersion)
	if !ok {
		return ""
	}
	return key.ID + string(version.Blob) + string(version.MAC)
}

func applyAll(t rapid.TB, m *fsm.Machine, entries ...fsm.Entry) []fsm.Result {
	t.Helper()
	results, err := m.Apply(entries)
	if err != nil {
		t.Fatalf("applying: %v", err)
	}
	return results
}

// restarted returns a new machine made from a snapshot of m.
func restarted(t rapid.TB, m *fsm.Machine) *fsm.Machine {
	t.Helper()
	var file bytes.Buffer
	if _, err := m.Snapshot().WriteTo(&file); err != nil {
		t.Fatal(err)
	}
	fresh := fsm.New()
	if err := fresh.Restore(&file); err != nil {
		t.Fatal(err)
	}
	if fresh.State().Hash() != m.State().Hash() || fresh.State().Applied() != m.State().Applied() {
		t.Fatal("the restored state is another")
	}
	return fresh
}

type record struct {
	Table state.Table
	Data  string
}

// contents returns every record of a state.
func contents(root *state.Root) []record {
	var all []record
	for table, data := range root.Records() {
		all = append(all, record{table, string(data)})
	}
	return all
}

// facts returns the records that say something about keys, people or nodes:
// all but the clock and the reply cache.
func facts(root *state.Root) []record { return without(root, state.TableClock, state.TableReply) }

// unerased are the facts less, if a command carries wrapped material, what is
// said of material that has ended: there it may be noted once more.
func unerased(t *rapid.T, cmd command.Command, root *state.Root) []record {
	if len(carriedBy(t, cmd)) == 0 {
		return facts(root)
	}
	return without(root, state.TableClock, state.TableReply, state.TableTombstone, state.TableDiscard)
}

func without(root *state.Root, tables ...state.Table) []record {
	var all []record
	for _, r := range contents(root) {
		if !slices.Contains(tables, r.Table) {
			all = append(all, r)
		}
	}
	return all
}
