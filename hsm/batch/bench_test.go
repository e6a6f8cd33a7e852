package batch_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"runtime"
	"testing"

	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/batch"
	"github.com/raftkms/raftkms/hsm/envelope"
	"github.com/raftkms/raftkms/hsm/pkcs11"
)

// benchModule opens SoftHSM over a token of its own.
func benchModule(b *testing.B) *pkcs11.Module {
	b.Helper()
	dir, err := os.MkdirTemp("", "p11-")
	must(b, err)
	b.Cleanup(func() { must(b, os.RemoveAll(dir)) })
	env, err := pkcs11.CreateSoftHSMToken(dir, "bench", []byte("officer-1234"), []byte("user-5678"))
	must(b, err)
	for name, value := range env {
		b.Setenv(name, value)
	}
	library, err := pkcs11.FindSoftHSM()
	must(b, err)
	m, err := pkcs11.Open(context.Background(), pkcs11.Config{
		Library:    library,
		TokenLabel: "bench",
		PIN:        func() ([]byte, error) { return []byte("user-5678"), nil },
		Sessions:   8,
	})
	must(b, err)
	b.Cleanup(func() { must(b, m.Close()) })
	must(b, m.CreateRoots(context.Background(), hsm.ClusterID{1}, 1))
	return m
}

// BenchmarkSoftHSM is a derivation, and what is done with it, by way of the
// device alone and by way of a batch.
func BenchmarkSoftHSM(b *testing.B) {
	ctx := context.Background()
	m := benchModule(b)
	w, err := m.Generate(ctx, hsm.LevelHSM, hsm.SpecAES256)
	must(b, err)
	raw, err := hsm.LoadKey(ctx, m, w)
	must(b, err)
	for _, callers := range []int{1, 64, 256} {
		b.Run(fmt.Sprintf("callers=%d/direct", callers), func(b *testing.B) { benchDerive(b, raw, callers) })
		b.Run(fmt.Sprintf("callers=%d/batched", callers), func(b *testing.B) {
			d := batch.New(batch.Config{MaxBlocks: m.Describe().MaxBlocks, Sessions: 4})
			benchDerive(b, d.Key(raw), callers)
			reportBatches(b, d)
		})
	}
	direct, err := envelope.NewKey(ctx, raw)
	must(b, err)
	for _, callers := range []int{1, 64, 256} {
		b.Run(fmt.Sprintf("callers=%d/seal direct", callers), func(b *testing.B) { benchSeal(b, direct, callers) })
		b.Run(fmt.Sprintf("callers=%d/seal batched", callers), func(b *testing.B) {
			d := batch.New(batch.Config{MaxBlocks: m.Describe().MaxBlocks, Sessions: 4})
			key, err := envelope.NewKey(ctx, d.Key(raw))
			must(b, err)
			benchSeal(b, key, callers)
			reportBatches(b, d)
		})
	}
	must(b, direct.Close())
}

// nothing is a key that costs nothing, to see what the batch costs.
type nothing struct{}

func (nothing) EncryptBlocks(context.Context, []byte, []byte) error { return nil }
func (nothing) Close() error                                        { return nil }

func BenchmarkOverhead(b *testing.B) {
	for _, callers := range []int{1, 64} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			d := batch.New(batch.Config{MaxBlocks: 4096})
			benchDerive(b, d.Key(nothing{}), callers)
			reportBatches(b, d)
		})
	}
}

// parallel runs f in that many goroutines; alone, in the benchmark's own.
func parallel(b *testing.B, callers int, f func(next func() bool) error) {
	b.Helper()
	b.ReportAllocs()
	if callers == 1 {
		must(b, f(b.Loop))
		return
	}
	b.SetParallelism(max(1, callers/runtime.GOMAXPROCS(0)))
	b.RunParallel(func(pb *testing.PB) {
		if err := f(pb.Next); err != nil {
			b.Error(err)
		}
	})
}

func benchDerive(b *testing.B, k hsm.Key, callers int) {
	ctx := context.Background()
	parallel(b, callers, func(next func() bool) error {
		blocks := make([]byte, 32)
		for next() {
			if err := k.EncryptBlocks(ctx, blocks, blocks); err != nil {
				return err
			}
		}
		return nil
	})
}

func benchSeal(b *testing.B, k *envelope.Key, callers int) {
	ctx := context.Background()
	fields := envelope.Fields{Purpose: envelope.PurposeDataKey, KeyVersion: 1}
	about, err := envelope.MapContext(map[string]string{"table": "users"})
	must(b, err)
	parallel(b, callers, func(next func() bool) error {
		plaintext := bytes.Repeat([]byte{7}, 32)
		dst := make([]byte, 0, 256)
		for next() {
			if _, err := envelope.AppendSeal(ctx, dst, k, fields, plaintext, about); err != nil {
				return err
			}
		}
		return nil
	})
}

func reportBatches(b *testing.B, d *batch.Device) {
	s := d.Stats()
	b.ReportMetric(float64(s.Requests)/float64(max(s.Calls, 1)), "requests/call")
	must(b, d.Close(context.Background()))
}
