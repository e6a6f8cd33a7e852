package server

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/raftkms/raftkms/server/wire"
)

// Whoever owns a key sees every use of it, by a grantee in another account, too,
// and by following as well as by searching; but not what that account calls its
// own. What is no use of their key they do not see.
func TestOwnersSeeEveryUse(t *testing.T) {
	s, founded := startFounderOf(t)
	owner := newSignedClient(t, s, founded)
	var account wire.CreateAccountReply
	if status := owner.ask("POST", "/v3/domains", "", `{"domain":{"name":"globex","administrator":{"name":"hank"}}}`, &account); status != http.StatusCreated {
		t.Fatal(status)
	}
	hank := account.Administrator
	grantee := newSignedClient(t, s, &wire.InitReply{ProjectID: account.Project.ID, AccessKey: hank.Access, SecretKey: string(hank.Secret)})
	created := func(c *signedClient, name string) string {
		t.Helper()
		var reply struct {
			Key struct {
				ID string `json:"key_id"`
			} `json:"key_info"`
		}
		if status := c.ask("POST", "/v1.0/PROJECT/kms/create-key", "", `{"key_alias":"`+name+`"}`, &reply); status != http.StatusOK {
			t.Fatal(status)
		}
		return reply.Key.ID
	}
	shared, theirs := created(owner, "shared"), created(grantee, "theirs")
	grant := `{"key_id":"` + shared + `","grantee_principal":"` + hank.ID + `","operations":["encrypt-data","decrypt-data","create-datakey"]}`
	if status := owner.ask("POST", "/v1.0/PROJECT/kms/create-grant", "", grant, nil); status != http.StatusOK {
		t.Fatal(status)
	}
	var page wire.ListTracesReply // to follow from
	if status := owner.ask("GET", "/v3/PROJECT/traces/follow", "", "", &page); status != http.StatusOK || page.MetaData.Marker == nil {
		t.Fatal(status)
	}
	use := func(verb, body string, reply any) {
		t.Helper()
		if status := grantee.ask("POST", "/v1.0/PROJECT/kms/"+verb, "", body, reply); status != http.StatusOK {
			t.Fatalf("%s: %d", verb, status)
		}
	}
	var sealed struct {
		CipherText string `json:"cipher_text"`
	}
	use("create-datakey", `{"key_id":"`+shared+`","datakey_length":"256"}`, nil)
	use("create-datakey", `{"key_id":"`+theirs+`","datakey_length":"256"}`, nil) // nobody else's business
	use("encrypt-data", `{"key_id":"`+shared+`","plain_text":"x"}`, &sealed)
	use("re-encrypt", `{"cipher_text":"`+sealed.CipherText+`","destination_key_id":"`+theirs+`"}`, nil)
	if status := grantee.ask("POST", "/v1.0/PROJECT/kms/encrypt-data", "", `{"key_id":"`+shared+`","plain_text":""}`, nil); status != http.StatusBadRequest {
		t.Fatal(status)
	}

	f := func(who string, c *signedClient, query string, want ...string) []wire.Trace {
		t.Helper()
		var names []string
		all := c.traces("limit=50&" + query).Traces
		for _, trace := range all {
			names = append(names, trace.TraceName+" "+trace.Code)
		}
		if strings.Join(names, ", ") != strings.Join(want, ", ") {
			t.Errorf("%s by %s: %v, want %v", who, query, names, want)
		}
		return all
	}
	const reEncrypt = "reEncrypt 200"
	byHank := f("the owner", owner, "resource_id="+shared+"&user_id="+hank.ID, reEncrypt, "encryptData 200", "createDataKey 200")
	f("the owner", owner, "resource_id="+theirs, reEncrypt) // they are told where to, and nothing else of that key
	f("the owner", owner, "user=hank")
	f("the owner", owner, "access_key_id="+hank.Access)
	f("the owner", owner, "resource_name=theirs")
	f("the grantee", grantee, "resource_id="+shared+"&user=hank", reEncrypt, "encryptData 200", "createDataKey 200")
	f("the grantee", grantee, "resource_id="+theirs+"&user=hank", reEncrypt, "createDataKey 200", "createKey 200")
	for i := range byHank {
		seen := byHank[i]
		f("the owner", owner, "trace_id="+seen.TraceID, seen.TraceName+" 200")
		if f("the grantee", grantee, "trace_id="+seen.TraceID, seen.TraceName+" 200")[0].User.Name != "hank" {
			t.Error("the grantee does not see who they are")
		}
		if seen.User.ID != hank.ID || seen.User.AccountID != account.Domain.ID || seen.SourceIP == "" || !strings.Contains(seen.Request, `"by_grant"`) {
			t.Errorf("the owner sees too little: %+v, %+v", seen, seen.User)
		}
		if seen.User.Name != "" || seen.User.UserName != "" || seen.User.AccessKeyID != "" || seen.User.Domain.Name != "" || seen.ResourceName != "" || seen.ResourceURL != "" ||
			seen.RequestID != "" || seen.UserAgent != "" || seen.ProjectID != founded.ProjectID || seen.AccountID != founded.DomainID {
			t.Errorf("the owner sees too much: %+v, %+v", seen, seen.User)
		}
	}
	var names []string
	for range 3 {
		marker := "next=" + url.QueryEscape(*page.MetaData.Marker)
		page = wire.ListTracesReply{}
		if status := owner.ask("GET", "/v3/PROJECT/traces/follow", marker, "", &page); status != http.StatusOK || page.MetaData.Marker == nil {
			t.Fatal(status)
		}
		for _, trace := range page.Traces {
			if trace.User.ID == hank.ID {
				names = append(names, trace.TraceName)
				if trace.User.Name != "" {
					t.Errorf("whoever follows sees too much: %+v", trace.User)
				}
			}
		}
	}
	if got := strings.Join(names, " "); got != "createDataKey encryptData reEncrypt" {
		t.Errorf("followed: %s", got)
	}
}
