package huawei_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth/signer"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/request"
	"github.com/valyala/fasthttp"
	"golang.org/x/sys/unix"

	"github.com/raftkms/raftkms/fsm/fsmtest"
	"github.com/raftkms/raftkms/server/audit"
	"github.com/raftkms/raftkms/server/huawei"
)

// BenchmarkTracedDataKey asks for data keys over HTTPS, by turns with every trace
// on disk before its answer and without any, and prints the medians of both:
// what tracing costs; and the CPU time of a data key in both, of the callers as
// well, which tells work from waiting for the disk. It takes 64 connections, and 256 where the disk's
// fdatasync takes more than 1 ms.
func BenchmarkTracedDataKey(b *testing.B) {
	const rounds, turn = 9, time.Second
	w := newWorld(b)
	body := `{"key_id":"` + w.createKey("orders") + `","datakey_length":"256"}`
	log, err := audit.Open(b.TempDir(), fsmtest.NodeID, nil)
	if err != nil {
		b.Fatal(err)
	}
	defer log.Close()
	var traced atomic.Bool
	w.traces.through = func(ctx context.Context, r *audit.Record) error {
		if traced.Load() {
			return log.Append(ctx, r)
		}
		return nil
	}
	disk := fdatasync(b)
	connections := 64
	if disk > time.Millisecond {
		connections = 256
	}
	d := driveKeys(b, w, body, connections)
	var with, without, withCPU, withoutCPU []float64
	for range rounds {
		for _, on := range []bool{true, false} {
			traced.Store(on)
			rate, cpu := d.turn(turn)
			if on {
				with, withCPU = append(with, rate), append(withCPU, cpu)
			} else {
				without, withoutCPU = append(without, rate), append(withoutCPU, cpu)
			}
		}
	}
	median := func(of []float64) float64 {
		slices.Sort(of)
		return of[rounds/2]
	}
	b.ReportMetric(float64(disk.Microseconds()), "fsync-p50-µs")
	b.ReportMetric(float64(connections), "connections")
	b.ReportMetric(median(with), "traced/s")
	b.ReportMetric(median(without), "untraced/s")
	b.ReportMetric(median(with)/median(without), "traced/untraced")
	b.ReportMetric(median(withCPU), "traced-CPU-µs")
	b.ReportMetric(median(withoutCPU), "untraced-CPU-µs")
	b.ReportMetric(median(with)*median(withCPU)/1e6, "traced-cores")
	b.ReportMetric(0, "ns/op")
}

// fdatasync is the median time of one, after writing a few KiB.
func fdatasync(b *testing.B) time.Duration {
	b.Helper()
	f, err := os.Create(filepath.Join(b.TempDir(), "probe"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	space := make([]byte, 4<<10)
	var took []time.Duration
	for range 51 {
		began := time.Now()
		if _, err := f.WriteAt(space, 0); err != nil {
			b.Fatal(err)
		}
		if err := unix.Fdatasync(int(f.Fd())); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	return took[len(took)/2]
}

// driver asks for data keys over as many connections.
type driver struct {
	b           *testing.B
	client      *fasthttp.HostClient
	request     *fasthttp.Request
	connections int
}

func driveKeys(b *testing.B, w *world, body string, connections int) *driver {
	b.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	server := &fasthttp.Server{Handler: func(rc *fasthttp.RequestCtx) {
		huawei.CreateDataKey.Serve(rc, w.dialect, rc, uuid.NewString(), huawei.Path{Project: fsmtest.ProjectID})
	}}
	// The API knows nothing but TLS; the certificate is that of a test server.
	lender := httptest.NewTLSServer(nil)
	certificates, known := lender.TLS.Certificates, x509.NewCertPool()
	known.AddCert(lender.Certificate())
	lender.Close()
	listener = tls.NewListener(listener, &tls.Config{Certificates: certificates, MinVersion: tls.VersionTLS13})
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	d := &driver{b: b, connections: connections, request: new(fasthttp.Request),
		client: &fasthttp.HostClient{Addr: listener.Addr().String(), MaxConns: connections, IsTLS: true, TLSConfig: &tls.Config{RootCAs: known, ServerName: "example.com"}}}
	b.Cleanup(func() {
		d.client.CloseIdleConnections()
		if err := server.Shutdown(); err != nil {
			b.Error(err)
		}
		if err := <-done; err != nil {
			b.Error(err)
		}
	})
	path := "/v1.0/" + fsmtest.ProjectID + "/kms/create-datakey"
	signed := request.NewHttpRequestBuilder().WithEndpoint(endpoint).WithMethod(http.MethodPost).WithPath(path).
		AddHeaderParam("Content-Type", "application/json").AddHeaderParam("X-Sdk-Date", time.Now().UTC().Format("20060102T150405Z")).
		WithBody("body", body).Build()
	headers, err := signer.Sign(signed, fsmtest.AccessKeyID, secretKey)
	if err != nil {
		b.Fatal(err)
	}
	d.request.Header.SetMethod(http.MethodPost)
	d.request.SetRequestURI(endpoint + path)
	d.request.URI().SetScheme("https")
	d.request.Header.SetContentType("application/json")
	for name, value := range headers {
		d.request.Header.Set(name, value)
	}
	d.request.SetBodyString(body)
	return d
}

// turn returns how many data keys a second there were, and the CPU time of this
// process for each, in µs.
func (d *driver) turn(length time.Duration) (rate, cpu float64) {
	used := func() float64 {
		var u unix.Rusage
		if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
			d.b.Fatal(err)
		}
		return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e3
	}
	before := used()
	var keys atomic.Int64
	var all sync.WaitGroup
	began := time.Now()
	for range d.connections {
		all.Go(func() {
			own := fasthttp.AcquireRequest()
			reply := fasthttp.AcquireResponse()
			defer fasthttp.ReleaseRequest(own)
			defer fasthttp.ReleaseResponse(reply)
			d.request.CopyTo(own)
			for time.Since(began) < length {
				if err := d.client.Do(own, reply); err != nil || reply.StatusCode() != fasthttp.StatusOK {
					d.b.Errorf("status %d, %v: %s", reply.StatusCode(), err, reply.Body())
					return
				}
				keys.Add(1)
			}
		})
	}
	all.Wait()
	made := float64(keys.Load())
	return made / time.Since(began).Seconds(), (used() - before) / made
}
