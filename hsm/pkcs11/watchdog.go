package pkcs11

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/raftkms/raftkms/hsm"
)

const (
	// patient is how many limits a call is given that makes a key pair.
	patient = 12
	// hopeless is after how many limits a call counts as hung for good.
	hopeless = 6
)

// stay is the time that one user of the device spends inside it.
type stay struct {
	since atomic.Int64 // nanoseconds of the process; 0: outside
	slow  atomic.Bool
}

// begun is where the time of stays counts from.
var begun = time.Now()

func (s *stay) begin() {
	s.slow.Store(false)
	s.since.Store(max(1, int64(time.Since(begun))))
}

func (s *stay) end() { s.since.Store(0) }

// slowly says that what comes now may take long, as making a key pair does.
func (s *stay) slowly() { s.slow.Store(true) }

// length is for how long somebody has been inside; 0 when nobody is.
func (s *stay) length() time.Duration {
	since := s.since.Load()
	if since == 0 {
		return 0
	}
	return max(1, time.Since(begun)-time.Duration(since))
}

// stays are all that there can be in the device.
func (d *device) stays() []*stay {
	all := []*stay{&d.lone}
	for _, s := range d.all {
		all = append(all, &s.stay)
	}
	return all
}

// watch looks at the clock and never calls the device, so it cannot hang with
// it. A call that has been inside for longer than its limit begins an outage.
func (d *device) watch() {
	tick := time.NewTicker(min(max(d.limit/20, time.Millisecond), 250*time.Millisecond))
	defer tick.Stop()
	told := false
	for {
		select {
		case <-d.stop:
			return
		case <-tick.C:
		}
		for _, s := range d.stays() {
			inside, limit := s.length(), d.limit
			if s.slow.Load() {
				limit *= patient
			}
			if inside <= limit {
				continue
			}
			err := fmt.Errorf("%w: a call has been inside the device for %v", hsm.ErrUnavailable, inside.Round(time.Millisecond))
			d.fail(err)
			if inside > hopeless*limit && !told && d.hung != nil {
				told = true
				d.hung(err)
			}
		}
	}
}
