package survival

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/raftkms/raftkms/client"
)

// users call without a pause until they are stopped, and keep what became of
// each call.
type users struct {
	cancel context.CancelFunc
	all    sync.WaitGroup

	mu     sync.Mutex
	calls  []call
	failed []error
}

// call is one that succeeded.
type call struct{ begun, ended time.Time }

// use starts n users of an operation; pause is how long each waits from one
// call to the next.
func use(n int, pause time.Duration, do func(ctx context.Context, user int) error) *users {
	ctx, cancel := context.WithCancel(context.Background())
	u := &users{cancel: cancel}
	for i := range n {
		u.all.Go(func() {
			for ctx.Err() == nil {
				begun := time.Now()
				err := do(ctx, i)
				ended := time.Now()
				if ctx.Err() != nil {
					return // it was the stop
				}
				u.mu.Lock()
				if err != nil {
					u.failed = append(u.failed, err)
				} else {
					u.calls = append(u.calls, call{begun, ended})
				}
				u.mu.Unlock()
				if pause > 0 {
					time.Sleep(pause)
				}
			}
		})
	}
	return u
}

// stop ends the users and returns what they did.
func (u *users) stop() (calls []call, failed []error) {
	u.cancel()
	u.all.Wait()
	return u.calls, u.failed
}

// count is how many calls have succeeded so far.
func (u *users) count() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.calls)
}

// longest is the longest of the calls that touch a time.
func longest(calls []call, from, until time.Time) time.Duration {
	var most time.Duration
	for _, c := range calls {
		if c.ended.After(from) && c.begun.Before(until) {
			most = max(most, c.ended.Sub(c.begun))
		}
	}
	return most
}

// unfenced is a write that takes nothing away from anybody.
func (b *Bed) unfenced(ctx context.Context, c *client.Client, n int) error {
	return c.DescribeAs(ctx, b.key, fmt.Sprintf("written for the %dth time", n))
}

// dataKey is a use of a key.
func (b *Bed) dataKey(ctx context.Context, c *client.Client) error {
	made, err := c.CreateDataKey(ctx, b.key, client.DataKeyOptions{})
	clear(made.Plaintext)
	return err
}
