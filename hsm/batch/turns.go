package batch

import "time"

// All of this page is called with the lock of the device held.

// queue puts r in the line of k, and k in line for its turn.
func (d *Device) queue(k *key, r *request, at func(*line[*request], *place[*request])) {
	r.state = waiting
	at(&k.waiting, &r.place)
	d.stats.Waiting++
	if !k.turn.taken {
		d.turns.push(&k.turn)
	}
}

func (d *Device) unqueue(k *key, r *request) {
	k.waiting.remove(&r.place)
	d.stats.Waiting--
	if k.waiting.length == 0 {
		d.turns.remove(&k.turn)
	}
}

// dispatch gives the free sessions to keys whose turn it is: the first in line
// for each of them leads. All but self, who is looking, are told.
func (d *Device) dispatch(self *request) {
	// At most as many keys are passed over as there are sessions in use.
	for p := d.turns.first; p != nil && d.free > 0; {
		k := p.of
		p = p.behind
		if !d.mayCall(k) {
			continue
		}
		r := k.waiting.first.of
		d.unqueue(k, r)
		if k.turn.taken { // the others go with r, or stand behind the other keys
			d.turns.remove(&k.turn)
			d.turns.push(&k.turn)
		}
		r.state = leading
		k.forming = true
		k.calls++
		d.free--
		if r != self {
			r.wake <- struct{}{}
		}
	}
}

// mayCall tells whether k may have one more session.
func (d *Device) mayCall(k *key) bool {
	switch {
	case k.forming:
		return false // who waits goes with that one
	case k.calls == 0:
		return true
	default:
		return d.slow.Load() || time.Since(k.began) > patience
	}
}

// release takes back a session that has not taken its callers along.
func (d *Device) release(k *key) {
	k.forming = false
	d.giveBack(k)
}

// giveBack takes a session back from k and gives it to whose turn it is.
func (d *Device) giveBack(k *key) {
	k.calls--
	d.free++
	d.dispatch(nil)
	if d.closed && d.free == d.sessions {
		close(d.drained)
	}
}
