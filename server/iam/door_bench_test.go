package iam_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
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
	return askedBy(t, layout, fsmtest.AccessKeyID)
}

func askedBy(t testing.TB, layout, accessKey string) *fasthttp.RequestCtx {
	t.Helper()
	rc := new(fasthttp.RequestCtx)
	rc.Request.Header.SetMethod(post.method)
	rc.Request.SetRequestURI(post.path)
	for name, value := range layouts[layout](t, post, accessKey, testSK, signedAt) {
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

// BenchmarkDoorOfMany is the same for one user after the other of many, who all
// may what they ask by a policy of their own group among many policies. What
// the server keeps of each of them has left the processor's caches by the time
// they come again, and that counts. That the bench's own 10,000 requests have
// left them as well does not: each is read into one buffer, as a server reads
// it, and what the same reading costs without a door is taken off.
func BenchmarkDoorOfMany(b *testing.B) {
	for _, size := range []struct{ users, policies int }{{10, 10}, {10_000, 1_000}} {
		b.Run(fmt.Sprintf("users=%d,policies=%d", size.users, size.policies), func(b *testing.B) {
			root, all := crowd(b, size.users, size.policies)
			v := newFoundedVerifier(b)
			var rc fasthttp.RequestCtx
			var source bytes.Reader
			buffer := bufio.NewReader(&source)
			come := func(i int) {
				source.Reset(all[i%len(all)])
				buffer.Reset(&source)
				if err := rc.Request.Read(buffer); err != nil {
					b.Fatal(err)
				}
			}
			for i := range all { // each user's first call looks everything up
				come(i)
				through(b, v, root, &rc)
			}
			before := cpu(b)
			for i := range b.N {
				come(i)
			}
			read := cpu(b) - before
			b.ReportAllocs()
			b.ResetTimer()
			before = cpu(b)
			for i := range b.N {
				come(i)
				through(b, v, root, &rc)
			}
			b.ReportMetric(float64(cpu(b)-before-read)/float64(b.N), "cpu-ns/op")
			b.ReportMetric(0, "ns/op") // with the reading
		})
	}
}

// crowd is a state with that many users and policies, and a request of every user.
func crowd(t testing.TB, users, policies int) (*state.Root, [][]byte) {
	m := fsmtest.Bootstrapped(t)
	for i := range policies {
		name := fmt.Sprintf("p%d", i)
		m.Must(fsmtest.CreatePolicy(name, fsmtest.Allow("kms:cmk:get"), fsmtest.Allow("kms:dek:*")))
		m.Must(fsmtest.CreateGroup(name))
		m.Must(command.AttachPolicy{Binding: command.Binding{GroupID: fsmtest.ID(name), Policy: fsmtest.ID(name)}})
	}
	all := make([][]byte, users)
	for i := range all {
		name := fmt.Sprintf("u%d", i)
		m.Must(fsmtest.CreateUser(name))
		m.Must(fsmtest.CreateAccessKey(name))
		m.Must(command.AddMember{GroupID: fsmtest.ID(fmt.Sprintf("p%d", i%policies)), UserID: fsmtest.ID(name)})
		all[i] = []byte(askedBy(t, "A", fsmtest.AccessKey(name)).Request.String())
	}
	return m.State(), all
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
