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
	// silence is the part of the limit for which nothing at all may come out of
	// a device that has a call inside; a second is no silence.
	silence      = 4
	silenceLeast = time.Second
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

// sighting is what the watchdog has seen of a stay, counted in looks and not by
// the clock: where this process was put aside with a call inside, as by SIGSTOP, the
// device had no chance to be heard.
type sighting struct {
	since int64         // of the stay seen last
	seen  time.Duration // for which it has been the same one
}

// look returns for how long the watchdog, which looks once in every, has seen the
// same stay; 0 when nobody is inside.
func (g *sighting) look(s *stay, every time.Duration) time.Duration {
	if since := s.since.Load(); since == 0 || since != g.since {
		*g = sighting{since: since}
	} else {
		g.seen += every
	}
	return g.seen
}

// stays are all that there can be in the device.
func (d *device) stays() []*stay {
	all := []*stay{&d.lone}
	for _, s := range d.all {
		all = append(all, &s.stay)
	}
	return all
}

// cameOut notes that a call has come back from the device, with whatever answer.
func (d *device) cameOut() { d.progress.Store(int64(time.Since(begun))) }

// watch looks at who is inside and never calls the device, so it cannot hang with
// it. A call that has been inside for longer than its limit begins an outage,
// and so does a device of which nothing comes out any more.
func (d *device) watch() {
	every := min(max(d.limit/20, time.Millisecond), 250*time.Millisecond)
	tick := time.NewTicker(every)
	defer tick.Stop()
	told := false
	stays := d.stays()
	sightings := make([]sighting, len(stays))
	var heard int64
	var silent time.Duration
	for {
		select {
		case <-d.stop:
			return
		case <-tick.C:
		}
		for i, s := range stays {
			inside, limit := sightings[i].look(s, every), d.limit
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
		// Counted in looks, too: where this process was put aside for seconds the
		// device had no chance to be heard.
		if last := d.progress.Load(); last != heard || !d.waits(every) {
			heard, silent = last, 0
			continue
		}
		silent += every
		d.silent(silent)
	}
}

// waits tells whether a call of a session is inside for so long. While a key pair
// is made nobody is known to wait: some devices do nothing beside that.
func (d *device) waits(length time.Duration) bool {
	waits := false
	for _, s := range d.all {
		inside := s.stay.length()
		if inside > 0 && s.stay.slow.Load() {
			return false
		}
		waits = waits || inside >= length
	}
	return waits
}

// silent is told for how long nothing has come out of the device although
// somebody is inside. First it has something sent that a working device answers
// at once, so that one call that lasts is not taken for a device that hangs.
func (d *device) silent(length time.Duration) {
	most := max(d.limit/silence, silenceLeast)
	if length > most/2 {
		d.suspect()
	}
	if length > most {
		d.fail(fmt.Errorf("%w: nothing has come out of the device for %v", hsm.ErrUnavailable, length))
	}
}
