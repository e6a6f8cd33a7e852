package huawei_test

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/raftkms/raftkms/fsm/fsmtest"
	"github.com/raftkms/raftkms/server/kms"
	"github.com/raftkms/raftkms/server/wire"
)

// appendix are the rows of the vendor's appendix of errors.
const appendix = `
0100 0101 0102 0103 0104 0105 0106
0201 0202 0203 0204 0205 0206 0207 0208 0209 0210 0211 0212 0214 0215
0301 0302 0303 0304 0305 0306 0307 0308 0309 0310 0311 0312 0313 0314 0315 0316 0317 0318 0319 0320 0321 0322 0323 0324 0325 0326 0327 0328 0329
0330 0331 0332 0334 0335 0338 0339 0340 0341
0401 0402 0403 0404 0405 0406 0407 0408 0409 0410 0411 0412 0413 0414 0415 0416 0417 0418
1101 1102 1103 1104 1105 1108 1109 1110 1114 1115
1201 1301 1401 1402 1404 1501 1601 1602 1603 1801 1802 1901 1902 1903 1904 2001
2101 2102 2103 2104 2105 2106 2108 2201 2202 2203 2204 2301 2302 2303 2304 2305
2401 2402 2403 2404 2405 2501 2502 2601 2602 2603 2604 2605 2606 2608 2609 2610 2701 2702 2901 3001 3103
3801 3802 3803 3804 3805 3806 3901 3902 3903 4001 4002 5012 5021 5022 5023
`

// never are the rows that cannot occur here, with the reason.
var never = map[string]string{
	"0100": "there is no separate query of a status that could fail: what fails is 0101, 0102, 0103 or 0104",
	"0105": "a failure of the server is never the client's fault (400)",
	"0106": "keys have no read-only replicas in other regions",
	"0212": "the type of resource is a part of the path; another one is 0201",
	"0301": "who is not known is refused by the door with 401 APIGW.0301, which clients answer by authenticating anew",
	"0302": "as 0301",
	"0303": "as 0301",
	"0304": "as 0301; tokens have no tags",
	"0305": "as 0301; tokens name projects by id",
	"0307": "there is one code for a permission that is missing, 0306",
	"0314": "accounts have no real-name verification",
	"0315": "there are no partitions of devices", "0316": "as 0315", "0317": "as 0315", "0318": "as 0315", "0322": "as 0315", "0323": "as 0315",
	"0319": "every region rotates",
	"0320": "nothing is ever frozen for debts", "0328": "as 0320",
	"0326": "as 0307",
	"0327": "permissions are in the state that the call is decided from; there is nothing to fetch",
	"0330": "as 0307",
	"0338": "there are no key stores", "0339": "as 0338", "0340": "as 0338",
	"0408": "as 0212",
	"0418": "an offset with count is passed over",
	"1102": "realm is passed over",
	"1108": "as 0315", "1109": "as 0315",
	"1404": "there is one region",
	"1603": "the marker of a list is 1602, the offset of a search 0417",
	"1801": "512 bits is the rule of one cloud; any multiple of 8 up to 8192 is taken, else 1802",
	"2001": "as 1801: else 1901 and 1903",
	"2203": "the ciphertext is authenticated, so that a data key that opens is the one that was sealed; else 2201",
	"2403": "a grant is made or refused with its reason",
	"3103": "there is no tenant in a request",
	"3801": "keys are not replicated to other regions", "3802": "as 3801", "3803": "as 3801", "3804": "as 3801", "3805": "as 3801", "3806": "as 3801",
	"3901": "there are no internal jobs of the vendor", "3902": "as 3901", "3903": "as 3901",
	"4001": "there is no policy engine of the vendor", "4002": "as 4001", "5012": "as 4001", "5021": "as 4001", "5022": "as 4001", "5023": "as 4001",
}

// Every row of the table that can occur does, by way of HTTP, and after each
// refusal the state is what it was.
func TestEveryRowOfTheErrorTable(t *testing.T) {
	w := newWorld(t)
	r := newRefusals(t, w)
	r.requests()
	r.keys()
	r.materials()
	r.grants()
	r.tagsAndQuotas()
	r.failures()
	for code := range strings.FieldsSeq(appendix) {
		_, impossible := never[code]
		switch provoked := r.provoked["KMS."+code]; {
		case provoked && impossible:
			t.Errorf("KMS.%s occurs, but is said not to", code)
		case !provoked && !impossible:
			t.Errorf("nothing provokes KMS.%s", code)
		}
	}
	for code := range never {
		if !slices.Contains(strings.Fields(appendix), code) {
			t.Errorf("KMS.%s is no row of the table", code)
		}
	}
}

// refusals provokes errors in a world that has a key of every kind.
type refusals struct {
	t        *testing.T
	w        *world
	ids      map[string]string
	provoked map[string]bool
	names    *strings.Replacer
}

func newRefusals(t *testing.T, w *world) *refusals {
	keys := map[string]string{
		"@aes": w.createKey("orders"), "@other": w.createKey("other"), "@disabled": w.createKey("disabled"), "@pending": w.createKey("pending"), "@rotating": w.createKey("rotating"),
		"@external": w.external("AES_256"), "@empty": w.external("AES_256"), "@importedpair": w.external("EC_P256"),
		"@rsakey": w.createOf("RSA_2048", "ENCRYPT_DECRYPT"), "@signer": w.createOf("RSA_2048", "SIGN_VERIFY"), "@curve": w.createOf("EC_P256", ""), "@mackey": w.createOf("HMAC_256", ""),
		"@nobody": nobody,
	}
	var made wire.CreateDataKeyReply
	w.must("create-datakey", `{"key_id":"alias/evs/default"}`, &made)
	keys["@default"] = made.KeyID
	w.must("disable-key", `{"key_id":"`+keys["@disabled"]+`"}`, nil)
	w.must("schedule-key-deletion", `{"key_id":"`+keys["@pending"]+`","pending_days":"7"}`, nil)
	w.must("enable-key-rotation", `{"key_id":"`+keys["@rotating"]+`"}`, nil)
	var pairs []string
	for _, name := range slices.Sorted(maps.Keys(keys)) {
		pairs = append(pairs, name, keys[name])
	}
	return &refusals{t: t, w: w, ids: keys, provoked: map[string]bool{}, names: strings.NewReplacer(pairs...)}
}

// picture is what a caller sees of the state.
func (r *refusals) picture() string {
	r.t.Helper()
	all := []string{r.w.must("list-keys", `{"limit":1000}`, nil), r.w.must("GET aliases", ``, nil), r.w.must("GET user-quotas", ``, nil), r.w.must("GET tags", ``, nil)}
	for _, name := range slices.Sorted(maps.Keys(r.ids)) {
		if id := r.ids[name]; id != nobody {
			all = append(all, r.w.must("get-key-rotation-status", `{"key_id":"`+id+`"}`, nil), r.w.must("list-key-versions", `{"key_id":"`+id+`"}`, nil),
				r.w.must("GET "+id+"/tags", ``, nil), r.w.must("list-grants", `{"key_id":"`+id+`"}`, nil))
		}
	}
	return strings.Join(all, "\n")
}

// refused asks for what must be refused with a status and a code, and must
// leave everything as it is. @name stands for the id of a key.
func (r *refusals) refused(status int, code, verb, body string, alter ...asking) {
	r.t.Helper()
	before := r.picture()
	r.saw(r.w.ask(r.names.Replace(verb), r.names.Replace(body), alter...), status, code, verb+" "+body)
	if after := r.picture(); after != before {
		r.t.Errorf("%s %.100s is refused, but the state was\n%s\nand is\n%s", verb, body, before, after)
	}
}

func (r *refusals) saw(a answered, status int, code, what string) {
	r.t.Helper()
	if a.status != status || a.code(r.t) != code {
		r.t.Errorf("%.120s: %d %.300s, want %d %s", what, a.status, a.body, status, code)
		return
	}
	r.provoked[code] = true
}

// requests are wrong whatever the state is.
func (r *refusals) requests() {
	f := func(code, verb, body string) { r.t.Helper(); r.refused(400, code, verb, body) }
	r.refused(404, "KMS.0201", "no-such-verb", `{}`)
	r.refused(405, "KMS.0215", "PUT describe-key", `{"key_id":"@aes"}`)
	f("KMS.0202", "describe-key", `{"key_id":`)
	f("KMS.0203", "sign", `{"key_id":"@signer","message":"`+b64(make([]byte, 4096))+`","signing_algorithm":"RSASSA_PSS_SHA_256","message_type":"RAW"}`)
	f("KMS.0204", "describe-key", `{}`)
	f("KMS.0205", "describe-key", `{"key_id":"orders"}`)
	f("KMS.0206", "describe-key", `{"key_id":"@aes","sequence":"1"}`)
	r.refused(404, "KMS.0207", "describe-key", `{"key_id":"@nobody"}`)
	f("KMS.0208", "encrypt-data", `{"key_id":"@aes","plain_text":"x","encryption_context":[]}`)
	f("KMS.0308", "create-key", `{"key_alias":"x","key_usage":"SIGN_VERIFY"}`)
	f("KMS.1101", "create-key", `{"key_alias":"a b"}`)
	f("KMS.1103", "create-key", `{"key_alias":"x","key_description":"`+strings.Repeat("x", 256)+`"}`)
	f("KMS.1104", "create-key", `{"key_alias":"orders"}`)
	f("KMS.1110", "create-key", `{"key_alias":"x","key_spec":"AES_512"}`)
	f("KMS.1401", "schedule-key-deletion", `{"key_id":"@aes","pending_days":"6"}`)
	f("KMS.1601", "list-keys", `{"limit":"0"}`)
	f("KMS.1602", "list-keys", `{"marker":"-1"}`)
	f("KMS.1802", "gen-random", `{"random_data_length":"12"}`)
	f("KMS.1901", "create-datakey", `{"key_id":"@aes","datakey_length":"8200"}`)
	f("KMS.1902", "create-datakey", `{"key_id":"@aes","key_spec":"AES_192"}`)
	f("KMS.1903", "create-datakey", `{"key_id":"@aes","datakey_length":"255"}`)
	f("KMS.2101", "encrypt-datakey", `{"key_id":"@aes","plain_text":"xyz","datakey_plain_length":"64"}`)
	f("KMS.2102", "encrypt-datakey", `{"key_id":"@aes","plain_text":"`+zeroKey+`","datakey_plain_length":"1025"}`)
	f("KMS.2103", "encrypt-datakey", `{"key_id":"@aes","plain_text":"01`+zeroKey[2:]+`","datakey_plain_length":"64"}`)
	f("KMS.2104", "encrypt-datakey", `{"key_id":"@aes","plain_text":"`+zeroKey+`","datakey_plain_length":"63"}`)
	f("KMS.2201", "decrypt-datakey", `{"key_id":"@aes","cipher_text":"00","datakey_cipher_length":"64"}`)
	f("KMS.2202", "decrypt-datakey", `{"key_id":"@aes","cipher_text":"00","datakey_cipher_length":"0"}`)
	var sealed wire.CreateDataKeyReply
	r.w.must("create-datakey", r.names.Replace(`{"key_id":"@aes"}`), &sealed)
	f("KMS.2204", "decrypt-datakey", fmt.Sprintf(`{"key_id":"@aes","cipher_text":"%X","datakey_cipher_length":"64"}`, []byte(sealed.CipherText)))
	f("KMS.3001", "update-key-rotation-interval", `{"key_id":"@rotating","rotation_interval":29}`)
}

// keys are of the wrong kind, or in the wrong state.
func (r *refusals) keys() {
	f := func(code, verb, body string) { r.t.Helper(); r.refused(400, code, verb, body) }
	digest := b64(make([]byte, 32))
	f("KMS.0209", "encrypt-data", `{"key_id":"@disabled","plain_text":"x"}`)
	f("KMS.0210", "encrypt-data", `{"key_id":"@pending","plain_text":"x"}`)
	for verb, body := range map[string]string{
		"disable-key": `{"key_id":"@default"}`, "schedule-key-deletion": `{"key_id":"@default","pending_days":"7"}`, "enable-key-rotation": `{"key_id":"@default"}`,
		"update-key-alias": `{"key_id":"@default","key_alias":"mine"}`, "update-key-description": `{"key_id":"@default","key_description":"mine"}`,
		"aliases": `{"key_id":"@default","alias":"mine"}`, "@default/tags": `{"tag":{"key":"a"}}`,
		"get-parameters-for-import": `{"key_id":"@default","wrapping_algorithm":"RSAES_OAEP_SHA_256"}`,
	} {
		f("KMS.0211", verb, body)
	}
	f("KMS.1201", "enable-key", `{"key_id":"@aes"}`)
	f("KMS.1201", "enable-key", `{"key_id":"@pending"}`)
	f("KMS.1201", "enable-key", `{"key_id":"@external"}`)
	f("KMS.1301", "disable-key", `{"key_id":"@disabled"}`)
	f("KMS.1301", "encrypt-data", `{"key_id":"@external","plain_text":"x"}`)
	f("KMS.1402", "schedule-key-deletion", `{"key_id":"@pending","pending_days":"8"}`)
	f("KMS.1501", "cancel-key-deletion", `{"key_id":"@aes"}`)
	f("KMS.0312", "enable-key-rotation", `{"key_id":"@external"}`)
	f("KMS.0313", "disable-key-rotation", `{"key_id":"@aes"}`)
	f("KMS.0313", "update-key-rotation-interval", `{"key_id":"@aes","rotation_interval":30}`)
	f("KMS.0324", "enable-key-rotation", `{"key_id":"@rsakey"}`)
	f("KMS.0325", "enable-key-rotation", `{"key_id":"@curve"}`)
	f("KMS.2901", "enable-key-rotation", `{"key_id":"@rotating"}`)
	f("KMS.0329", "sign", `{"key_id":"@signer","message":"AAAA","signing_algorithm":"RSASSA_PSS_SHA_256"}`)
	f("KMS.0331", "get-publickey", `{"key_id":"@aes"}`)
	f("KMS.0332", "sign", `{"key_id":"@signer","message":"`+digest+`","signing_algorithm":"ECDSA_SHA_256"}`)
	f("KMS.0334", "sign", `{"key_id":"@rsakey","message":"`+digest+`","signing_algorithm":"RSASSA_PSS_SHA_256"}`)
	f("KMS.0335", "encrypt-data", `{"key_id":"@signer","plain_text":"x","encryption_algorithm":"RSAES_OAEP_SHA_256"}`)
	f("KMS.0341", "encrypt-data", `{"key_id":"@mackey","plain_text":"x"}`)
	f("KMS.1114", "encrypt-data", `{"key_id":"@curve","plain_text":"x"}`)
	f("KMS.1115", "sign", `{"key_id":"@aes","message":"`+digest+`","signing_algorithm":"RSASSA_PSS_SHA_256"}`)
	f("KMS.1904", "create-datakey", `{"key_id":"@rsakey","datakey_length":"1528"}`)
	f("KMS.2105", "encrypt-data", `{"key_id":"@aes","plain_text":"x","encryption_algorithm":"RSAES_OAEP_SHA_256"}`)
	f("KMS.2106", "encrypt-data", `{"key_id":"@rsakey","plain_text":"x","encryption_algorithm":"SYMMETRIC_DEFAULT"}`)
	f("KMS.2108", "encrypt-data", `{"key_id":"@rsakey","plain_text":"`+strings.Repeat("x", 191)+`","encryption_algorithm":"RSAES_OAEP_SHA_256"}`)
}

// materials come from elsewhere, and are not what they should be.
func (r *refusals) materials() {
	const algorithm = "RSAES_OAEP_SHA_256"
	token, public := r.w.parameters(r.ids["@external"], algorithm)
	f := func(code, name, token string, material []byte, more string) {
		r.t.Helper()
		r.refused(400, code, "import-key-material", importBody(name, token, wrap(r.t, algorithm, public, material), more))
	}
	symmetric := bytes.Repeat([]byte{7}, 32)
	altered, err := base64.StdEncoding.DecodeString(token)
	if err != nil {
		r.t.Fatal(err)
	}
	altered[30] ^= 1
	r.refused(400, "KMS.0309", "get-parameters-for-import", `{"key_id":"@aes","wrapping_algorithm":"RSAES_OAEP_SHA_256"}`)
	r.refused(400, "KMS.0309", "delete-imported-key-material", `{"key_id":"@aes"}`)
	r.refused(400, "KMS.0311", "import-key-material", importBody("@external", token, b64(make([]byte, 256)), ""))
	f("KMS.2602", "@external", token, symmetric, `,"expiration_time":1000`)
	f("KMS.2603", "@empty", token, symmetric, "")
	f("KMS.2604", "@external", token, symmetric[:16], "")
	f("KMS.2605", "@external", b64(altered), symmetric, "")
	r.refused(400, "KMS.2701", "delete-imported-key-material", `{"key_id":"@external"}`)
	r.w.must("import-key-material", r.names.Replace(importBody("@external", token, wrap(r.t, algorithm, public, symmetric), "")), nil)
	f("KMS.0310", "@external", token, symmetric, "")
	r.w.must("delete-imported-key-material", r.names.Replace(`{"key_id":"@external"}`), nil)
	f("KMS.2606", "@external", token, bytes.Repeat([]byte{8}, 32), "")

	pairToken, pairPublic := r.w.parameters(r.ids["@importedpair"], algorithm)
	public = pairPublic
	f("KMS.2608", "@importedpair", pairToken, symmetric, "")
	f("KMS.2609", "@importedpair", pairToken, symmetric, `,"encrypted_privatekey":"`+b64(make([]byte, 160))+`"`)
	f("KMS.2610", "@importedpair", pairToken, symmetric[:15], `,"encrypted_privatekey":"`+b64(make([]byte, 160))+`"`)
	f("KMS.2702", "@importedpair", pairToken, symmetric, `,"encrypted_privatekey":"`+b64(make([]byte, 160))+`","expiration_time":4102444800`)

	lateToken, latePublic := r.w.parameters(r.ids["@empty"], algorithm)
	public = latePublic
	r.w.replica.advance(time.Now().Add(25 * time.Hour).UnixMilli())
	r.w.createKey("later") // carries the time
	f("KMS.2601", "@empty", lateToken, symmetric, "")
}

func (r *refusals) grants() {
	f := func(code, verb, body string) { r.t.Helper(); r.refused(400, code, verb, body) }
	r.w.must("PUT user-quotas", `{"resources":[{"type":"grant_per_CMK","quota":1}]}`, nil)
	some := `{"key_id":"@other","grantee_principal":"` + fsmtest.UserID + `","operations":["encrypt-data"]}`
	var made wire.CreateGrantReply
	r.w.must("create-grant", r.names.Replace(some), &made)
	f("KMS.2401", "create-grant", strings.Replace(some, "encrypt-data", "create-grant", 1))
	f("KMS.2402", "create-grant", strings.Replace(some, fsmtest.UserID, "nobody", 1))
	f("KMS.2404", "create-grant", some)
	r.w.must("PUT user-quotas", `{"resources":[{"type":"grant_per_project","quota":1}]}`, nil)
	f("KMS.2405", "create-grant", strings.Replace(some, "@other", "@aes", 1))
	f("KMS.2501", "revoke-grant", `{"key_id":"@other","grant_id":"1"}`)
	f("KMS.2502", "revoke-grant", `{"key_id":"@aes","grant_id":"`+made.GrantID+`"}`)
	f("KMS.0211", "create-grant", strings.Replace(some, "@other", "@default", 1))
}

func (r *refusals) tagsAndQuotas() {
	f := func(code, verb, body string) { r.t.Helper(); r.refused(400, code, verb, body) }
	var many []string
	for i := range 20 {
		many = append(many, fmt.Sprintf(`{"key":"tag-%d"}`, i))
	}
	twenty := strings.Join(many, ",")
	if a := r.w.ask(r.ids["@other"]+"/tags/action", `{"action":"create","tags":[`+twenty+`]}`); a.status != 204 {
		r.t.Fatal(a.body)
	}
	long := func(n int) string { return strings.Repeat("x", n) }
	const find = "resource_instances/action"
	f("KMS.0401", "@aes/tags/action", `{"action":"create","tags":[]}`)
	f("KMS.0402", find, `{"action":"filter","matches":[{"key":"resource_name","value":""}]}`)
	f("KMS.0403", find, `{"action":"filter","matches":[{"key":"name","value":"a"}]}`)
	f("KMS.0404", "@aes/tags/action", `{"action":"update","tags":[{"key":"a"}]}`)
	f("KMS.0405", "@aes/tags", `{"tag":{"key":"a","value":"<"}}`)
	f("KMS.0406", "@aes/tags", `{"tag":{"key":"a b"}}`)
	f("KMS.0407", "@aes/tags/action", `{"action":"create","tags":[`+twenty+`,{"key":"more"}]}`)
	f("KMS.0409", "@other/tags/action", `{"action":"create","tags":[{"key":"tag-1","value":"new"},{"key":"one-more"}]}`)
	f("KMS.0410", "@aes/tags", `{"tag":{"key":"a","value":"`+long(44)+`"}}`)
	f("KMS.0411", "@aes/tags", `{"tag":{"key":"`+long(37)+`"}}`)
	f("KMS.0412", "@aes/tags/action", `{"action":"create","tags":{}}`)
	f("KMS.0413", find, `{"action":"filter","tags":[{"key":"a","values":[`+strings.Repeat(`"v",`, 20)+`"v"]}]}`)
	f("KMS.0414", "@aes/tags", `{"tag":7}`)
	f("KMS.0415", find, `{"action":"filter","matches":{}}`)
	r.refused(404, "KMS.0416", "DELETE @aes/tags/nothing", ``)
	f("KMS.0417", find, `{"action":"filter","offset":-1}`)

	f("KMS.2301", "PUT user-quotas", `{"resources":[{"type":"CMKs","quota":1}]}`)
	f("KMS.2302", "PUT user-quotas", `{"resources":[{"type":"CMK","quota":1},{"type":"CMK","quota":1}]}`)
	f("KMS.2303", "PUT user-quotas", `{"resources":[{"type":"CMK","quota":-1}]}`)
	f("KMS.2304", "PUT user-quotas", `{"resources":[{"type":"CMK","quota":1}],"target_project_id":"0"}`)
	f("KMS.2305", "PUT user-quotas", `{"resources":[7]}`)
	r.w.must("PUT user-quotas", `{"resources":[{"type":"CMK","quota":1}]}`, nil)
	f("KMS.1105", "create-key", `{"key_alias":"one-more"}`)
}

// failures are of the server, or of who asks.
func (r *refusals) failures() {
	before := r.picture()
	body := r.names.Replace(`{"key_id":"@aes"}`)
	elsewhere := r.w.askIn(strings.Repeat("0", 32), fsmtest.AccessKeyID, secretKey, time.Now(), "disable-key", body)
	r.saw(elsewhere, 403, "KMS.0321", "another project")
	r.refused(401, "APIGW.0301", "disable-key", `{"key_id":"@aes"}`, func(q *http.Request) { q.Header.Del("Authorization") })
	for code, failure := range map[string]error{
		"KMS.0101": errors.New("nobody has foreseen this"), "KMS.0103": kms.Refuse(kms.KindOutcomeUnknown, "said"), "KMS.0104": kms.Refuse(kms.KindUnavailable, "said"),
		"KMS.0306": kms.Refuse(kms.KindForbidden, "said"),
	} {
		r.w.service.err = failure
		status := map[string]int{"KMS.0104": 503, "KMS.0306": 403}[code]
		if status == 0 {
			status = 500
		}
		r.saw(r.w.ask("disable-key", body), status, code, "a failure")
		r.w.service.err = nil
	}
	r.w.traces.err = errors.New("disk full")
	r.saw(r.w.ask("create-datakey", body), 503, "KMS.0102", "without a trace")
	r.w.traces.err = nil
	r.saw(r.w.raw("POST /v1.0/p/kms/create-key HTTP/1.1\r\nHost: a\r\nContent-Length: many\r\n\r\n"), 400, "KMS.0214", "no HTTP")
	if after := r.picture(); after != before {
		r.t.Errorf("after the failures the state was\n%s\nand is\n%s", before, after)
	}
}

// raw sends what an HTTP client would not.
func (w *world) raw(text string) answered {
	w.t.Helper()
	conn, err := w.listener.Dial()
	if err != nil {
		w.t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, text); err != nil {
		w.t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		w.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return answered{response.StatusCode, response.Header, string(body)}
}
