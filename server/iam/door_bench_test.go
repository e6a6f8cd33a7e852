package iam_test

import (
	"context"
	"syscall"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/raftkms/raftkms/fsm"
	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/fsmtest"
	"github.com/raftkms/raftkms/fsm/policy"
	"github.com/raftkms/raftkms/fsm/state"
	"github.com/raftkms/raftkms/server/iam"
)

// asked is a signed request as the HTTP server hands it over.
func asked(t testing.TB, layout string) *fasthttp.RequestCtx {
	t.Helper()
	rc := new(fasthttp.RequestCtx)
	rc.Request.Header.SetMethod(post.method)
	rc.Request.SetRequestURI(post.path)
	for name, value := range layouts[layout](t, post, fsmtest.AccessKeyID, testSK, signedAt) {
		rc.Request.Header.Set(name, value)
	}
	rc.Request.Header.SetHost(host)
	rc.Request.SetBodyString(post.body)
	return rc
}

// through is what every call pays at the door: the signature and the permission.
func through(t testing.TB, v *iam.Verifier, root *state.Root, rc *fasthttp.RequestCtx) {
	r := iam.Received(rc)
	p, err := v.Verify(t.Context(), root, r)
	r.Release()
	if err != nil {
		t.Fatal(err)
	}
	caller := command.Caller{Kind: command.CallerUser, UserID: p.UserID, CredentialID: p.AccessKeyID, ProjectID: fsmtest.ProjectID}
	if refusal := fsm.Authorize(root, caller, fsm.Request{Action: policy.ActionCreateDEK, ProjectID: fsmtest.ProjectID}); refusal != nil {
		t.Fatal(refusal)
	}
}

func newFoundedVerifier(t testing.TB) *iam.Verifier {
	t.Helper()
	secrets := iam.NewSecrets(func(context.Context, *state.AccessKey) ([]byte, error) { return []byte(testSK), nil })
	t.Cleanup(func() {
		if err := secrets.Close(); err != nil {
			t.Error(err)
		}
	})
	return iam.NewVerifier(secrets, func() time.Time { return signedAt })
}

func BenchmarkDoor(b *testing.B) {
	root := fsmtest.Bootstrapped(b).State()
	for _, layout := range []string{"A", "B", "C"} {
		b.Run(layout, func(b *testing.B) {
			v, rc := newFoundedVerifier(b), asked(b, layout)
			b.ReportAllocs()
			before := cpu(b)
			for b.Loop() {
				through(b, v, root, rc)
			}
			b.ReportMetric(float64(cpu(b)-before)/float64(b.N), "cpu-ns/op")
		})
	}
}

// cpu is the time this process has computed, which other processes on the
// machine do not lengthen.
func cpu(b *testing.B) time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
