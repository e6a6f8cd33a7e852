package entropy

import (
	"errors"
	"fmt"
)

// ErrGenerator means that the module's generator failed a health test. It is
// final: a healthy generator does so with a probability of 2^-60 per sample, so
// the node must not serve until somebody has looked at its module.
var ErrGenerator = errors.New("the module's random generator failed its health test (have the HSM examined, and restart the node after that; until then it makes and uses no keys)")

// The continuous health tests of NIST SP 800-90B §4.4 over bytes of full
// entropy (H = 8), with a false alarm probability of 2^-60 per sample.
const (
	// repetitionCutoff is 1 + ceil(60/8) equal bytes in a row (§4.4.1).
	repetitionCutoff = 9
	// proportionWindow is the window for samples that are not binary (§4.4.2).
	proportionWindow = 512
	// proportionCutoff is the smallest count of the window's first byte, itself
	// included, whose probability is at most 2^-60.
	proportionCutoff = 26
	// testSamples is what a test looks at before a generator is used (§4.3).
	testSamples = 1024
)

// health runs both tests over everything that the module has given.
type health struct {
	started   bool
	last      byte
	inRow     int // how often last came in a row
	reference byte
	seen      int // bytes of the window so far; 0 before the first one
	matches   int // of them equal to reference
}

// check takes the next bytes. After an error it must not be asked again.
func (h *health) check(p []byte) error {
	for _, b := range p {
		if h.started && b == h.last {
			h.inRow++
		} else {
			h.started, h.last, h.inRow = true, b, 1
		}
		if h.inRow >= repetitionCutoff {
			return fmt.Errorf("%w: one byte came %d times in a row", ErrGenerator, h.inRow)
		}
		if h.seen == 0 {
			h.reference, h.matches = b, 0
		}
		if h.seen++; b == h.reference {
			h.matches++
		}
		if h.matches >= proportionCutoff {
			return fmt.Errorf("%w: one byte came %d times within %d", ErrGenerator, h.matches, proportionWindow)
		}
		if h.seen == proportionWindow {
			h.seen = 0
		}
	}
	return nil
}
