package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/raftkms/raftkms/hsm/batch"
	"github.com/raftkms/raftkms/hsm/envelope"
)

// slowKey is a key of a device that takes its time for every call.
type slowKey struct{}

// EncryptBlocks makes blocks that are of no use, in the time of a device.
func (slowKey) EncryptBlocks(_ context.Context, dst, src []byte) error {
	time.Sleep(slowDevice)
	copy(dst, src)
	return nil
}

// Close does nothing.
func (slowKey) Close() error { return nil }

// driveOneSession has many callers seal data keys under one key of a slow
// device with one session, and returns the calls of the device for each.
func driveOneSession(ctx context.Context) (float64, error) {
	device := batch.New(batch.Config{MaxBlocks: 4096, Sessions: 1})
	key, err := envelope.NewKey(ctx, device.Key(slowKey{}))
	if err != nil {
		return 0, fmt.Errorf("preparing the driver: %w", err)
	}
	before := device.Stats()
	const each = 200
	var wg sync.WaitGroup
	var failed sync.Once
	for range manyWorkers {
		wg.Go(func() {
			plaintext := make([]byte, 32)
			for range each {
				_, serr := envelope.Seal(ctx, key, envelope.Fields{Purpose: envelope.PurposeDataKey, KeyVersion: 1}, plaintext, envelope.Context{})
				if serr != nil {
					failed.Do(func() { err = serr })
					return
				}
			}
		})
	}
	wg.Wait()
	if err != nil {
		return 0, fmt.Errorf("driving one session: %w", err)
	}
	after := device.Stats()
	if err := device.Close(ctx); err != nil {
		return 0, err
	}
	return float64(after.Calls-before.Calls) / (manyWorkers * each), nil
}
