//go:build !linux

package load

import "time"

// timer sleeps as well as the runtime does.
type timer struct{}

func newTimer() (*timer, error) { return &timer{}, nil }

func (*timer) sleep(d time.Duration) { time.Sleep(d) }

func (*timer) close() {}
