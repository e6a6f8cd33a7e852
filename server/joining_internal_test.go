package server

import (
	"context"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/raftkms/raftkms/cluster/membership"
)

// Addresses in a token at which nobody listens, or nobody answers, end in one
// sentence that names them and says what to do; so does giving up earlier.
func TestJoinWhereNobodyAnswers(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") // the kernel takes connections, and nobody speaks
	must(t, err)
	defer silent.Close()
	s := &Server{cfg: Config{Logger: slog.New(slog.DiscardHandler)}}
	token := membership.Token{Addresses: []string{freeAddress(t), silent.Addr().String()}}
	f := func(patience time.Duration, attempts int, wants ...string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		_, err := s.askToJoin(ctx, token, []byte("body"), attempts)
		if err == nil || strings.Contains(err.Error(), "\n") {
			t.Fatalf("got %v, want one sentence", err)
		}
		for _, want := range append(wants, token.Addresses...) {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q lacks %q", err, want)
			}
		}
	}
	f(200*time.Millisecond, 1, "no member answered", "see that this machine reaches one of them")
	f(200*time.Millisecond, 2, "stopped before a member answered")
}
