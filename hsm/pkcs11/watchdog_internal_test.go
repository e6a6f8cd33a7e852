package pkcs11

import (
	"testing"
	"time"
)

// watched is a device without a library, and what its Hung is told.
func watched(t *testing.T, limit time.Duration) (*device, <-chan error) {
	t.Helper()
	told := make(chan error, 10)
	cfg, err := Config{
		Library: "none", TokenLabel: "watched", PIN: func() ([]byte, error) { return nil, nil },
		CallLimit: limit, Hung: func(err error) { told <- err },
	}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	d := newDevice(new(library), 0, cfg)
	t.Cleanup(func() {
		close(d.stop)
		d.loops.Wait()
	})
	return d, told
}

// A process that was put aside with a call inside has no device that hangs: when
// it goes on, the call has its limit before it is an outage, and six of them before
// anybody is told. One that does hang is noticed then.
func TestCallInAProcessThatWasPutAside(t *testing.T) {
	const busy = 10 * time.Second // by which a machine that is busy may be late
	for name, kind := range map[string]struct {
		limit, of time.Duration // of the device, of the call
		begin     func(*stay)
	}{
		"a call":      {limit: 200 * time.Millisecond, of: 200 * time.Millisecond, begin: (*stay).begin},
		"a slow call": {limit: 20 * time.Millisecond, of: patient * 20 * time.Millisecond, begin: func(s *stay) { s.begin(); s.slowly() }},
	} {
		t.Run(name, func(t *testing.T) {
			d, told := watched(t, kind.limit)
			out := d.spell.Load().over.Done()
			kind.begin(&d.lone)
			started := time.Now()
			d.lone.since.Add(-int64(time.Hour))
			look := kind.limit / 20
			<-out
			if took := time.Since(started); took < kind.of-look || took > kind.of+busy {
				t.Errorf("it was an outage after %v", took)
			}
			<-told
			if took := time.Since(started); took < hopeless*kind.of-look || took > hopeless*kind.of+busy {
				t.Errorf("somebody was told after %v", took)
			}
		})
	}
}
