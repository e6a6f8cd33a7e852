package campaign

import (
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/raftkms/raftkms/bench/history"
	"github.com/raftkms/raftkms/client/aksk"
	"github.com/raftkms/raftkms/server/wire"
)

// Who makes somebody with a right makes the right once, though the answer is lost:
// a second grant would be there after the revocation of the first.
func TestARightIsGivenOnce(t *testing.T) {
	var mu sync.Mutex
	tokens := make(map[string][]string) // by operation
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		operation := r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]
		tokens[operation] = append(tokens[operation], r.Header.Get(wire.HeaderIdempotencyToken))
		if len(tokens[operation]) == 1 {
			panic(http.ErrAbortHandler) // the answer is lost
		}
		io.WriteString(w, `{"key_info":{"key_id":"k"},"grant_id":"g"}`)
	}))
	defer server.Close()
	d := &direct{
		node: "node-1", url: server.URL, project: "p", patience: time.Minute, signer: aksk.NewSigner("A", "S"), http: server.Client(), secrets: new(secrets),
	}
	v := &revoker{random: rand.New(rand.NewPCG(1, 1)), prefix: "r", nodes: []*direct{d}}
	m := &maker{revoker: v, ctx: t.Context(), load: context.Background()}
	m.grant(&subject{name: "s", userID: "u", right: history.OwnGrant})
	if m.err != nil {
		t.Fatal(m.err)
	}
	for _, operation := range []string{"create-key", "create-grant"} {
		if got := tokens[operation]; len(got) != 2 || got[0] == "" || got[0] != got[1] {
			t.Errorf("%s was asked for with the tokens %q, want the same one twice", operation, got)
		}
	}
	if tokens["create-key"][0] == tokens["create-grant"][0] {
		t.Error("two changes have one token")
	}
}
