package client_test

import (
	"context"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/raftkms/raftkms/client"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// Of the examples' nodes: fasthttp lets these end by themselves.
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
	)
}

const dataKey = `{"key_id":"k","plain_text":"01","cipher_text":"FF"}`

// hangUp ends the connection after the request was read.
func hangUp(w http.ResponseWriter, _, _ string) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err == nil {
		conn.Close()
	}
}

func unavailable(w http.ResponseWriter, _, _ string) {
	refuse(w, http.StatusServiceUnavailable, "KMS.0104", "no leader")
}

// notArrived is what a node says whose connection was cut off on the way in.
func notArrived(w http.ResponseWriter, _, _ string) {
	refuse(w, http.StatusRequestTimeout, "KMS.0214", "The request did not arrive in time.")
}

func TestAnotherNodeIsAsked(t *testing.T) {
	ctx := context.Background()
	f := func(name string, bad func(http.ResponseWriter, string, string)) {
		t.Helper()
		sick, well := newFake(t, bad), newFake(t, reply(dataKey))
		c := open(t, configure(sick, well))
		begin := time.Now()
		for range 4 {
			if _, err := c.CreateDataKey(ctx, "k", client.DataKeyOptions{}); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if n := len(well.seen()); n != 4 {
			t.Errorf("%s: the well node answered %d of 4 calls", name, n)
		}
		// A node is passed over for a second; a stalled machine may take longer.
		if n := len(sick.seen()); n < 1 || (n > 1 && time.Since(begin) < time.Second) {
			t.Errorf("%s: the sick node was asked %d times, want once and then passed over", name, n)
		}
	}
	f("unavailable", unavailable)
	f("the request did not arrive", notArrived)
	f("broken connection", hangUp)

	// A node that is gone: nobody listens.
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := "https://" + listener.Addr().String()
	listener.Close()
	well := newFake(t, reply(`{"key_info":{"key_id":"k","domain_id":"d"}}`))
	cfg := configure(well)
	cfg.Endpoints = []string{gone, well.URL}
	// Even a write that must not be repeated: it was never sent.
	if _, err := open(t, cfg).CreateKey(ctx, client.NewKey{Name: "n"}); err != nil {
		t.Errorf("gone: %v", err)
	}
}

func TestAWriteThatMayHaveArrivedIsNotRepeated(t *testing.T) {
	sick, well := newFake(t, hangUp), newFake(t, reply(`{}`))
	c := open(t, configure(sick, well))
	_, err := c.CreateKey(context.Background(), client.NewKey{Name: "n"})
	if !errors.Is(err, client.ErrOutcomeUnknown) {
		t.Errorf("got %v", err)
	}
	if len(sick.seen()) != 1 || len(well.seen()) != 0 {
		t.Errorf("sent %d and %d times", len(sick.seen()), len(well.seen()))
	}
}

// Nodes that heed tokens are asked for a change again, under the same one, and
// are told how long ago the first time was.
func TestAChangeIsRepeatedUnderItsToken(t *testing.T) {
	const made = `{"key_info":{"key_id":"k","domain_id":"d"}}`
	inDoubt := func(w http.ResponseWriter, _, _ string) {
		refuse(w, http.StatusInternalServerError, "KMS.0103", "unknown")
	}
	timeout := func(w http.ResponseWriter, _, _ string) { w.WriteHeader(http.StatusGatewayTimeout) }
	for name, bad := range map[string]func(http.ResponseWriter, string, string){"hangs up": hangUp, "in doubt": inDoubt, "504": timeout} {
		sick, well := newFake(t, bad), newFake(t, reply(made))
		sick.tokens, well.tokens = true, true
		c := open(t, configure(sick, well))
		if id, err := c.CreateKey(t.Context(), client.NewKey{Name: "n"}); err != nil || id != "k" {
			t.Errorf("%s: %q, %v", name, id, err)
		}
		if len(sick.seen()) != 1 || len(well.seen()) != 1 {
			t.Errorf("%s: sent %d and %d times", name, len(sick.seen()), len(well.seen()))
			continue
		}
		first, age, repeated := strings.Cut(well.carried[0], "; age=")
		if ms, err := strconv.Atoi(age); len(first) != 32 || sick.carried[0] != first || !repeated || err != nil || ms < 1 {
			t.Errorf("%s: the tokens are %q and %q", name, sick.carried, well.carried)
		}
		if _, err := c.CreateKey(t.Context(), client.NewKey{Name: "m"}); err != nil || well.carried[1] == first || strings.Contains(well.carried[1], "age") {
			t.Errorf("%s: the next change has the token %q, %v", name, well.carried[1], err)
		}
	}
}

// A node that hangs is not waited for to the end with a change that another one
// knows again.
func TestAChangeLeavesANodeThatHangs(t *testing.T) {
	hang := func(_ http.ResponseWriter, _, _ string) { time.Sleep(time.Second) }
	sick, well := newFake(t, hang), newFake(t, reply(`{"key_info":{"key_id":"k","domain_id":"d"}}`))
	sick.tokens, well.tokens = true, true
	cfg := configure(sick, well)
	cfg.AttemptTimeout, cfg.Patience = 50*time.Millisecond, 600*time.Millisecond
	if _, err := open(t, cfg).CreateKey(t.Context(), client.NewKey{Name: "n"}); err != nil || len(sick.seen()) != 1 || len(well.seen()) != 1 {
		t.Errorf("sent %d and %d times: %v", len(sick.seen()), len(well.seen()), err)
	}
}

// A node that does not heed tokens is not asked to repeat what another one may
// have done, nor is what it may have done itself asked of anybody.
func TestAChangeIsNotRepeatedWithoutTokens(t *testing.T) {
	for _, heeding := range []int{0, 1} {
		nodes := []*fake{newFake(t, hangUp), newFake(t, reply(`{}`))}
		nodes[heeding].tokens = true
		err := open(t, configure(nodes...)).DisableKey(t.Context(), "k")
		if !errors.Is(err, client.ErrOutcomeUnknown) || errors.Is(err, client.ErrUnavailable) {
			t.Errorf("node %d heeds tokens: %v", heeding, err)
		}
		if len(nodes[0].seen()) != 1 || len(nodes[1].seen()) != 0 {
			t.Errorf("node %d heeds tokens: sent %d and %d times", heeding, len(nodes[0].seen()), len(nodes[1].seen()))
		}
	}
}

// What a repeat meets does not say what became of the first.
func TestARefusedRepeatLeavesTheOutcomeUnknown(t *testing.T) {
	sick, other := newFake(t, hangUp), newFake(t, func(w http.ResponseWriter, _, _ string) { refuse(w, http.StatusForbidden, "KMS.0306", "no") })
	sick.tokens, other.tokens = true, true
	if err := open(t, configure(sick, other)).DisableKey(t.Context(), "k"); !errors.Is(err, client.ErrOutcomeUnknown) || !errors.Is(err, client.ErrForbidden) {
		t.Error(err)
	}
}

func TestAWriteThatWasRefusedAsUnavailableIsRepeated(t *testing.T) {
	for _, refuse := range []func(http.ResponseWriter, string, string){unavailable, notArrived} {
		sick, well := newFake(t, refuse), newFake(t, reply(`{"key_info":{"key_id":"k","domain_id":"d"}}`))
		if _, err := open(t, configure(sick, well)).CreateKey(context.Background(), client.NewKey{Name: "n"}); err != nil {
			t.Error(err)
		}
	}
}

// A listener that accepts, and never shakes hands: the call ends while there
// is no connection yet, so the write cannot have arrived.
func TestAWriteWithoutAConnectionWasNotDone(t *testing.T) {
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	config := configure(newFake(t, reply(dataKey)))
	config.Endpoints = []string{"https://" + mute.Addr().String()}
	config.Patience = 200 * time.Millisecond
	err = open(t, config).DisableKey(context.Background(), "k")
	if !errors.Is(err, client.ErrUnavailable) || errors.Is(err, client.ErrOutcomeUnknown) {
		t.Errorf("error = %v, want one that says it was not done", err)
	}
}

func TestPatienceEnds(t *testing.T) {
	node := newFake(t, unavailable)
	cfg := configure(node)
	cfg.Patience = 2 * time.Second
	_, err := open(t, cfg).DescribeKey(context.Background(), "k")
	refused, ok := errors.AsType[*client.Error](err)
	if !errors.Is(err, client.ErrUnavailable) || !ok || refused.Code != "KMS.0104" {
		t.Errorf("got %v", err)
	}
	if len(node.seen()) < 2 {
		t.Errorf("asked only %d times", len(node.seen()))
	}
}

func TestTheCallersContextEndsACall(t *testing.T) {
	entered := make(chan struct{})
	release := make(chan struct{})
	node := newFake(t, func(http.ResponseWriter, string, string) { close(entered); <-release })
	defer close(release)
	ctx, cancel := context.WithCancel(context.Background())
	go func() { <-entered; cancel() }()
	if _, err := open(t, configure(node)).DescribeKey(ctx, "k"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestAHungNodeIsLeftForAnother(t *testing.T) {
	release := make(chan struct{})
	hung := newFake(t, func(http.ResponseWriter, string, string) { <-release })
	well := newFake(t, reply(dataKey))
	defer close(release)
	cfg := configure(hung, well)
	cfg.AttemptTimeout = 50 * time.Millisecond
	if _, err := open(t, cfg).CreateDataKey(context.Background(), "k", client.DataKeyOptions{}); err != nil {
		t.Error(err)
	}
}

func TestRefusalsAreTypedAndFinal(t *testing.T) {
	f := func(status int, code string, cause error) {
		t.Helper()
		node := newFake(t, func(w http.ResponseWriter, _, _ string) { refuse(w, status, code, "because") })
		_, err := open(t, configure(node)).DescribeKey(context.Background(), "k")
		refused, ok := errors.AsType[*client.Error](err)
		if !ok || !errors.Is(err, cause) {
			t.Errorf("%s: got %v", code, err)
			return
		}
		want := client.Error{Status: status, Code: code, Message: "because", RequestID: "request-7", Endpoint: node.URL}
		if *refused != want {
			t.Errorf("got %+v, want %+v", *refused, want)
		}
		if len(node.seen()) != 1 {
			t.Errorf("%s: asked %d times", code, len(node.seen()))
		}
		if cause != client.ErrOutcomeUnknown && errors.Is(err, client.ErrOutcomeUnknown) {
			t.Errorf("%s: called unknown", code)
		}
	}
	f(404, "KMS.0207", client.ErrNotFound)
	f(400, "KMS.0209", client.ErrKeyDisabled)
	f(400, "KMS.2201", client.ErrCiphertext)
	f(403, "KMS.0306", client.ErrForbidden)
	f(401, "APIGW.0301", client.ErrUnauthenticated)
	f(500, "KMS.0103", client.ErrOutcomeUnknown)
}

func TestAWrongSecretIsRefused(t *testing.T) {
	cfg := configure(newFake(t, reply(dataKey)))
	cfg.SecretKey = "wrong"
	_, err := open(t, cfg).CreateDataKey(context.Background(), "k", client.DataKeyOptions{})
	if !errors.Is(err, client.ErrUnauthenticated) || strings.Contains(err.Error(), "wrong") {
		t.Errorf("got %v", err)
	}
}

func TestAnAnswerThatIsNoErrorBody(t *testing.T) {
	node := newFake(t, func(w http.ResponseWriter, _, _ string) {
		w.WriteHeader(http.StatusBadGateway)
		_, _ = io.WriteString(w, "<html>")
	})
	_, err := open(t, configure(node)).DescribeKey(context.Background(), "k")
	if refused, ok := errors.AsType[*client.Error](err); !ok || refused.Code != "HTTP.502" {
		t.Errorf("got %v", err)
	}
}

func TestAnUntrustedCertificateEndsTheCallAtOnce(t *testing.T) {
	node := newFake(t, reply(dataKey))
	cfg := configure(node)
	cfg.CA = x509.NewCertPool()
	_, err := open(t, cfg).CreateDataKey(context.Background(), "k", client.DataKeyOptions{})
	if !errors.Is(err, client.ErrCertificate) || errors.Is(err, client.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
	if n := len(node.seen()); n != 0 {
		t.Errorf("the stranger was sent %d requests", n)
	}
}

// One of the nodes shows a certificate of somebody else: the others are asked.
func TestAStrangerAmongTheNodesIsPassedOver(t *testing.T) {
	stranger, well := newFake(t, reply(dataKey)), newFake(t, reply(dataKey))
	cfg := configure(stranger, well)
	// The name is in no certificate of these.
	cfg.Endpoints[0] = strings.Replace(cfg.Endpoints[0], "127.0.0.1", "localhost", 1)
	c := open(t, cfg)
	for range 4 {
		if _, err := c.CreateDataKey(context.Background(), "k", client.DataKeyOptions{}); err != nil {
			t.Error(err)
		}
	}
	if len(stranger.seen()) != 0 || len(well.seen()) != 4 {
		t.Errorf("the stranger got %d calls, the node %d", len(stranger.seen()), len(well.seen()))
	}
	cfg.Endpoints = cfg.Endpoints[:1]
	if _, err := open(t, cfg).CreateDataKey(context.Background(), "k", client.DataKeyOptions{}); !errors.Is(err, client.ErrCertificate) {
		t.Errorf("the stranger alone: %v", err)
	}
}

func TestNewRefuses(t *testing.T) {
	good := client.Config{Endpoints: []string{"https://h:1"}, AccessKey: "a", SecretKey: "s", ProjectID: "p"}
	f := func(change func(*client.Config)) {
		t.Helper()
		cfg := good
		change(&cfg)
		if _, err := client.New(cfg); err == nil {
			t.Errorf("%+v is accepted", cfg)
		}
	}
	f(func(c *client.Config) { c.Endpoints = nil })
	f(func(c *client.Config) { c.Endpoints = []string{"http://h"} })
	f(func(c *client.Config) { c.Endpoints = []string{"https://h/path"} })
	f(func(c *client.Config) { c.Endpoints = []string{"https://h", "https://h/"} })
	f(func(c *client.Config) { c.Endpoints = []string{"dns://h", "https://h/"} })
	f(func(c *client.Config) { c.Endpoints = []string{"https://user:password@h"} })
	f(func(c *client.Config) { c.Endpoints = []string{"https://:8440"} })
	f(func(c *client.Config) { c.AccessKey = "" })
	f(func(c *client.Config) { c.SecretKey = "" })
	f(func(c *client.Config) { c.ProjectID = "" })
	f(func(c *client.Config) { c.ProjectID = "a/b" })
	if _, err := client.New(good); err != nil {
		t.Error(err)
	}
}
