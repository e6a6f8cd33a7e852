package huawei_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/fsmtest"
	"github.com/raftkms/raftkms/server/wire"
)

// The states of a key, and no key any more, as the table has its columns.
const (
	enabled = iota
	disabled
	pendingDeletion
	pendingImport
	gone
	states
)

// Kinds of key: which of them the lines of the table are about.
const (
	symmetric = iota
	external
	signing   // EC_P256
	agreeing  // EC_P256
	rsaCrypto // RSA_2048, for encryption
	macing    // HMAC_256
	master    // the default master key of a service: Enabled for ever
	kinds
)

var kindNames = [kinds]string{"symmetric", "external", "an EC key for signing", "an EC key for agreement", "an RSA key for encryption", "an HMAC key", "a default master key"}

// kindMembers are what create-key is asked for to get a key of the kind.
var kindMembers = [kinds]string{
	external:  `,"origin":"external"`,
	signing:   `,"key_spec":"EC_P256"`,
	agreeing:  `,"key_spec":"EC_P256","key_usage":"KEY_AGREEMENT"`,
	rsaCrypto: `,"key_spec":"RSA_2048","key_usage":"ENCRYPT_DECRYPT"`,
	macing:    `,"key_spec":"HMAC_256"`,
}

// line is what one operation does to one kind of key in each of its states: the
// state afterwards ("2" … "5"), "same" where it succeeds and changes no state,
// or the code of the refusal. A dash: a key of that kind is never in that state.
type line struct {
	verb, body string
	kind       int
	outcome    [states]string
}

const none = "-"

// table is §1.1 of the reference, line by line.
func table() []line {
	const id = `{"key_id":"KEY"}`
	both := func(verb, body string, outcome ...string) []line {
		var sym, ext [states]string
		copy(sym[:], outcome)
		copy(ext[:], outcome)
		sym[pendingImport] = none
		ext[enabled], ext[disabled] = none, none // as long as nothing is imported
		return []line{{verb, body, symmetric, sym}, {verb, body, external, ext}}
	}
	lines := slices.Concat(
		//                                                       Enabled     Disabled    Pending d.  Pending i.  gone
		both("describe-key", id, "same", "same", "same", "same", "KMS.0207"),
		both("enable-key", id, "KMS.1201", "2", "KMS.1201", "KMS.1201", "KMS.0207"),
		both("disable-key", id, "3", "KMS.1301", "KMS.1301", "KMS.1301", "KMS.0207"),
		both("schedule-key-deletion", `{"key_id":"KEY","pending_days":"7"}`, "4", "4", "KMS.1402", "4", "KMS.0207"),
		both("update-key-alias", `{"key_id":"KEY","key_alias":"renamed"}`, "same", "same", "KMS.0210", "KMS.1301", "KMS.0207"),
		both("update-key-description", `{"key_id":"KEY","key_description":"d"}`, "same", "same", "KMS.0210", "KMS.1301", "KMS.0207"),
		both("enable-key-deletion-protection", id, "same", "same", "KMS.0210", "same", "KMS.0207"),
		both("disable-key-deletion-protection", id, "same", "same", "KMS.0210", "same", "KMS.0207"),
		both("aliases", `{"key_id":"KEY","alias":"another"}`, "same", "same", "KMS.0210", "same", "KMS.0207"),
		both("alias/associate", `{"target_key_id":"KEY","alias":"wandering"}`, "same", "same", "KMS.0210", "same", "KMS.0207"),
		both("DELETE aliases", `{"key_id":"KEY","aliases":["held"]}`, "same", "same", "same", "same", "KMS.0207"),
		both("GET aliases?key_id=KEY", ``, "same", "same", "same", "same", "KMS.0207"),
		both("get-key-rotation-status", id, "same", "same", "same", "same", "KMS.0207"),
		both("list-key-versions", id, "same", "same", "same", "same", "KMS.0207"),
		both("create-grant", bodyOf("create-grant"), "same", "KMS.0209", "KMS.0210", "KMS.1301", "KMS.0207"),
		both("list-grants", id, "same", "same", "same", "same", "KMS.0207"),
		both("create-datakey", id, "same", "KMS.0209", "KMS.0210", "KMS.1301", "KMS.0207"),
		both("create-datakey-without-plaintext", id, "same", "KMS.0209", "KMS.0210", "KMS.1301", "KMS.0207"),
		both("create-datakeys", `{"key_id":"KEY","count":2}`, "same", "KMS.0209", "KMS.0210", "KMS.1301", "KMS.0207"),
		both("create-datakeys-without-plaintext", `{"key_id":"KEY","count":2}`, "same", "KMS.0209", "KMS.0210", "KMS.1301", "KMS.0207"),
		both("encrypt-datakey", `{"key_id":"KEY","plain_text":"`+zeroKey+`","datakey_plain_length":"64"}`, "same", "KMS.0209", "KMS.0210", "KMS.1301", "KMS.0207"),
		both("encrypt-data", `{"key_id":"KEY","plain_text":"x"}`, "same", "KMS.0209", "KMS.0210", "KMS.1301", "KMS.0207"),
	)
	lines = append(lines, pairLines()...)
	for verb, outcome := range map[string]string{
		"describe-key": "same", "get-key-rotation-status": "same", "list-key-versions": "same", "GET aliases?key_id=KEY": "same",
		"create-datakey": "same", "create-datakey-without-plaintext": "same", "encrypt-datakey": "same", "encrypt-data": "same",
		"decrypt-datakey": "same", "decrypt-data": "same", "DELETE aliases": "KMS.0207",
		"create-grant": "KMS.0211", "list-grants": "same", "revoke-grant": "KMS.2502", "retire-grant": "KMS.2502",
		"enable-key": "KMS.0211", "disable-key": "KMS.0211", "schedule-key-deletion": "KMS.0211", "cancel-key-deletion": "KMS.0211",
		"update-key-alias": "KMS.0211", "update-key-description": "KMS.0211", "enable-key-deletion-protection": "KMS.0211",
		"disable-key-deletion-protection": "KMS.0211", "aliases": "KMS.0211", "alias/associate": "KMS.0211", "enable-key-rotation": "KMS.0211",
		"update-key-rotation-interval": "KMS.0211", "disable-key-rotation": "KMS.0211", "rotate-on-demand": "KMS.0211",
	} {
		lines = append(lines, line{verb, bodyOf(verb), master, [states]string{outcome, none, none, none, none}})
	}
	return append(lines,
		// Back from pending deletion a key is Disabled, or waits for its import again.
		line{"cancel-key-deletion", id, symmetric, [states]string{"KMS.1501", "KMS.1501", "3", none, "KMS.0207"}},
		line{"cancel-key-deletion", id, external, [states]string{none, none, "5", "KMS.1501", "KMS.0207"}},
		// Grants exist on keys that were Enabled once, and end in every state.
		line{"revoke-grant", bodyOf("revoke-grant"), symmetric, [states]string{"same", "same", "same", none, "KMS.0207"}},
		line{"retire-grant", bodyOf("retire-grant"), symmetric, [states]string{"same", "same", "same", none, "KMS.0207"}},
		line{"revoke-grant", bodyOf("revoke-grant"), external, [states]string{none, none, "KMS.2502", "KMS.2502", "KMS.0207"}},
		line{"retire-grant", bodyOf("retire-grant"), external, [states]string{none, none, "KMS.2502", "KMS.2502", "KMS.0207"}},
		// Ciphertexts exist of keys that were Enabled once.
		line{"decrypt-datakey", `{"key_id":"KEY","cipher_text":"SEALED-DEK","datakey_cipher_length":"32"}`, symmetric, [states]string{"same", "KMS.0209", "KMS.0210", none, "KMS.0207"}},
		line{"decrypt-data", `{"cipher_text":"SEALED-TEXT"}`, symmetric, [states]string{"same", "KMS.0209", "KMS.0210", none, "KMS.0207"}},
		// Rotation; imported material has none, in whatever state.
		line{"enable-key-rotation", id, symmetric, [states]string{"same", "KMS.0209", "KMS.0210", none, "KMS.0207"}},
		line{"enable-key-rotation", id, external, [states]string{none, none, "KMS.0210", "KMS.0312", "KMS.0207"}},
		line{"update-key-rotation-interval", `{"key_id":"KEY","rotation_interval":30}`, symmetric, [states]string{"KMS.0313", "KMS.0209", "KMS.0210", none, "KMS.0207"}},
		line{"update-key-rotation-interval", `{"key_id":"KEY","rotation_interval":30}`, external, [states]string{none, none, "KMS.0210", "KMS.0312", "KMS.0207"}},
		line{"disable-key-rotation", id, symmetric, [states]string{"KMS.0313", "KMS.0313", "KMS.0210", none, "KMS.0207"}},
		line{"disable-key-rotation", id, external, [states]string{none, none, "KMS.0210", "KMS.0313", "KMS.0207"}},
		line{"rotate-on-demand", id, symmetric, [states]string{"same", "KMS.0209", "KMS.0210", none, "KMS.0207"}},
		line{"rotate-on-demand", id, external, [states]string{none, none, "KMS.0210", "KMS.0312", "KMS.0207"}},
	)
}

// bodyOf is a body that nothing is wrong with.
func bodyOf(verb string) string {
	switch verb {
	case "schedule-key-deletion":
		return `{"key_id":"KEY","pending_days":"7"}`
	case "create-grant":
		return `{"key_id":"KEY","grantee_principal":"` + fsmtest.UserID + `","operations":["describe-key"]}`
	case "revoke-grant", "retire-grant":
		return `{"key_id":"KEY","grant_id":"GRANT"}`
	case "update-key-alias":
		return `{"key_id":"KEY","key_alias":"renamed"}`
	case "update-key-description":
		return `{"key_id":"KEY","key_description":"d"}`
	case "aliases":
		return `{"key_id":"KEY","alias":"another"}`
	case "alias/associate":
		return `{"target_key_id":"KEY","alias":"wandering"}`
	case "DELETE aliases":
		return `{"key_id":"KEY","aliases":["held"]}`
	case "encrypt-datakey":
		return `{"key_id":"KEY","plain_text":"` + zeroKey + `","datakey_plain_length":"64"}`
	case "encrypt-data":
		return `{"key_id":"KEY","plain_text":"x"}`
	case "decrypt-datakey":
		return `{"key_id":"KEY","cipher_text":"SEALED-DEK","datakey_cipher_length":"32"}`
	case "decrypt-data":
		return `{"cipher_text":"SEALED-TEXT"}`
	case "update-key-rotation-interval":
		return `{"key_id":"KEY","rotation_interval":30}`
	default:
		return `{"key_id":"KEY"}`
	}
}

// notAboutStates are operations that name no existing key, or are tried elsewhere.
var notAboutStates = []string{"create-key", "list-keys", "gen-random", "list-retirable-grants"}

// Every operation on every kind of key in every state does what the table says,
// and a refusal leaves the key as it was.
func TestStates(t *testing.T) {
	tried := map[string]bool{}
	for _, l := range table() {
		tried[l.verb] = true
		w := newWorld(t) // a project has room for 100 keys
		for s := range states {
			if l.outcome[s] != none {
				w.tryState(t, l, s)
			}
		}
	}
	for verb := range endpoints {
		if !tried[verb] && !slices.Contains(notAboutStates, verb) {
			t.Errorf("the table has no line for %s", verb)
		}
	}
}

func (w *world) tryState(t *testing.T, l line, s int) {
	t.Helper()
	name := fmt.Sprintf("%s of a key that is %s, in state %d", l.verb, kindNames[l.kind], s)
	k := w.keyIn(t, l.kind, s)
	body := strings.NewReplacer("KEY", k.id, "SEALED-DEK", k.dataKey, "SEALED-TEXT", k.data, "renamed", "renamed-"+k.id, "another", "another-"+k.id,
		"wandering", k.wandering, "held", k.held, "GRANT", k.grant).Replace(l.body)
	before := w.ask("describe-key", `{"key_id":"`+k.id+`"}`)
	a := w.ask(strings.ReplaceAll(l.verb, "KEY", k.id), body)
	after := w.ask("describe-key", `{"key_id":"`+k.id+`"}`)

	want := l.outcome[s]
	if strings.HasPrefix(want, "KMS.") {
		if a.status/100 != 4 || a.code(t) != want {
			t.Errorf("%s: %d %s, want %s", name, a.status, a.body, want)
		}
		if s != gone && before.body != after.body {
			t.Errorf("%s was refused, and yet the key was\n%s\nand is\n%s", name, before.body, after.body)
		}
		return
	}
	if want == "same" {
		want = stateOf(t, before)
	}
	if a.status/100 != 2 || stateOf(t, after) != want {
		t.Errorf("%s: %d %s, and then %s, want state %s", name, a.status, a.body, after.body, want)
	}
}

func stateOf(t *testing.T, described answered) string {
	t.Helper()
	var reply wire.DescribeKeyReply
	if err := json.Unmarshal([]byte(described.body), &reply); err != nil {
		t.Fatal(err)
	}
	return reply.KeyInfo.KeyState
}

// stateKey is a key in a state, with what was made of it while it could be used.
type stateKey struct {
	id, dataKey, data string
	held              string // an alias of it
	wandering         string // an alias of another key
	grant             string // one on it, where there can be one
}

// keyIn makes a key of a kind and brings it into a state.
func (w *world) keyIn(t *testing.T, kind, s int) stateKey {
	t.Helper()
	w.made++
	name := fmt.Sprintf("k%d", w.made)
	k := stateKey{held: name + "-held", wandering: name + "-wandering", grant: strings.Repeat("0", 64)}
	if kind == external {
		w.replica.advance(time.Now().UnixMilli()) // import tokens are judged by both clocks
	}
	if kind == master {
		var dataKey wire.CreateDataKeyReply
		w.must("create-datakey", `{"key_id":"alias/obs/default"}`, &dataKey)
		k.id = dataKey.KeyID
	} else {
		var created wire.CreateKeyReply
		w.must("create-key", `{"key_alias":"`+name+`"`+kindMembers[kind]+`}`, &created)
		k.id = created.KeyInfo.KeyID
		w.must("aliases", `{"key_id":"`+k.id+`","alias":"`+k.held+`"}`, nil)
	}
	w.must("aliases", `{"key_id":"`+w.createKey(name+"-other")+`","alias":"`+k.wandering+`"}`, nil)
	if kind == symmetric || kind == master {
		var dataKey wire.CreateDataKeyReply
		w.must("create-datakey", `{"key_id":"`+k.id+`"}`, &dataKey)
		k.dataKey = fmt.Sprintf("%X", []byte(dataKey.CipherText))
		var data struct {
			CipherText string `json:"cipher_text"`
		}
		w.must("encrypt-data", `{"key_id":"`+k.id+`","plain_text":"x"}`, &data)
		k.data = data.CipherText
	}
	if kind == symmetric {
		var granted wire.CreateGrantReply
		w.must("create-grant", strings.Replace(bodyOf("create-grant"), "KEY", k.id, 1), &granted)
		k.grant = granted.GrantID
	}
	switch s {
	case disabled:
		w.must("disable-key", `{"key_id":"`+k.id+`"}`, nil)
	case pendingDeletion, gone:
		w.must("schedule-key-deletion", `{"key_id":"`+k.id+`","pending_days":"7"}`, nil)
	}
	if s == gone {
		w.deleteNow(t, k.id)
	}
	return k
}

// deleteNow lets the time pass and does what the leader's scheduler does then.
func (w *world) deleteNow(t *testing.T, id string) {
	t.Helper()
	key, ok := w.replica.Root().Key(id)
	if !ok {
		t.Fatal("there is no key to delete")
	}
	w.replica.advance(key.Deletion)
	cmd, err := command.New(command.TypeDeleteDueKey, command.DeleteDueKey{KeyID: id, Due: key.Deletion})
	if err != nil {
		t.Fatal(err)
	}
	cmd.Proposal = command.Proposal{ID: "delete/" + id}
	cmd.Caller = command.Caller{Kind: command.CallerSystem, NodeID: fsmtest.NodeID}
	data, err := command.Encode(cmd)
	if err != nil {
		t.Fatal(err)
	}
	if result, err := w.replica.Propose(t.Context(), data); err != nil || result.Refusal != nil {
		t.Fatalf("deleting: %v, %v", result.Refusal, err)
	}
}
