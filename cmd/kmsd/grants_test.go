package main_test

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/services/kms/v2/model"

	"github.com/raftkms/raftkms/client"
	"github.com/raftkms/raftkms/client/aksk"
	"github.com/raftkms/raftkms/server/wire"
)

// secondAccount makes an account and returns the credentials of its administrator.
func secondAccount(t *testing.T, c *cluster, name string) (credentials, wire.CreateAccountReply) {
	t.Helper()
	url := c.file.Nodes[0].URL
	body := []byte(`{"domain":{"name":"` + name + `"}}`)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/v3/domains", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	date := aksk.FormatDate(time.Now())
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set(aksk.DateHeader, date)
	r.Header.Set("Authorization", aksk.NewSigner(c.file.AccessKey, c.file.SecretKey).Authorization(aksk.Request{
		Method: r.Method, Path: "/v3/domains", Headers: map[string]string{"host": strings.TrimPrefix(url, "https://")}, Body: body, Date: date,
	}))
	pool, err := client.ReadCA(c.file.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}
	defer transport.CloseIdleConnections()
	answer, err := (&http.Client{Transport: transport}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusCreated {
		t.Fatalf("%s %s %v", answer.Status, text, err)
	}
	var made wire.CreateAccountReply
	if err := json.Unmarshal(text, &made); err != nil {
		t.Fatal(err)
	}
	return credentials{made.Administrator.Access, string(made.Administrator.Secret), made.Project.ID}, made
}

// granted is one use of a key by a grant, as its caller saw it.
type granted struct {
	node       int
	begin, end time.Time
	err        error
}

// revokedEverywhere has another account use a key on every node all the time,
// while grants on it come and go: no use succeeds that began after the
// revocation was acknowledged, and none is refused between the acknowledgement
// of the grant and the asking for its end.
func revokedEverywhere(t *testing.T, c *cluster, nodes []sdk, key string) {
	theirs, account := secondAccount(t, c, "neighbours")
	stop := make(chan struct{})
	var users sync.WaitGroup
	var mu sync.Mutex
	var uses []granted
	for i := range nodes {
		grantee := newSDK(t, c.file, i, theirs)
		users.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				u := granted{node: i, begin: time.Now()}
				_, u.err = grantee.tryEncrypt(key, "text")
				u.end = time.Now()
				mu.Lock()
				uses = append(uses, u)
				mu.Unlock()
			}
		})
	}
	type span struct{ asked, made, ending, ended time.Time }
	var spans []span
	kind := model.GetCreateGrantRequestBodyGranteePrincipalTypeEnum().DOMAIN
	for round := range 12 {
		s := span{asked: time.Now()}
		body := &model.CreateGrantRequestBody{KeyId: key, GranteePrincipal: account.Administrator.ID, Operations: []string{"encrypt-data", "retire-grant"}}
		if round%2 == 1 {
			body.GranteePrincipal, body.GranteePrincipalType = account.Domain.ID, &kind
		}
		made, err := nodes[round%3].kms.CreateGrant(&model.CreateGrantRequest{Body: body})
		if err != nil {
			t.Fatal(err)
		}
		s.made = time.Now()
		time.Sleep(50 * time.Millisecond) // of use
		s.ending = time.Now()
		end := &model.RevokeGrantRequestBody{KeyId: key, GrantId: *made.GrantId}
		if round%3 == 2 {
			_, err = newSDK(t, c.file, round%3, theirs).kms.CancelSelfGrant(&model.CancelSelfGrantRequest{Body: end})
		} else {
			_, err = nodes[(round+1)%3].kms.CancelGrant(&model.CancelGrantRequest{Body: end})
		}
		if err != nil {
			t.Fatal(err)
		}
		s.ended = time.Now()
		spans = append(spans, s)
		time.Sleep(50 * time.Millisecond) // of refusals
	}
	close(stop)
	users.Wait()

	allowed, refused := 0, 0
	for _, u := range uses {
		for i, s := range spans {
			next := time.Now()
			if i+1 < len(spans) {
				next = spans[i+1].asked
			}
			switch {
			case u.begin.After(s.made) && u.end.Before(s.ending):
				if allowed++; u.err != nil {
					t.Errorf("round %d: node %d refused %v after the grant: %v", i, u.node, u.begin.Sub(s.made), u.err)
				}
			case u.begin.After(s.ended) && u.end.Before(next):
				if refused++; u.err == nil {
					t.Errorf("round %d: node %d served %v after the revocation", i, u.node, u.begin.Sub(s.ended))
				} else {
					wantRefused(t, u.err, 404, "KMS.0207")
				}
			}
		}
	}
	if allowed < 3*len(spans) || refused < 3*len(spans) {
		t.Errorf("%d uses between grant and revocation, %d after it: too few to say anything", allowed, refused)
	}
	t.Logf("%d uses by a grant, %d refusals after its end", allowed, refused)
}
