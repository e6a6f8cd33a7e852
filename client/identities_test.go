package client_test

import (
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/raftkms/raftkms/client"
)

// Lists follow their pages, names of policies are escaped in paths, and a
// change whose answer is lost is not made twice.
func TestIdentities(t *testing.T) {
	var asked []string
	var base string
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		asked = append(asked, r.Method+" "+r.URL.RequestURI()+" "+string(body))
		switch {
		case r.URL.Path == "/v3/users" && r.URL.Query().Get("marker") == "":
			fmt.Fprintf(w, `{"users":[{"id":"1","name":"ada"}],"links":{"next":"%s/v3/users?marker=ada"}}`, base)
		case r.URL.Path == "/v3/users":
			io.WriteString(w, `{"users":[{"id":"2","name":"bob"}],"links":{"next":null}}`)
		case r.Method == http.MethodDelete:
			panic(http.ErrAbortHandler)
		default:
			w.WriteHeader(http.StatusNoContent)
		}
	}))
	defer server.Close()
	base = server.URL
	pool := x509.NewCertPool()
	pool.AddCert(server.Certificate())
	c, err := client.New(client.Config{Endpoints: []string{server.URL}, CA: pool, AccessKey: accessKey, SecretKey: secretKey, ProjectID: project})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	i := c.Identities()
	users, err := i.Users(t.Context(), "")
	if err != nil || len(users) != 2 || users[1].Name != "bob" {
		t.Fatal(users, err)
	}
	if err := i.Assign(t.Context(), "KMS Administrator", client.Holder{GroupID: "g", AccountID: "d"}); err != nil {
		t.Fatal(err)
	}
	if err := i.Revoke(t.Context(), "p", client.Holder{UserID: "u", ProjectID: "b"}); err == nil {
		t.Error("a lost answer is a success")
	}
	want := []string{
		"GET /v3/users {}", "GET /v3/users?marker=ada {}", "PUT /v3/domains/d/groups/g/roles/KMS%20Administrator {}",
		"DELETE /v3/projects/b/users/u/roles/p {}",
	}
	if diff := cmp.Diff(want, asked); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
