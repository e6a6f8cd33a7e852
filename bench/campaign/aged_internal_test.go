package campaign

import (
	"context"
	"crypto/x509"
	"errors"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/raftkms/raftkms/bench/history"
	"github.com/raftkms/raftkms/bench/nemesis"
	"github.com/raftkms/raftkms/client"
	"github.com/raftkms/raftkms/client/devfile"
	"github.com/raftkms/raftkms/server/wire"
)

// How old a state is that answers is kept with the answer, whoever asks; our client
// does not tell, so it is as old as it may be.
func TestAnAnswerIsAsOldAsItSays(t *testing.T) {
	says := ""
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if says != "" {
			w.Header().Set(wire.HeaderStateAge, says)
		}
		_, _ = w.Write([]byte(`{"key_id":"id","key_info":{"key_id":"id","key_state":"2","creation_date":"1"}}`))
	}))
	defer server.Close()
	ca := x509.NewCertPool()
	ca.AddCert(server.Certificate())
	file := &devfile.File{AccessKey: "a", SecretKey: "s", ProjectID: "p", Nodes: []devfile.Node{{ID: "n", URL: server.URL}}}
	d := newDirect(file, 0, ca, time.Minute, new(secrets), nil)
	defer d.close()
	const never = time.Duration(1<<63 - 1)
	for text, want := range map[string]time.Duration{"": 0, "1.5s": 1500 * time.Millisecond, "0s": 1, "-1s": 1, "young": never} {
		says = text
		r := history.NewRecorder()
		record(context.Background(), r, d, "key", &history.Call{Op: history.MakeKey, Name: "k"})
		g := &granting{recorder: r}
		g.record(context.Background(), d, "key", &history.Call{Op: history.MakeKey, Name: "k"})
		v := &revoker{recorder: r}
		v.use(context.Background(), &subject{name: "s"}, d)
		h := r.History()
		if h.Calls[0].Age != want || h.Granted[0].Age != want || h.Entries[0].Age != want {
			t.Errorf("%q is %s, %s and %s, want %s", text, h.Calls[0].Age, h.Granted[0].Age, h.Entries[0].Age, want)
		}
	}
	own, err := client.New(client.Config{Endpoints: file.URLs(), CA: ca, AccessKey: "a", SecretKey: "s", ProjectID: "p"})
	if err != nil {
		t.Fatal(err)
	}
	roams := roaming{own, 5 * time.Second}
	defer roams.close()
	for op, want := range map[history.Op]time.Duration{history.Encrypt: 5 * time.Second, history.Describe: 0} {
		if v := roams.ask(context.Background(), "key", &history.Call{Op: op, Name: "k"}); v.outcome != history.OK || v.age != want {
			t.Errorf("%s through our client is %s, %s old: %v", op, v.outcome, v.age, v.err)
		}
	}
}

// A campaign in the mode available that saw no old answer has shown nothing of it.
func TestNoOldAnswerIsTooLittle(t *testing.T) {
	r := Report{
		Scenario: Scenario{Kinds: []nemesis.Kind{nemesis.KillOne}, MaxAge: time.Second}, Faults: map[string]int{"kill-one": 1},
		Calls:    map[history.Op]map[history.Outcome]int{history.Rotate: {history.OK: 1}},
		Compared: 1, Granted: 1, Ungranted: 1,
	}
	if err := r.tooLittle(); !errors.Is(err, ErrTooLittle) {
		t.Errorf("without an old answer: %v", err)
	}
	r.Aged = 1
	if err := r.tooLittle(); err != nil {
		t.Errorf("with one: %v", err)
	}
}

// yes is an asker of which everything succeeds.
type yes struct{}

func (yes) name() string { return "n" }
func (yes) close()       {}
func (yes) ask(_ context.Context, _ string, c *history.Call) verdict {
	c.KeyID = "id"
	return verdict{outcome: history.OK}
}

// Where a state may be old some workers do nothing but use keys, and not so often
// that they use up the names.
func TestSomeWorkersOnlyUseKeys(t *testing.T) {
	for _, maxAge := range []time.Duration{0, 5 * time.Second} {
		r := &run{cfg: Config{Scenario: Scenario{Workers: 8, MaxAge: maxAge}}, recorder: history.NewRecorder()}
		using := 0
		for _, w := range r.workers() {
			if w.uses {
				using++
			}
		}
		if want := map[bool]int{true: 2}[maxAge > 0]; using != want {
			t.Errorf("with states up to %s old %d workers only use keys, want %d", maxAge, using, want)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		r := history.NewRecorder()
		w := &worker{random: rand.New(rand.NewPCG(1, 1)), askers: []asker{yes{}}, board: newBoard("b"), recorder: r, rotates: rotations, uses: true}
		ctx, stop := context.WithTimeout(t.Context(), 3990*time.Millisecond)
		defer stop()
		w.work(ctx)
		h := r.History()
		if len(h.Calls) != 100 {
			t.Errorf("%d calls in four seconds", len(h.Calls))
		}
		for _, c := range h.Calls {
			if !c.Op.Uses() {
				t.Errorf("it asked for %s", c.Op)
			}
		}
	})
}
