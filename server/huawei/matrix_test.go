package huawei_test

import (
	"bytes"
	"crypto/aes"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emmansun/gmsm/sm3"

	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/fsmtest"
	"github.com/raftkms/raftkms/fsm/state"
	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/keypair"
	"github.com/raftkms/raftkms/hsm/kwp"
	"github.com/raftkms/raftkms/server/wire"
)

// trait is a kind of key, with its past, as far as the rules tell kinds apart.
type trait struct {
	name    string
	members string // of create-key
	spec    hsm.Spec
	usage   string
	// external: the material came from elsewhere, or is still to come.
	external bool
	// past is what happened to it before it was brought into a state.
	past func(m *matrix, k *matrixKey)
	// lost: the material is gone again, or never came.
	lost bool
	// ends is what happens to it in a state at last.
	ends func(m *matrix, k *matrixKey)
	// expired: its material is there, but is not to be used any more.
	expired bool
	// master: the default master key of a service.
	master bool
	states []int // in which there is such a key, but for gone, which all are at last
}

const (
	encrypts = "ENCRYPT_DECRYPT"
	signs    = "SIGN_VERIFY"
	macs     = "GENERATE_VERIFY_MAC"
	agrees   = "KEY_AGREEMENT"
)

var (
	usable  = []int{enabled, disabled, pendingDeletion}
	waiting = []int{pendingImport, pendingDeletion}
)

// traits are all kinds of key.
var traits = []trait{
	{name: "symmetric", spec: hsm.SpecAES256, usage: encrypts, states: usable},
	{name: "SM4", members: `,"key_spec":"SM4"`, spec: hsm.SpecSM4, usage: encrypts, states: usable},
	{name: "symmetric, with three versions", spec: hsm.SpecAES256, usage: encrypts, states: usable, past: func(m *matrix, k *matrixKey) { m.on(k, "rotate-on-demand", "rotate-on-demand") }},
	{name: "RSA that signs", members: `,"key_spec":"RSA_2048"`, spec: hsm.SpecRSA2048, usage: signs, states: usable},
	{name: "RSA that encrypts", members: `,"key_spec":"RSA_2048","key_usage":"ENCRYPT_DECRYPT"`, spec: hsm.SpecRSA2048, usage: encrypts, states: usable},
	{name: "EC that signs", members: `,"key_spec":"EC_P256"`, spec: hsm.SpecECP256, usage: signs, states: usable},
	{name: "EC that signs, with two versions", members: `,"key_spec":"EC_P256"`, spec: hsm.SpecECP256, usage: signs, states: usable, past: func(m *matrix, k *matrixKey) { m.on(k, "rotate-on-demand") }},
	{name: "EC that agrees", members: `,"key_spec":"EC_P256","key_usage":"KEY_AGREEMENT"`, spec: hsm.SpecECP256, usage: agrees, states: usable},
	{name: "HMAC", members: `,"key_spec":"HMAC_256"`, spec: hsm.SpecHMAC256, usage: macs, states: usable},
	{name: "never imported", members: `,"origin":"external"`, spec: hsm.SpecAES256, usage: encrypts, external: true, lost: true, states: waiting},
	{name: "pair never imported", members: `,"origin":"external","key_spec":"EC_P256"`, spec: hsm.SpecECP256, usage: signs, external: true, lost: true, states: waiting},
	{name: "imported", members: `,"origin":"external"`, spec: hsm.SpecAES256, usage: encrypts, external: true, states: usable, past: (*matrix).bring},
	{name: "imported EC that signs", members: `,"origin":"external","key_spec":"EC_P256"`, spec: hsm.SpecECP256, usage: signs, external: true, states: usable, past: (*matrix).bringPair},
	{name: "imported EC that agrees", members: `,"origin":"external","key_spec":"EC_P256","key_usage":"KEY_AGREEMENT"`, spec: hsm.SpecECP256, usage: agrees, external: true, states: usable, past: (*matrix).bringPair},
	{name: "imported RSA that signs", members: `,"origin":"external","key_spec":"RSA_2048"`, spec: hsm.SpecRSA2048, usage: signs, external: true, states: usable, past: (*matrix).bringPair},
	{name: "imported RSA that encrypts", members: `,"origin":"external","key_spec":"RSA_2048","key_usage":"ENCRYPT_DECRYPT"`, spec: hsm.SpecRSA2048, usage: encrypts, external: true, states: usable, past: (*matrix).bringPair},
	{name: "imported and deleted", members: `,"origin":"external"`, spec: hsm.SpecAES256, usage: encrypts, external: true, lost: true, states: waiting, past: func(m *matrix, k *matrixKey) {
		m.bring(k)
		m.on(k, "delete-imported-key-material")
	}},
	{name: "disabled, imported and deleted", members: `,"origin":"external"`, spec: hsm.SpecAES256, usage: encrypts, external: true, lost: true, states: waiting, past: func(m *matrix, k *matrixKey) {
		m.bring(k)
		k.disabledBefore = true
		m.on(k, "disable-key", "delete-imported-key-material")
	}},
	{name: "imported, expired", members: `,"origin":"external"`, spec: hsm.SpecAES256, usage: encrypts, external: true, lost: true, states: waiting, past: (*matrix).bringForAMinute},
	{name: "imported, deleted and imported again", members: `,"origin":"external"`, spec: hsm.SpecAES256, usage: encrypts, external: true, states: usable, past: func(m *matrix, k *matrixKey) {
		m.bring(k)
		m.on(k, "delete-imported-key-material")
		m.must("import-key-material", k.material, nil)
	}},
	{name: "imported, expired and not yet erased", members: `,"origin":"external"`, spec: hsm.SpecAES256, usage: encrypts, external: true, expired: true, states: usable, past: (*matrix).bringForAnHour, ends: (*matrix).passAnHour},
	{name: "default master key", spec: hsm.SpecAES256, usage: encrypts, master: true, states: []int{enabled}},
}

// matrix tries every operation on a kind of key in every state.
type matrix struct {
	*world
	n       int
	private []byte // what is imported into its pairs
}

// matrixKey is a key in a state, with what operations on it are asked with.
type matrixKey struct {
	trait    *trait
	id       string
	state    int
	material string // the body of import-key-material that brings what it had, or should have
	// disabledBefore: it was Disabled when it lost its material.
	disabledBefore bool
	due            int64 // Unix seconds at which its material expires
	replace        *strings.Replacer
	condition      string
}

func (m *matrix) on(k *matrixKey, verbs ...string) {
	m.t.Helper()
	for _, verb := range verbs {
		m.must(verb, `{"key_id":"`+k.id+`"}`, nil)
	}
}

// bring imports a symmetric key.
func (m *matrix) bring(k *matrixKey) { m.bringFor(k, "") }

func (m *matrix) bringFor(k *matrixKey, more string) {
	m.t.Helper()
	m.must("import-key-material", strings.TrimSuffix(k.material, "}")+more+"}", nil)
}

func (m *matrix) bringForAMinute(k *matrixKey) {
	m.t.Helper()
	due := max(m.replica.time(), time.Now().UnixMilli())/1000 + 60
	m.bringFor(k, fmt.Sprintf(`,"expiration_time":%d`, due))
	m.replica.advance(due * 1000)
	m.asSystem(command.TypeExpireImport, command.ExpireImport{KeyID: k.id, Due: due * 1000})
}

// bringForAnHour imports what expires later, and passAnHour lets it.
func (m *matrix) bringForAnHour(k *matrixKey) {
	m.t.Helper()
	k.due = max(m.replica.time(), time.Now().UnixMilli())/1000 + 3600
	m.bringFor(k, fmt.Sprintf(`,"expiration_time":%d`, k.due))
}

func (m *matrix) passAnHour(k *matrixKey) {
	m.t.Helper()
	m.replica.advance(k.due * 1000)
	m.createKey(fmt.Sprintf("m%d-clock", m.n)) // with a write, the time is in the state
}

// bringPair imports a pair.
func (m *matrix) bringPair(k *matrixKey) {
	m.t.Helper()
	m.must("import-key-material", k.material, nil)
}

// asSystem does what a scheduler does.
func (m *matrix) asSystem(kind command.Type, body command.Body) {
	m.t.Helper()
	m.n++
	cmd, err := command.New(kind, body)
	if err != nil {
		m.t.Fatal(err)
	}
	cmd.Proposal = command.Proposal{ID: fmt.Sprintf("system/%d", m.n)}
	cmd.Caller = command.Caller{Kind: command.CallerSystem, NodeID: fsmtest.NodeID}
	data, err := command.Encode(cmd)
	if err != nil {
		m.t.Fatal(err)
	}
	if result, err := m.replica.Propose(m.t.Context(), data); err != nil || result.Refusal != nil {
		m.t.Fatalf("%v: %v, %v", kind, result.Refusal, err)
	}
}

// prepare makes what an import of the key is asked with.
func (m *matrix) prepare(t *testing.T, k *matrixKey) {
	t.Helper()
	const algorithm = "RSAES_OAEP_SHA_256"
	m.replica.advance(time.Now().UnixMilli())
	token, public := m.parameters(k.id, algorithm)
	more := ""
	if k.trait.spec.Pair() {
		private := m.privateKey(k.trait.spec)
		block, err := aes.NewCipher(bytes.Repeat([]byte{9}, 32))
		if err != nil {
			t.Fatal(err)
		}
		wrapped, err := kwp.Wrap(block, private)
		if err != nil {
			t.Fatal(err)
		}
		more = `,"encrypted_privatekey":"` + b64(wrapped) + `"`
	}
	k.material = importBody(k.id, token, wrap(t, algorithm, public, bytes.Repeat([]byte{9}, 32)), more)
}

// privateKey is of the one spec that the matrix is about.
func (m *matrix) privateKey(spec hsm.Spec) []byte {
	m.t.Helper()
	if m.private == nil {
		private, _, err := keypair.Generate(spec)
		if err != nil {
			m.t.Fatal(err)
		}
		m.private = private
	}
	return m.private
}

// make makes a key of a kind in a state.
func (m *matrix) make(t *testing.T, of *trait, s int) *matrixKey {
	t.Helper()
	m.n++
	k := &matrixKey{trait: of, state: s}
	name := fmt.Sprintf("m%d", m.n)
	ask := func(verb, body string, reply any) {
		t.Helper()
		m.must(verb, strings.ReplaceAll(body, "KEY", k.id), reply)
	}
	if of.master {
		var dataKey wire.CreateDataKeyReply
		ask("create-datakey", `{"key_id":"alias/obs/default"}`, &dataKey)
		k.id = dataKey.KeyID
	} else {
		var created wire.CreateKeyReply
		m.must("create-key", `{"key_alias":"`+name+`"`+of.members+`}`, &created)
		k.id = created.KeyInfo.KeyID
		ask("aliases", `{"key_id":"KEY","alias":"`+name+`-held"}`, nil)
		m.tag(k, "stage")
	}
	ask("aliases", `{"key_id":"`+m.createKey(name+"-other")+`","alias":"`+name+`-wandering"}`, nil)
	if of.external {
		m.prepare(t, k)
	}
	if of.past != nil {
		of.past(m, k)
	}
	grants, dataKey, data := [2]string{strings.Repeat("0", 64), strings.Repeat("0", 64)}, "00", "AAAA"
	if !of.lost {
		for i := range grants {
			if !of.master {
				var granted wire.CreateGrantReply
				ask("create-grant", bodyOf("create-grant"), &granted)
				grants[i] = granted.GrantID
			}
		}
		if of.usage == encrypts && !of.spec.Pair() {
			var made wire.CreateDataKeyReply
			ask("create-datakey", `{"key_id":"KEY"}`, &made)
			dataKey = fmt.Sprintf("%X", []byte(made.CipherText))
			var sealed struct {
				CipherText string `json:"cipher_text"`
			}
			ask("encrypt-data", `{"key_id":"KEY","plain_text":"x"}`, &sealed)
			data = sealed.CipherText
		}
	}
	switch s {
	case disabled:
		m.on(k, "disable-key")
	case pendingDeletion, gone:
		ask("schedule-key-deletion", `{"key_id":"KEY","pending_days":"7"}`, nil)
	}
	if of.ends != nil {
		of.ends(m, k)
	}
	k.replace = strings.NewReplacer("KEY", k.id, "SEALED-DEK", dataKey, "SEALED-TEXT", data, "renamed", name+"-renamed", "another", name+"-another",
		"wandering", name+"-wandering", "held", name+"-held", "GRANT-2", grants[1], "GRANT", grants[0])
	if s == gone {
		m.deleteNow(t, k.id)
	}
	return k
}

func (m *matrix) tag(k *matrixKey, tag string) {
	m.t.Helper()
	if a := m.ask(k.id+"/tags", `{"tag":{"key":"`+tag+`","value":"test"}}`); a.status != 204 {
		m.t.Fatal(a.body)
	}
}

// picture is what is known of a key: how it is described, and its record, which
// is another one as soon as anything was written to it: also a tag, an alias or
// a grant, which it counts.
func (m *matrix) picture(k *matrixKey) (p keyPicture) {
	m.t.Helper()
	p.described = m.ask("describe-key", `{"key_id":"`+k.id+`"}`)
	p.described.header = nil
	if p.described.status != 200 { // with an id of its request
		p.described.body = ""
	}
	p.record, _ = m.replica.Root().Key(k.id)
	return p
}

type keyPicture struct {
	described answered
	record    *state.Key
}

// condition is what the rules ask of a key, besides its kind.
func (p keyPicture) condition() string {
	if p.record == nil {
		return "gone"
	}
	return fmt.Sprint(p.record.State, p.record.RotationDays)
}

func (p keyPicture) is(other keyPicture) bool {
	return p.record == other.record && p.described.status == other.described.status && p.described.body == other.described.body
}

// Every operation on every kind of key in every state does what the rules say,
// and after a refusal the key is described as before, and nothing was written to it.
func TestMatrix(t *testing.T) { tryAll(t, softModule(t)) }

// It does so over a device, too.
func TestMatrixOverADevice(t *testing.T) { tryAll(t, softHSM(t)) }

// tryAll fills the matrix over a module, the kinds side by side.
func tryAll(t *testing.T, module hsm.Module) {
	module = &thrifty{Module: module}
	var cells atomic.Int64
	t.Run("kind", func(t *testing.T) {
		for i := range traits {
			of := &traits[i]
			t.Run(of.name, func(t *testing.T) {
				t.Parallel()
				m := &matrix{world: newWorldOver(t, module)}
				m.must("PUT user-quotas", `{"resources":[{"type":"CMK","quota":100000}]}`, nil)
				cases := of.states
				if !of.master {
					cases = append(slices.Clone(of.states), gone) // last: time passes
				}
				for _, s := range cases {
					var k *matrixKey
					var before keyPicture
					for _, op := range matrixOperations() {
						if k == nil {
							k = m.make(t, of, s)
							before = m.picture(k)
							k.condition = before.condition()
						}
						cells.Add(1)
						if before = m.try(t, op, k, before); before.condition() != k.condition {
							k = nil // a new one, in the state that it was in
						}
					}
				}
			})
		}
	})
	t.Logf("%d cells", cells.Load())
}

// Every endpoint that is about a key has its row.
func TestMatrixIsComplete(t *testing.T) {
	tried := map[string]bool{}
	for _, op := range matrixOperations() {
		tried[op.verb] = true
	}
	for verb := range endpoints {
		if !tried[verb] && !slices.Contains(notAboutStates, verb) {
			t.Errorf("no operation of the matrix is %s", verb)
		}
	}
	for asked := range others {
		if verb := strings.NewReplacer("{key_id}", "KEY", "{tag_key}", "stage", "POST ", "").Replace(asked); !tried[verb] && strings.Contains(asked, "{key_id}") {
			t.Errorf("no operation of the matrix is %s", asked)
		}
	}
}

// try does one operation, and returns the key afterwards.
func (m *matrix) try(t *testing.T, op operation, k *matrixKey, before keyPicture) keyPicture {
	t.Helper()
	name := fmt.Sprintf("%s of a key (%s) in state %d", op.verb, k.trait.name, k.state)
	want := op.want(k)
	body := k.replace.Replace(op.body)
	switch {
	case op.verb == "import-key-material" && k.material != "":
		body = k.material
	case op.verb == "encrypt-datakey" && k.trait.spec == hsm.SpecSM4: // which has a digest of its own
		digest := sm3.Sum(make([]byte, 64))
		body = strings.Replace(body, zeroKey[128:], fmt.Sprintf("%X", digest[:]), 1)
	}
	a := m.ask(k.replace.Replace(op.verb), body)
	after := m.picture(k)
	if strings.HasPrefix(want, "KMS.") {
		if a.status/100 != 4 || a.code(t) != want {
			t.Errorf("%s: %d %s, want %s", name, a.status, a.body, want)
		}
		if !before.is(after) {
			t.Errorf("%s was refused, and yet the key was written to: it was\n%s\nand is\n%s", name, before.described.body, after.described.body)
		}
		return after
	}
	if want == "same" {
		want = []string{"2", "3", "4", "5"}[k.state]
	}
	if got := stateOf(t, after.described); a.status/100 != 2 || got != want {
		t.Errorf("%s: %d %s, and then state %s, want %s", name, a.status, a.body, got, want)
	}
	return after
}
